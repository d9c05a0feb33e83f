from __future__ import annotations

from benchmarks.subjects.ours import Ours


class Computes(Ours):
    """A history does with each message what takes far longer than reading it, and calls no function."""

    async def history(self, session: str, count: int) -> int:
        found = await super().history(session, count)
        left = 2_000 * count
        while left:
            left -= 1
        return found


SUBJECT = Computes
