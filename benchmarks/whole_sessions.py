"""Does the time of a rename, or of a delete, depend on the length of the session?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import FLOW, fill, lengths, timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.harness import Bench, Row

_LONG, _SHORT = 10_000, 10


async def measure(bench: Bench) -> AsyncIterator[Row]:
    store = bench.store
    for name, count in (("long-a", _LONG), ("short-a", _SHORT)):
        await fill(store, name, count)

    async def there_and_back(name: str) -> None:
        await store.rename_session(FLOW, f"{name}-a", f"{name}-b")
        await store.rename_session(FLOW, f"{name}-b", f"{name}-a")

    yield await bench.compare(
        f"rename of {_LONG:,} messages, and back",
        f"rename of {_SHORT} messages, and back",
        ours=lambda: there_and_back("long"),
        theirs=lambda: there_and_back("short"),
        target=1.3,
    )
    turns = range(8 if bench.quick else 24)
    for turn in turns:
        await fill(store, f"long-{turn}", _LONG)
        await fill(store, f"short-{turn}", _SHORT)
    long, short = [], []
    for turn in turns:
        long.append(await timed(lambda turn=turn: store.delete_session(FLOW, f"long-{turn}")))  # type: ignore[misc]
        short.append(await timed(lambda turn=turn: store.delete_session(FLOW, f"short-{turn}")))  # type: ignore[misc]
    yield lengths(f"delete of {_LONG:,} messages", f"delete of {_SHORT} messages", long, short, 1.3)
