"""From one command to an append: ``python -m benchmarks.steps``.

What each thing that an append promises costs one client, in turns: a list that is pushed to is no history
that can be renamed, paged or watched, and has a message twice when a call is tried again. All but the last
step are sent by redis-py, with everything made beforehand: who promises as much cannot be much below.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import redis
from rich.console import Console
from rich.table import Table

from redis_sessions.blocking import SessionStore
from redis_sessions.keys import Keys
from redis_sessions.scripting import source
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXT = "t" * 600
_CALLS = 100
_FLOW, _SESSION = "flow", "session"
_NEVER = 2**53
_AHEAD_US = 60_000_000
_EVENTS = 10_000


def steps(client: redis.Redis, store: SessionStore) -> dict[str, Callable[[], object]]:
    """Each is one call; the first is the yardstick."""
    keys = Keys(store.settings.prefix).flow(_FLOW)
    pushing = client.script_load("return redis.call('LPUSH', KEYS[1], ARGV[1])")
    appending = client.script_load(source("append_known").text)

    def message() -> object:
        return store.append(_FLOW, session_id=_SESSION, text=_TEXT, sender="User", sender_name="Ann")

    def transaction() -> object:
        pipe = client.pipeline(transaction=True)
        pipe.xadd("stream", {"b": _TEXT})
        pipe.zadd("sessions", {_SESSION: time.time_ns()})
        return pipe.execute()

    def script() -> object:
        # As scripts.py sends it: nobody's flow, and a feed whose time to live was set lately.
        settings = (_NEVER, "", _AHEAD_US, _EVENTS, 0)
        said = (_SESSION, b"nine byte", time.time_ns() // 1_000, _TEXT)
        names = (keys.ids, keys.sessions, keys.feed, keys.log(_SESSION))
        status, entry = client.evalsha(appending, len(names), *names, *settings, *said)  # type: ignore[misc, arg-type]
        if not entry:
            raise AssertionError(f"nothing was stored: {status!r}")
        return entry

    message()  # begins the session
    return {
        "LPUSH": lambda: client.lpush("list", _TEXT),
        "LPUSH, in a script": lambda: client.evalsha(pushing, 1, "list", _TEXT),
        "XADD, a list of sessions: MULTI": transaction,
        "the script of an append, bare": script,
        "blocking SessionStore.append": message,
    }


def measured(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds a call, and those of this process's CPU, in each round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(_CALLS):  # to warm up
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            started, spent = time.perf_counter(), time.process_time()
            for _ in range(_CALLS):
                call()
            took = time.perf_counter() - started, time.process_time() - spent
            found[name].append((took[0] / _CALLS, took[1] / _CALLS))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.steps", description="From one command to an append, step by step."
    )
    parser.add_argument("--rounds", type=int, default=50, help="of 100 calls of each (default: 50)")
    asked = parser.parse_args()
    table = Table("one call", "time", "client's CPU", "to LPUSH")
    with (
        valkey_server() as server,
        SessionStore.from_url(server.url) as store,
        redis.Redis(port=server.port) as client,
    ):
        found = measured(steps(client, store), asked.rounds)
    yardstick = next(iter(found.values()))
    for name, rounds in found.items():
        ratio = statistics.median(one[0] / other[0] for one, other in zip(rounds, yardstick, strict=True))
        took, spent = (statistics.median(column) for column in zip(*rounds, strict=True))
        table.add_row(name, f"{took * 1e6:.0f} µs", f"{spent * 1e6:.0f} µs", f"{ratio:.2f} ×")
    Console().print(table)


if __name__ == "__main__":
    main()
