"""Does a cluster with more primaries carry more? Flows are spread over it; one flow is in one place."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.subjects import OURS_FLOWS
from benchmarks.workers import worker
from tests.support.groups import valkey_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import Server

_WORKERS = 2
_CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Spread:
    """Appends to many flows on so many primaries.

    Attributes:
        rate: appends a second, of all clients together.
        p50: seconds of an append.
        server_seconds: CPU of all primaries for one append.
    """

    primaries: int
    rate: float
    p50: float
    server_seconds: float


async def measure(
    counts: tuple[int, ...], *, python: str, seconds: float, folder: Path, tell: Callable[[str], None]
) -> list[Spread]:
    """Two processes of clients, on clusters of one, two and three primaries."""
    found = []
    for count in counts:
        tell(f"a cluster of {count} primaries")
        with valkey_cluster(primaries=count) as nodes:
            before = sum(_cpu(node) for node in nodes.primaries)
            async with (
                worker(OURS_FLOWS, python, nodes.url, folder) as one,
                worker(OURS_FLOWS, python, nodes.url, folder) as other,
            ):
                timings = await asyncio.gather(
                    *(
                        each.time(
                            "append",
                            [[f"spread-{number}" for number in range(48)]],
                            calls=1_000_000,
                            budget=seconds,
                            clients=_CLIENTS,
                        )
                        for each in (one, other)
                    )
                )
            spent = sum(_cpu(node) for node in nodes.primaries) - before
            calls = sum(len(timing.times) for timing in timings)
            p50 = statistics.median([one for timing in timings for one in timing.times])
            found.append(Spread(count, sum(timing.rate for timing in timings), p50, spent / calls))
    return found


def _cpu(node: Server) -> float:
    """What a node's process has spent."""
    cpu: Any = node.client().info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])
