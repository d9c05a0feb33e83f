"""What a call of redis-sessions consists of, counted: the same on every machine, however busy it is.

Commands that Redis carries out (those of scripts included), round trips, bytes either way, and calls of
functions in the client's Python. What becomes slower without doing more is not seen here; ``gate.py``
compares CPU times too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.subjects import OURS
from benchmarks.workers import SubjectError, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import redis

    from benchmarks.subjects import Entry
    from benchmarks.workers import Worker

_CALLS = 20
_LONG = 10_000


@dataclass(frozen=True, slots=True)
class Count:
    """Of one call, on average.

    Attributes:
        commands: by name.
        sent, received: bytes, seen from the client.
        trips: times that the server read from a connection.
        functions: calls of Python and C functions in the client.
    """

    commands: dict[str, float]
    sent: float
    received: float
    trips: float
    functions: float

    @property
    def total(self) -> float:
        """All commands."""
        return sum(self.commands.values())


Counts = dict[str, Count]
"""By name of what was called."""


@dataclass(frozen=True)
class _Case:
    operation: str
    arguments: list[Any]
    data: dict[str, int]
    expected: int | None = None


_DOOMED = [f"doomed-{number}" for number in range(_CALLS)]
_MANY = [f"one-of-many-{number:03}" for number in range(100)]
CASES = {
    "append": _Case("append", ["hundred"], {"hundred": 100}),
    "append-long": _Case("append", ["long"], {"long": _LONG}),
    "history-20": _Case("history", ["read", 20], {"read": 100}, 20),
    "history-100": _Case("history", ["read", 100], {"read": 100}, 100),
    "history-100-long": _Case("history", ["long", 100], {"long": _LONG}, 100),
    "wire": _Case("history_wire", ["read", 100], {"read": 100}, 100),
    "update": _Case(
        "update", ["edited", [f"changed to text {number}" for number in range(100)]], {"edited": 100}
    ),
    "delete-message": _Case("delete_message", ["shrinking"], {"shrinking": 100}),
    "rename": _Case("rename", ["short"], {"short": 100}),
    "rename-long": _Case("rename", ["long"], {"long": _LONG}),
    "delete-session": _Case("delete_session", [_DOOMED], dict.fromkeys(_DOOMED, 20)),
    "list": _Case("list_sessions", [100], dict.fromkeys(_MANY, 1), 100),
    "recent": _Case("recent", [100], {"last": 200}, 100),
}


async def measure(
    server: redis.Redis,
    url: str,
    *,
    python: str,
    folder: Path,
    tell: Callable[[str], None],
    entry: Entry = OURS,
    names: Collection[str] = CASES.keys(),
) -> Counts:
    """Count each of the cases named. ``server``: a client of the one at ``url``, which nobody else uses."""
    found: Counts = {}
    async with worker(entry, python, url, folder) as ours:
        await ours.check()  # scripts are loaded by their first calls
        if ours.lies:
            raise SubjectError(f"{entry.label} does not do what it says: {ours.lies}")
        for name in names:
            tell(f"counting {name}")
            await ours.prepare(CASES[name].data)
            found[name] = await _count(ours, server, CASES[name])
    return found


async def _count(ours: Worker, server: redis.Redis, case: _Case) -> Count:
    nothing = _Seen.by(server).until(_Seen.by(server))
    before = _Seen.by(server)
    done = await ours.tell(
        do="count",
        operation=case.operation,
        arguments=case.arguments,
        calls=_CALLS,
        expected=case.expected,
    )
    seen = before.until(_Seen.by(server))
    return Count(
        {name: count / _CALLS for name, count in sorted(seen.commands.items()) if name not in _OWN},
        seen.sent / _CALLS,
        seen.received / _CALLS,
        (seen.reads - nothing.reads) / _CALLS,
        done["functions"] / _CALLS,
    )


_OWN = {"info", "client|list", "client|id"}
"""What the server is asked with."""


@dataclass(frozen=True)
class _Seen:
    """What a server has done for others than who asks."""

    commands: dict[str, int]
    sent: int
    received: int
    reads: int

    @classmethod
    def by(cls, server: redis.Redis) -> _Seen:
        stats: Any = server.info("commandstats")
        reads: Any = server.info("stats")
        mine = str(server.client_id())
        clients: Any = [one for one in server.client_list() if one["id"] != mine]
        return cls(
            {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()},
            sum(int(one["tot-net-in"]) for one in clients),
            sum(int(one["tot-net-out"]) for one in clients),
            reads["total_reads_processed"],
        )

    def until(self, later: _Seen) -> _Seen:
        return _Seen(
            {
                name: count - self.commands.get(name, 0)
                for name, count in later.commands.items()
                if count > self.commands.get(name, 0)
            },
            later.sent - self.sent,
            later.received - self.received,
            later.reads - self.reads,
        )
