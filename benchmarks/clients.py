"""What happens when many ask at once: throughput, latency, and what it costs the server.

Each client has a session of its own for what it writes; all read the same long one.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workers import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.budget import Budget
    from benchmarks.workers import Worker

COUNTS = (1, 8, 64)
_LONGEST = 5.0
"""Seconds that the first calls of all clients may take together; slower subjects are not asked."""


@dataclass(frozen=True, slots=True)
class Work:
    """What all clients do.

    Attributes:
        data: sessions that must be there.
        weight: its share of the time, to that of the others.
    """

    operation: str
    title: str
    arguments: tuple[Any, ...]
    data: dict[str, int]
    expected: int | None = None
    weight: float = 1

    @property
    def length(self) -> int:
        return max(self.data.values())


def works(*, many: int) -> tuple[Work, ...]:
    """In the order of the table. ``many``: sessions of the flow that is listed."""
    own = {f"client-{number:02}": 100 for number in range(max(COUNTS))}
    long = {"long": 10_000}
    listed = {f"one-of-many-{number:05}": 1 for number in range(many)}
    texts = [f"changed to text {number}" for number in range(1_000)]
    return (
        # Before the others write: the newest messages are to be in one session.
        Work("recent", "newest 100 of a flow", (100,), {"latest": 200}, 100),
        Work("append", "append", ([*own],), own, weight=3),
        Work("history", "history(100) of 10,000", ("long", 100), long, 100, weight=2),
        Work("history_wire", "history(100) of 10,000, as wire bytes", ("long", 100), long, 100),
        Work("update", "update one message", ([*own], texts), own),
        Work("rename", "rename of 100", ([*own],), own),
        Work("list_sessions", f"list 100 of {many:,} sessions", (100,), listed, 100),
    )


@dataclass(frozen=True, slots=True)
class Load:
    """One subject under one load.

    Attributes:
        length: of the longest session that the work is about.
        rate: calls a second.
        p50, p99: seconds of a call.
        server_seconds: CPU of the Redis server's process for one call; None where there is no Redis.
    """

    operation: str
    title: str
    length: int
    clients: int
    subject: str
    rate: float
    p50: float
    p99: float
    server_seconds: float | None


async def measure(
    workers: Sequence[Worker],
    work: Sequence[Work],
    *,
    rounds: int,
    seconds: float,
    budget: Budget,
    tell: Callable[[str], None],
) -> list[Load]:
    """Each subject alone, in turns, in at most so many rounds of so many seconds."""
    loads: list[Load] = []
    for one, share in budget.shared([(one, one.weight) for one in work]):
        loads += await _measure(one, workers, rounds, seconds, share, tell)
    return loads


async def _measure(
    work: Work,
    workers: Sequence[Worker],
    rounds: int,
    seconds: float,
    budget: Budget,
    tell: Callable[[str], None],
) -> list[Load]:
    loads: list[Load] = []
    able = []
    for worker in workers:
        if work.operation in worker.operations and worker.holds(work.length):
            try:
                await worker.prepare(work.data)
            except SubjectError as error:
                tell(f"{worker.entry.label}: {str(error).splitlines()[0]}")
                continue
            able.append(worker)
    alone: dict[str, float] = {}
    for clients, share in budget.shared([(count, 1) for count in COUNTS]):
        able = [one for one in able if alone.get(one.entry.name, 0) * clients < _LONGEST]
        taken: dict[str, list[Load]] = {}
        for turn in range(rounds):
            if turn and share.is_over:
                break
            tell(f"{work.title}, {clients} clients: round {turn + 1} of {rounds}")
            for worker in list(able):
                try:
                    load = await _once(work, worker, clients, seconds)
                except SubjectError as error:
                    tell(f"{worker.entry.label} with {clients} clients: {str(error).splitlines()[0]}")
                    able.remove(worker)
                    taken.pop(worker.entry.name, None)
                    continue
                taken.setdefault(worker.entry.name, []).append(load)
        middles = [_middle_of(found) for found in taken.values()]
        loads += middles
        if clients == 1:
            alone = {load.subject: load.p50 for load in middles}
    return loads


async def _once(work: Work, worker: Worker, clients: int, seconds: float) -> Load:
    arguments = list(work.arguments)
    if clients == 1 and isinstance(arguments[0], list):
        arguments[0] = arguments[0][0]  # otherwise one client has all sessions, in turn
    before = worker.server_cpu()
    timing = await worker.time(
        work.operation,
        arguments,
        calls=1_000_000,
        budget=seconds,
        clients=clients,
        expected=work.expected,
    )
    after = worker.server_cpu()
    return Load(
        work.operation,
        work.title,
        work.length,
        clients,
        worker.entry.name,
        timing.rate,
        timing.median,
        timing.quantile(0.99),
        None if before is None or after is None else (after - before) / len(timing.times),
    )


def _middle_of(loads: list[Load]) -> Load:
    spent = [load.server_seconds for load in loads if load.server_seconds is not None]
    return Load(
        loads[0].operation,
        loads[0].title,
        loads[0].length,
        loads[0].clients,
        loads[0].subject,
        statistics.median(load.rate for load in loads),
        statistics.median(load.p50 for load in loads),
        statistics.median(load.p99 for load in loads),
        statistics.median(spent) if spent else None,
    )
