"""redis-sessions for synchronous code."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.subjects import Subject
from benchmarks.subjects.ours import FLOW, new
from redis_sessions import MessageUpdate
from redis_sessions.blocking import SessionStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from benchmarks.payloads import Turn


class OursBlocking(Subject):
    """One store for all sessions of a flow; of several threads, each has a store of its own."""

    blocking = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: dict[str, list[UUID]] = {}

    async def open(self) -> None:
        self._store = SessionStore.from_url(self.url, deadline=timedelta(seconds=30))
        self._store.open()

    async def close(self) -> None:
        self._store.close()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        ids = self._ids.setdefault(session, [])
        for first in range(0, len(turns), 500):
            batch = [new(session, turn) for turn in turns[first : first + 500]]
            ids += [message.id for message in self._store.append_many(FLOW, batch)]

    async def append(self, session: str, turn: Turn) -> None:
        self._store.append(
            FLOW,
            session_id=session,
            text=turn.text,
            sender=turn.sender,
            sender_name=turn.sender_name,
            properties=turn.properties or None,
            content_blocks=turn.content_blocks,
        )

    async def history(self, session: str, count: int) -> int:
        return len(self._store.history(FLOW, session, limit=count))

    async def history_wire(self, session: str, count: int) -> int:
        return len(self._store.history_json(FLOW, session, limit=count))

    async def update(self, session: str, text: str) -> None:
        self._store.update(self._ids[session][-1], MessageUpdate(text=text), flow_id=FLOW)

    async def delete_message(self, session: str) -> None:
        self._store.delete_messages([self._ids[session].pop()], flow_id=FLOW)

    async def rename(self, old: str, new: str) -> None:
        self._store.rename_session(FLOW, old, new)

    async def delete_session(self, session: str) -> None:
        self._store.delete_session(FLOW, session)

    async def list_sessions(self, count: int) -> int:
        return len(self._store.sessions(FLOW, limit=count))

    async def recent(self, count: int) -> int:
        return len(self._store.recent(FLOW, limit=count))

    async def texts(self, session: str) -> list[str]:
        return [message.text for message in self._store.history(FLOW, session, limit=1_000)]


SUBJECT = OursBlocking
