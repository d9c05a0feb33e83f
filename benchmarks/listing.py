"""What does listing 100 of very many sessions cost, next to the ZREVRANGE that it comes down to?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import FLOW, message
from redis_sessions.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.harness import Bench, Row


async def measure(bench: Bench) -> AsyncIterator[Row]:
    store = bench.store
    count = 10_000 if bench.quick else 100_000
    for first in range(0, count, 40):
        await store.append_many(FLOW, [message(f"session-{n:06}") for n in range(first, first + 40)])
    sessions = Keys(store.settings.prefix).flow(FLOW).sessions
    yield await bench.compare(
        f"sessions(100) of {count:,} sessions",
        "raw ZREVRANGE 0 99",
        ours=lambda: store.sessions(FLOW, limit=100),
        theirs=lambda: bench.raw.zrevrange(sessions, 0, 99),
        target=2.0,
    )
