"""Measure this deployment: what calls of the store take, beside the raw commands that move the same bytes.

Both run in turns, call by call, over the same connection, in a flow of its own that is deleted at the end. A
ratio is that of the medians. ``benchmarks/`` in the source measures more, and the peers too.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from redis_sessions.models import NewMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions.keys import FlowKeys
    from redis_sessions.parts import Parts
    from redis_sessions.store import SessionStore

    Call = Callable[[], Awaitable[object]]

ROUNDS = 200
LENGTH = 1_000
"""Messages of the session that is read and renamed."""
TEXT = "lorem ipsum dolor sit amet, " * 8
_PAGE = 100
_CLIENTS = 16
_LEFT_OVER = 600
"""Seconds after which the raw keys go, should nobody delete them."""
_MESSAGE: dict[str, Any] = {"text": TEXT, "sender": "User", "sender_name": "Bench"}


@dataclass(frozen=True, slots=True)
class Result:
    """One question, answered. Times are in µs; there may be nothing raw to compare with.

    Attributes:
        p50_us, p99_us: of the store's calls.
        rate: calls a second.
    """

    name: str
    raw: str
    p50_us: float
    p99_us: float
    raw_us: float | None
    ratio: float | None
    rate: float


async def measure(store: SessionStore, *, rounds: int = ROUNDS) -> list[Result]:
    """Ask all questions, ``rounds`` calls each.

    Writes under a flow of its own, and deletes it, also when it is interrupted.

    Raises:
        StoreUnavailableError: Redis did not answer within the deadline, or refused.
    """
    parts = store._parts
    keys = parts.keys.flow(f"redis-sessions-bench-{secrets.token_hex(8)}")
    try:
        return await _Bench(store, parts, keys, rounds).run()
    finally:
        await asyncio.shield(_clear(store, parts, keys))


async def _clear(store: SessionStore, parts: Parts, keys: FlowKeys) -> None:
    await store.delete_flow(keys.flow_id)
    await parts.calls.read(lambda: parts.transport.run(keys.ids, ("UNLINK", _raw(keys))))


def _raw(keys: FlowKeys) -> bytes:
    return keys.aside(b"bench")


class _Bench:
    def __init__(self, store: SessionStore, parts: Parts, keys: FlowKeys, rounds: int) -> None:
        self._store = store
        self._parts = parts
        self._keys = keys
        self._flow = keys.flow_id
        self._rounds = rounds

    async def run(self) -> list[Result]:
        store, flow, log = self._store, self._flow, _raw(self._keys)
        long = [NewMessage(session_id="long", **_MESSAGE)] * LENGTH
        most = store.settings.max_batch
        for first in range(0, LENGTH, most):
            await store.append_many(flow, long[first : first + most])
        await store.append(flow, session_id="one", **_MESSAGE)
        [(_, body)] = await self._entries("one")
        for _ in range(_PAGE):
            await self._command("XADD", log, "*", "b", body)
        await self._command("EXPIRE", log, _LEFT_OVER)
        results = [
            await self._ask(
                "append",
                lambda: store.append(flow, session_id="one", **_MESSAGE),
                "XADD of the same bytes",
                lambda: self._command("XADD", log, "*", "b", body),
            ),
            await self._ask(
                f"history({_PAGE}) of {LENGTH:,}",
                lambda: store.history(flow, "long", limit=_PAGE),
                f"XREVRANGE COUNT {_PAGE}",
                lambda: self._command("XREVRANGE", log, "+", "-", "COUNT", _PAGE),
            ),
            await self._ask(
                f"history_json({_PAGE}) of {LENGTH:,}",
                lambda: store.history_json(flow, "long", limit=_PAGE),
                f"XREVRANGE COUNT {_PAGE}",
                lambda: self._command("XREVRANGE", log, "+", "-", "COUNT", _PAGE),
            ),
            await self._ask(
                "sessions(100)",
                lambda: store.sessions(flow),
                "ZREVRANGE 0 99",
                lambda: self._command("ZREVRANGE", self._keys.sessions, 0, 99),
            ),
            await self._ask(
                f"rename of {LENGTH:,} messages, and back",
                self._rename,
                "RENAME, and back",
                self._raw_rename,
            ),
            await self._ask(
                "ping", store.ping, "EXISTS", lambda: self._command("EXISTS", self._parts.keys.flows)
            ),
        ]
        results.append(await self._together())
        return results

    async def _rename(self) -> None:
        await self._store.rename_session(self._flow, "long", "renamed")
        await self._store.rename_session(self._flow, "renamed", "long")

    async def _raw_rename(self) -> None:
        log, other = _raw(self._keys), self._keys.aside(b"bench 2")
        await self._command("RENAME", log, other)
        await self._command("RENAME", other, log)

    async def _ask(self, name: str, ours: Call, raw: str, theirs: Call) -> Result:
        """Our call and theirs in turns; the first tenth warms up."""
        mine: list[float] = []
        others: list[float] = []
        for turn in range(-max(1, self._rounds // 10), self._rounds):
            for call, times in ((ours, mine), (theirs, others)):
                started = time.perf_counter()
                await call()
                taken = time.perf_counter() - started
                if turn >= 0:
                    times.append(taken * 1e6)
        median, other = statistics.median(mine), statistics.median(others)
        return Result(name, raw, median, _p99(mine), other, median / other, 1e6 / statistics.fmean(mine))

    async def _together(self) -> Result:
        """Appends of several tasks at once."""
        times: list[float] = []

        async def work(number: int) -> None:
            for _ in range(max(1, self._rounds // _CLIENTS)):
                started = time.perf_counter()
                await self._store.append(self._flow, session_id=f"task {number}", **_MESSAGE)
                times.append((time.perf_counter() - started) * 1e6)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(_CLIENTS):
                group.create_task(work(number))
        rate = len(times) / (time.perf_counter() - started)
        return Result(
            f"append, {_CLIENTS} tasks at once", "", statistics.median(times), _p99(times), None, None, rate
        )

    async def _entries(self, session: str) -> list[tuple[bytes, bytes]]:
        entries = await self._command("XRANGE", self._keys.log(session), "-", "+")
        return [(entry, fields[1]) for entry, fields in entries]

    async def _command(self, *command: Any) -> Any:
        return (await self._parts.transport.run(self._keys.ids, command))[0]


def as_json(results: list[Result]) -> list[dict[str, Any]]:
    """The shape of ``bench --json``."""
    return [asdict(result) for result in results]


def _p99(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)]
