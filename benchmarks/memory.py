"""How much memory does a message take beyond the bytes of its stored body?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import FLOW, Row, fill, message
from redis_sessions.body import encode
from redis_sessions.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.harness import Bench

_MESSAGES = 100


async def measure(bench: Bench) -> AsyncIterator[Row]:
    sessions = 50 if bench.quick else 200
    names = [f"memory-{n:04}" for n in range(sessions)]
    for name in names:
        await fill(bench.store, name, _MESSAGES)
    keys = Keys(bench.store.settings.prefix).flow(FLOW)
    # What other measurements left in the flow is theirs: the shared keys count by the share of our sessions.
    everything = await bench.raw.zcard(keys.sessions)
    shared = [
        await bench.raw.memory_usage(key, samples=0) or 0 for key in (keys.ids, keys.sessions, keys.aliases)
    ]
    own = [await bench.raw.memory_usage(keys.log(name), samples=0) or 0 for name in names]
    total = sum(own) + sum(shared) * sessions / everything
    body = len(encode(message()))
    per_message = total / (sessions * _MESSAGES)
    yield Row(
        f"memory of a message of {body} bytes beyond them",
        f"sessions of {_MESSAGES}, all keys but the feed",
        per_message - body,
        120,
        ours=f"{per_message:,.0f} B",
        theirs=f"{body} B",
        unit="B",
    )
