"""What happens when many ask at once: throughput, latency, and what it costs the server."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workers import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    from benchmarks.workers import Worker

COUNTS = (1, 8, 64)
_LONGEST = 10.0
"""Seconds that the first calls of all clients may take together; slower subjects are not asked."""
_OPERATIONS: tuple[tuple[str, str, list[Any], int | None], ...] = (
    ("append", "append", ["hundred"], None),
    ("history", "history(100) of 10,000", ["long", 100], 100),
)


@dataclass(frozen=True, slots=True)
class Load:
    """One subject under one load.

    Attributes:
        rate: calls a second.
        p50, p99: seconds of a call.
        server_seconds: CPU of the Redis server's process for one call; None where there is no Redis.
    """

    operation: str
    clients: int
    subject: str
    rate: float
    p50: float
    p99: float
    server_seconds: float | None


async def measure(
    workers: Sequence[Worker],
    servers: dict[str, redis.Redis],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Load]:
    """Each subject alone, in turns. ``servers``: clients of the Redis servers, to ask for their CPU."""
    loads: list[Load] = []
    for operation, title, arguments, expected in _OPERATIONS:
        able = [one for one in workers if operation in one.operations and one.holds(10_000)]
        for worker in able:
            await worker.prepare({"hundred": 100, "long": 10_000})
        alone: dict[str, float] = {}
        for clients in COUNTS:
            able = [one for one in able if alone.get(one.entry.name, 0) * clients < _LONGEST]
            taken: dict[str, list[Load]] = {}
            for turn in range(rounds):
                tell(f"{title}, {clients} clients: round {turn + 1} of {rounds}")
                for worker in able:
                    server = servers.get(worker.entry.server)
                    before = _cpu_seconds(server)
                    try:
                        timing = await worker.time(
                            operation,
                            arguments,
                            calls=1_000_000,
                            budget=seconds,
                            clients=clients,
                            expected=expected,
                        )
                    except SubjectError as error:
                        tell(f"{worker.entry.label} with {clients} clients: {str(error).splitlines()[0]}")
                        continue
                    after = _cpu_seconds(server)
                    spent = (
                        (after - before) / len(timing.times)
                        if before is not None and after is not None
                        else None
                    )
                    taken.setdefault(worker.entry.name, []).append(
                        Load(
                            operation,
                            clients,
                            worker.entry.name,
                            timing.rate,
                            timing.median,
                            timing.quantile(0.99),
                            spent,
                        )
                    )
            middles = [_middle_of(found) for found in taken.values()]
            loads += middles
            if clients == 1:
                alone = {load.subject: load.p50 for load in middles}
    return loads


def _middle_of(loads: list[Load]) -> Load:
    spent = [load.server_seconds for load in loads if load.server_seconds is not None]
    return Load(
        loads[0].operation,
        loads[0].clients,
        loads[0].subject,
        statistics.median(load.rate for load in loads),
        statistics.median(load.p50 for load in loads),
        statistics.median(load.p99 for load in loads),
        statistics.median(spent) if spent else None,
    )


def _cpu_seconds(server: redis.Redis | None) -> float | None:
    """What the server's process has spent, networking included.

    Not the sum of ``commandstats``: that counts the commands of a script twice, and leaves out what is spent
    on reading and answering, and by the threads of modules.
    """
    if server is None:
        return None
    cpu: Any = server.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])
