"""What becomes slower, or larger, as the number of sessions grows? Nothing should."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.memory import used_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from benchmarks.budget import Budget
    from benchmarks.workers import Worker

_OPERATIONS: tuple[tuple[str, list[Any]], ...] = (
    ("append", ["hundred"]),
    ("history", ["hundred", 20]),
    ("update", ["hundred", ["one text", "another text"]]),
    ("rename", ["short"]),
    ("list_sessions", [100]),
    ("recent", [20]),
)
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Grown:
    """One operation beside so many sessions: its ratio to raw, and the bytes of a session of one message."""

    sessions: int
    ratios: dict[str, float]
    seconds: dict[str, float]
    session_bytes: float


async def measure(
    raw: Worker,
    ours: Worker,
    fillers: tuple[Worker, Worker],
    server: redis.Redis,
    counts: tuple[int, ...],
    *,
    rounds: int,
    budget: Budget,
    tell: Callable[[str], None],
) -> list[Grown]:
    """The same operations beside more and more sessions of one flow, in a database that is empty at first.

    ``fillers`` are other workers of the same store: one that had stored as much as they do would have other
    things in its processor's caches than calls. It ends early when the budget does not suffice for the next
    step, to judge by the last one.
    """
    for worker in (raw, ours):
        await worker.prepare({"hundred": 100, "short": 20})
    there = 0
    found: list[Grown] = []
    pace = 0.0
    for count in counts:
        added = count - there
        if found and pace * added > budget.left:
            break
        before, started = used_memory(server), budget.spent
        for first in range(there, count, _AT_ONCE):
            tell(f"growing to {count:,} sessions: {first:,}")
            names = [f"grown-{number:07}" for number in range(first, min(first + _AT_ONCE, count))]
            halves = names[::2], names[1::2]
            await asyncio.gather(
                *(filler.fill(dict.fromkeys(half, 1)) for filler, half in zip(fillers, halves, strict=True))
            )
        grown, pace = used_memory(server) - before, (budget.spent - started) / added
        there = count
        ratios: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for turn in range(rounds):
            tell(f"beside {count:,} sessions: round {turn + 1} of {rounds}")
            for operation, arguments in _OPERATIONS:
                theirs = (await raw.time(operation, arguments, calls=60, budget=0.3)).median
                mine = (await ours.time(operation, arguments, calls=60, budget=0.3)).median
                ratios.setdefault(operation, []).append(mine / theirs)
                seconds.setdefault(operation, []).append(mine)
        found.append(
            Grown(
                count,
                {name: statistics.median(values) for name, values in ratios.items()},
                {name: statistics.median(values) for name, values in seconds.items()},
                grown / added,
            )
        )
    return found
