from __future__ import annotations

from benchmarks.subjects.ours import Ours


class AsksTwice(Ours):
    """A list of sessions asks for one of them besides: one more command and trip, and few bytes."""

    async def list_sessions(self, count: int) -> int:
        await super().list_sessions(1)
        return await super().list_sessions(count)


SUBJECT = AsksTwice
