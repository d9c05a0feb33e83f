"""A run ends when it was promised to: what is left of its time is shared among what is still to be done.

Nothing is left out for want of time, it is asked in fewer rounds. So a busy machine gives the same rows with
wider spreads, in the same time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Thing = TypeVar("Thing")


class Budget:
    """So many seconds from now on."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._started = clock()

    @property
    def spent(self) -> float:
        return self._clock() - self._started

    @property
    def left(self) -> float:
        """Never less than nothing."""
        return max(0.0, self.seconds - self.spent)

    @property
    def is_over(self) -> bool:
        return self.left == 0

    def shared(self, among: Iterable[tuple[Thing, float]]) -> Iterator[tuple[Thing, Budget]]:
        """Each thing in turn, with its share of what is left then, by weight.

        Who takes less than its share leaves the rest to those after it, who takes more takes it from them.
        """
        ahead = list(among)
        while ahead:
            weight = sum(one for _, one in ahead)
            thing, own = ahead.pop(0)
            yield thing, Budget(self.left * own / weight, clock=self._clock)
