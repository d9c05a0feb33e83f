"""Appends by threads: ``python -m benchmarks.threads``.

One blocking store that all threads share, on one server: as it is, where each thread talks to the server
itself, and with an event loop in the background, as clusters and Sentinels have it. In turns; raw redis-py
beside them.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from typing import TYPE_CHECKING
from unittest import mock

import redis
from rich.console import Console
from rich.table import Table

from redis_sessions.blocking import SessionStore, base
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXT = "t" * 600
_COUNTS = (1, 8, 64)
_MOST = 128


def timed(call: Callable[[int], object], threads: int, seconds: float) -> tuple[float, float]:
    """Calls a second, and seconds of this process's CPU a call."""
    done = [0] * threads
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < end:
            call(number)
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    spent = time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / seconds, (time.process_time() - spent) / sum(done)


def appending(store: SessionStore) -> Callable[[int], object]:
    return lambda number: store.append(
        "flow", session_id=f"session {number}", text=_TEXT, sender="User", sender_name="Ann"
    )


def with_a_loop(url: str) -> SessionStore:
    """A store that takes the server for one that only an event loop reaches."""
    store = SessionStore.from_url(url, prefix="loop")
    with mock.patch.object(base, "open_sockets", return_value=None):
        store.open()
    return store


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description="Appends by threads.")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    asked = parser.parse_args()
    table = Table("threads", "store", "appends a second", "CPU an append", "to that with a loop")
    with (
        valkey_server(maxclients=1_000) as server,
        SessionStore.from_url(server.url, max_connections=_MOST) as own,
        with_a_loop(server.url) as loop,
        redis.Redis(port=server.port, max_connections=_MOST) as client,
    ):
        calls = {
            "each thread itself": appending(own),
            "a loop in the background": appending(loop),
            "raw redis-py, XADD": lambda number: client.xadd(f"raw {number}", {"m": _TEXT}),
        }
        for threads in _COUNTS:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
            for _ in range(asked.rounds):
                for name, call in calls.items():
                    found[name].append(timed(call, threads, asked.seconds))
            beside = found["a loop in the background"]
            for name, several in found.items():
                ratio = statistics.median(
                    one[0] / other[0] for one, other in zip(several, beside, strict=True)
                )
                rate, spent = (statistics.median(column) for column in zip(*several, strict=True))
                table.add_row(str(threads), name, f"{rate:,.0f}", f"{spent * 1e6:,.0f} µs", f"{ratio:.2f} ×")
    Console().print(table)


if __name__ == "__main__":
    main()
