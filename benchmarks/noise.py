"""Is this machine quiet enough to tell? Raw Redis is compared with itself before anything is believed."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.rounds import middle

if TYPE_CHECKING:
    from benchmarks.workers import Worker

_ROUNDS = 15
_MOST_BIAS = 1.15
_MOST_SPREAD = 2.0
_MOST_LOAD = 1.5


@dataclass(frozen=True, slots=True)
class Noise:
    """Two clients that do the same, in turns.

    Attributes:
        ratio: of the one to the other; 1 where the machine treats them alike.
        low, high: the range of the middle 80 % of the rounds.
        load: the machine's load average over the last minute, for each core.
    """

    ratio: float
    low: float
    high: float
    load: float

    @property
    def too_noisy(self) -> bool:
        """Whether ratios of this machine mean nothing now."""
        biased = max(self.ratio, 1 / self.ratio) > _MOST_BIAS
        return biased or self.high / self.low > _MOST_SPREAD**2 or self.load > _MOST_LOAD

    def __str__(self) -> str:
        return (
            f"the same work twice, in turns: ratio {self.ratio:.2f}, middle 80 % {self.low:.2f} to "
            f"{self.high:.2f}; load {self.load:.1f} a core"
        )


async def listen(one: Worker, other: Worker) -> Noise:
    """How different equal things are here, now."""
    ratios = []
    for _ in range(_ROUNDS):
        first, second = [
            (await worker.time("append", ["noise"], calls=200, budget=0.3)).median for worker in (one, other)
        ]
        ratios.append(first / second)
    low, high = middle(ratios)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return Noise(statistics.median(ratios), low, high, load)
