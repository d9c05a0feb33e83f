"""redisvl's ``MessageHistory``: a hash a message, found by a RediSearch index.

One object for all sessions, which are its ``session_tag``. ``get_recent`` reads only what is asked for,
already in order. It has no coroutines. What a turn has beside its text is in ``metadata``. A session cannot
be deleted: ``clear`` deletes those of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redisvl.extensions.message_history import MessageHistory

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class Redisvl(Subject):
    """One index for all sessions."""

    blocking = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: dict[str, list[str]] = {}

    async def open(self) -> None:
        self._redis = redis.Redis.from_url(self.url)
        self._history = MessageHistory("redisvl", redis_client=self._redis)

    async def close(self) -> None:
        self._redis.close()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        for first in range(0, len(turns), 1_000):
            said = [_message(turn) for turn in turns[first : first + 1_000]]
            self._history.add_messages(said, session_tag=session)
        newest: Any = self._history.get_recent(top_k=100, raw=True, session_tag=session)
        self._ids[session] = [one["entry_id"] for one in newest]

    async def append(self, session: str, turn: Turn) -> None:
        self._history.add_message(_message(turn), session_tag=session)

    async def history(self, session: str, count: int) -> int:
        return len(self._history.get_recent(top_k=count, session_tag=session))

    async def delete_message(self, session: str) -> None:
        self._history.drop(self._ids[session].pop())

    async def texts(self, session: str) -> list[str]:
        found: Any = self._history.get_recent(top_k=1_000, session_tag=session)
        return [one["content"] for one in found]


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": "user" if turn.by_user else "llm", "content": turn.text, "metadata": turn.extra}


SUBJECT = Redisvl
