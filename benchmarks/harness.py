"""How everything here is measured.

Two things are compared in turns, A B A B …, in rounds of some calls each. A round's figure is the median of
its calls; a comparison's ratio is the median of its rounds' ratios, so that a machine that slows down for a
while slows both. The spread is the range that holds the middle 80 % of the rounds.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from redis_sessions import NewMessage, SessionStore
from redis_sessions.body import encode
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Call = Callable[[], Awaitable[Any]]

FLOW = "5f1c2f6e-0b57-4a51-9f8e-4d7f5c3b9a10"
_BODY_BYTES = 600


@dataclass(frozen=True)
class Row:
    """One line of the table; ``target`` is the largest value that is good enough."""

    what: str
    against: str
    value: float
    target: float
    spread: tuple[float, float] | None = None
    ours: str = ""
    theirs: str = ""
    unit: str = "×"

    @property
    def good(self) -> bool:
        return self.value <= self.target


@dataclass(frozen=True)
class Bench:
    """What a measurement gets: a store, a plain client of the same server, and how much to do."""

    store: SessionStore
    raw: Redis
    quick: bool

    @property
    def rounds(self) -> int:
        return 8 if self.quick else 30

    async def compare(
        self, what: str, against: str, *, ours: Call, theirs: Call, target: float, calls: int = 40
    ) -> Row:
        """Rounds of ``calls`` of each, in turns."""
        ratios, our_medians, their_medians = [], [], []
        for call in (ours, theirs):
            await _median(call, calls)
        for _ in range(self.rounds):
            mine, other = await _median(ours, calls), await _median(theirs, calls)
            ratios.append(mine / other)
            our_medians.append(mine)
            their_medians.append(other)
        low, high = _middle(ratios)
        return Row(
            what,
            against,
            statistics.median(ratios),
            target,
            (low, high),
            _microseconds(statistics.median(our_medians)),
            _microseconds(statistics.median(their_medians)),
        )


def message(session_id: str | None = None) -> NewMessage:
    """A message whose stored body has 600 bytes."""
    empty = len(encode(NewMessage(text="", sender="User", sender_name="User")))
    return NewMessage(
        text="x" * (_BODY_BYTES - empty), sender="User", sender_name="User", session_id=session_id
    )


async def fill(store: SessionStore, session_id: str, count: int) -> None:
    """Append ``count`` messages to a session."""
    one = message(session_id)
    for first in range(0, count, 1_000):
        await store.append_many(FLOW, [one] * min(1_000, count - first))


@contextlib.asynccontextmanager
async def bench(*, quick: bool, url: str | None = None) -> AsyncIterator[Bench]:
    """A store with a prefix of its own on ``url``, or on a Valkey started for it."""
    with contextlib.ExitStack() as stack:
        where = url or stack.enter_context(valkey_server()).url
        prefix = f"bench-{time.time_ns():x}"
        options = {"prefix": prefix, "deadline": timedelta(seconds=30)}
        async with SessionStore.from_url(where, **options) as store, Redis.from_url(where) as raw:
            gc.collect()
            gc.freeze()
            try:
                yield Bench(store, raw, quick)
            finally:
                gc.unfreeze()
                await store.delete_flow(FLOW)
                await raw.delete(f"{prefix}-raw")


async def _median(call: Call, calls: int) -> float:
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


async def timed(call: Call) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


def lengths(what: str, against: str, ours: list[float], theirs: list[float], target: float) -> Row:
    """A row for figures that were taken in turns, one call each."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Row(
        what,
        against,
        statistics.median(ratios),
        target,
        _middle(ratios),
        _microseconds(statistics.median(ours)),
        _microseconds(statistics.median(theirs)),
    )


def _middle(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return ordered[tenth], ordered[-1 - tenth]


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"
