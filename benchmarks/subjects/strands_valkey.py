"""strands-valkey-session-manager: a JSON document a message, found by SCAN over the whole database.

One manager a session, all with one client. It has no coroutines. A history reads only the documents that are
asked for, one by one, by their places from the oldest on: the caller counts, as an agent does. A message
has no room for more than its text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import valkey
from strands.types.session import SessionAgent, SessionMessage
from strands_valkey_session_manager import ValkeySessionManager

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strands.types.content import Message

    from benchmarks.payloads import Turn

_AGENT = "agent"


class StrandsValkey(Subject):
    """One client for all sessions."""

    blocking = True
    marks: ClassVar[dict[str, str]] = {
        "append": "callers number the messages: of two at once, one is lost",
        "delete_session": "key by key, with those of all sessions whose names begin alike",
        "update": "reads, then writes: of two at once, one is lost",
    }

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._managers: dict[str, ValkeySessionManager] = {}
        self._counts: dict[str, int] = {}

    async def open(self) -> None:
        self._valkey = valkey.Valkey.from_url(self.url)

    async def close(self) -> None:
        self._valkey.close()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        """What ``create_message`` writes, many at once."""
        manager = self._manager(session)
        place = self._counts[session]
        for first in range(0, len(turns), 1_000):
            pipe = self._valkey.pipeline(transaction=False)
            for turn in turns[first : first + 1_000]:
                said = SessionMessage.from_message(_message(turn), place).to_dict()
                key = manager._get_message_key(session, _AGENT, place)
                pipe.execute_command("JSON.SET", key, "$", json.dumps(said, ensure_ascii=False))
                place += 1
            pipe.execute()
        self._counts[session] = place

    async def append(self, session: str, turn: Turn) -> None:
        self._store(self._manager(session), session, turn)

    async def history(self, session: str, count: int) -> int:
        manager = self._manager(session)
        offset = max(0, self._counts[session] - count)
        found = manager.list_messages(session, _AGENT, limit=count, offset=offset)
        return len([one.to_message() for one in found])

    async def update(self, session: str, text: str) -> None:
        place = self._counts[session] - 1
        changed = SessionMessage({"role": "user", "content": [{"text": text}]}, place)
        self._manager(session).update_message(session, _AGENT, changed)

    async def delete_session(self, session: str) -> None:
        self._manager(session).delete_session(session)
        del self._managers[session], self._counts[session]

    async def texts(self, session: str) -> list[str]:
        found = self._manager(session).list_messages(session, _AGENT)
        return [one.to_message()["content"][0]["text"] for one in found]

    def _manager(self, session: str) -> ValkeySessionManager:
        found = self._managers.get(session)
        if found is None:
            found = self._managers[session] = ValkeySessionManager(session, self._valkey)
            if found.read_agent(session, _AGENT) is None:
                agent = SessionAgent(_AGENT, state={}, conversation_manager_state={})
                found.create_agent(session, agent)
            self._counts[session] = len(found.list_messages(session, _AGENT))
        return found

    def _store(self, manager: ValkeySessionManager, session: str, turn: Turn) -> None:
        place = self._counts[session]
        manager.create_message(session, _AGENT, SessionMessage.from_message(_message(turn), place))
        self._counts[session] = place + 1


def _message(turn: Turn) -> Message:
    return {"role": "user" if turn.by_user else "assistant", "content": [{"text": turn.text}]}


SUBJECT = StrandsValkey
