"""What does an append cost, next to the XADD that it comes down to?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import FLOW, message
from redis_sessions.body import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.harness import Bench, Row


async def measure(bench: Bench) -> AsyncIterator[Row]:
    one = message("append")
    body = encode(one)
    stream = f"{bench.store.settings.prefix}-raw"
    yield await bench.compare(
        "append",
        "raw XADD of the same bytes",
        ours=lambda: bench.store.append(
            FLOW, text=one.text, sender="User", sender_name="User", session_id="append"
        ),
        theirs=lambda: bench.raw.xadd(stream, {"b": body}),
        target=1.6,
    )
