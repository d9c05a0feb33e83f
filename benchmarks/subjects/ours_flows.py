"""redis-sessions where each session is in a flow of its own: what a cluster spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_DNS, uuid5

from benchmarks.subjects.ours import Ours

if TYPE_CHECKING:
    from benchmarks.payloads import Turn


class OursFlows(Ours):
    """Only appends."""

    async def append(self, session: str, turn: Turn) -> None:
        await self._store.append(
            uuid5(NAMESPACE_DNS, session),
            session_id=session,
            text=turn.text,
            sender=turn.sender,
            sender_name=turn.sender_name,
            properties=turn.properties or None,
            content_blocks=turn.content_blocks,
        )


SUBJECT = OursFlows
