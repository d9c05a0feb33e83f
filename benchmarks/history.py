"""What does reading a history cost, next to the XREVRANGE that it comes down to, and does length matter?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import FLOW, fill
from redis_sessions.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.harness import Bench, Row


async def measure(bench: Bench) -> AsyncIterator[Row]:
    store = bench.store
    await fill(store, "long", 10_000)
    await fill(store, "short", 100)
    log = Keys(store.settings.prefix).flow(FLOW).log("long")
    yield await bench.compare(
        "history(100) of 10,000, as wire bytes",
        "raw XREVRANGE COUNT 100",
        ours=lambda: store.history_json(FLOW, "long", limit=100),
        theirs=lambda: bench.raw.xrevrange(log, count=100),
        target=1.3,
    )
    yield await bench.compare(
        "history(100) of 10,000, as Message objects",
        "raw XREVRANGE COUNT 100",
        ours=lambda: store.history(FLOW, "long", limit=100),
        theirs=lambda: bench.raw.xrevrange(log, count=100),
        target=2.5,
    )
    yield await bench.compare(
        "history(100) of 10,000 messages",
        "history(100) of 100 messages",
        ours=lambda: store.history(FLOW, "long", limit=100),
        theirs=lambda: store.history(FLOW, "short", limit=100),
        target=1.15,
    )
