from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.subjects.ours import FLOW, Ours

if TYPE_CHECKING:
    from benchmarks.payloads import Turn


class ReadsFirst(Ours):
    """An append reads the session before it writes."""

    async def append(self, session: str, turn: Turn) -> None:
        await self._store.history(FLOW, session, limit=1_000)
        await super().append(session, turn)


SUBJECT = ReadsFirst
