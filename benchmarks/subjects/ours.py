"""redis-sessions itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.subjects import Subject
from redis_sessions import FeedGapError, MessageUpdate, NewMessage, SessionStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from benchmarks.payloads import Turn

FLOW = "5f1c2f6e-0b57-4a51-9f8e-4d7f5c3b9a10"


class Ours(Subject):
    """One store for all sessions of a flow."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: dict[str, list[UUID]] = {}
        self._seen: str | None = None

    async def open(self) -> None:
        self._store = SessionStore.from_url(self.url, deadline=timedelta(seconds=30), max_connections=128)
        await self._store.open()

    async def close(self) -> None:
        await self._store.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        ids = self._ids.setdefault(session, [])
        for first in range(0, len(turns), 500):
            batch = [new(session, turn) for turn in turns[first : first + 500]]
            ids += [message.id for message in await self._store.append_many(FLOW, batch)]

    async def fill_many(self, sessions: dict[str, Sequence[Turn]]) -> None:
        if any(len(turns) > 1 for turns in sessions.values()):
            await super().fill_many(sessions)
            return
        single = [(session, turns[0]) for session, turns in sessions.items()]
        for first in range(0, len(single), 1_000):
            batch = [new(session, turn) for session, turn in single[first : first + 1_000]]
            for message in await self._store.append_many(FLOW, batch):
                self._ids[message.session_id] = [message.id]

    async def append(self, session: str, turn: Turn) -> None:
        await self._store.append(
            FLOW,
            session_id=session,
            text=turn.text,
            sender=turn.sender,
            sender_name=turn.sender_name,
            properties=turn.properties or None,
            content_blocks=turn.content_blocks,
        )

    async def history(self, session: str, count: int) -> int:
        return len(await self._store.history(FLOW, session, limit=count))

    async def history_wire(self, session: str, count: int) -> int:
        return len(await self._store.history_json(FLOW, session, limit=count))

    async def update(self, session: str, text: str) -> None:
        await self._store.update(self._ids[session][-1], MessageUpdate(text=text), flow_id=FLOW)

    async def delete_message(self, session: str) -> None:
        await self._store.delete_messages([self._ids[session].pop()], flow_id=FLOW)

    async def rename(self, old: str, new: str) -> None:
        await self._store.rename_session(FLOW, old, new)

    async def delete_session(self, session: str) -> None:
        await self._store.delete_session(FLOW, session)

    async def list_sessions(self, count: int) -> int:
        return len(await self._store.sessions(FLOW, limit=count))

    async def recent(self, count: int) -> int:
        return len(await self._store.recent(FLOW, limit=count))

    async def feed(self, session: str, turn: Turn) -> None:
        watching = self._store.watch(FLOW, after=self._seen)
        first = asyncio.create_task(anext(watching))
        if self._seen is None:  # it watches from now on, and now is when it has asked Redis once
            await asyncio.sleep(0.5)
        await self.append(session, turn)
        try:
            self._seen = (await first).id
        except FeedGapError as gap:  # so much was stored since that the feed no longer knows where it was
            self._seen = gap.resume_after
            await self.feed(session, turn)
        await watching.aclose()

    async def texts(self, session: str) -> list[str]:
        return [message.text for message in await self._store.history(FLOW, session, limit=1_000)]


def new(session: str, turn: Turn) -> NewMessage:
    """The turn as a message to be stored."""
    return NewMessage(
        session_id=session,
        text=turn.text,
        sender=turn.sender,
        sender_name=turn.sender_name,
        properties=turn.properties or None,  # type: ignore[arg-type]
        content_blocks=turn.content_blocks,
    )


SUBJECT = Ours
