"""Very much of everything, by hand: ``python -m tests.heavy`` (``--messages 100000`` for a shorter one).

A server, a bystander in a process of its own (it appends to a session of its own and reads its last 100
messages, all the time), and heavy operations one after the other. Each row says what the longest command was
(SLOWLOG; what Redis waited for a processor is taken off, and it goes first where that may be asked for), and
how long the bystander's calls took beside it: the median and the 95th percentile, as multiples of those while
this process was as busy without Redis. Where a monitor is what has much to do, a visitor asks it for messages
meanwhile: a bystander of another kind.

A command over 20 ms, or a median over twice the usual, is a failure: the program ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx

from redis_sessions import MergeTooLargeError, MessageUpdate, NewMessage, SessionStore
from redis_sessions.body import encode
from redis_sessions.doctor import examine
from redis_sessions.stats import collect
from tests.heavy_feeds import PATH as MESSAGES
from tests.heavy_feeds import Readers, a_monitor
from tests.support import reaper
from tests.support.servers import BINARIES, Server, a_server
from tests.support.waiting import pause_for, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FLOW = "flow"
START = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST_US = 20_000
MOST_TIMES = 2.0
CALM = 1.5
MIB = 2**20


class Bystander:
    """Somebody else, in a process of its own; notes when each call began and how long it took.

    With a store's URL it appends and reads; with a monitor's it asks for messages.
    """

    def __init__(self, server: Server, url: str | None = None) -> None:
        self.name = "visitor" if url else "bystander"
        self._path = server.folder / self.name
        self._path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.heavy", "--bystander", url or server.url, str(self._path)]
        self._process = subprocess.Popen(command, start_new_session=True)
        reaper.tell("started", self._process.pid)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        reaper.tell("ended", self._process.pid)

    def calls(self, start: float, end: float) -> list[float]:
        """How many ms each of the calls of a time took."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        calls = [tuple(map(float, line.split())) for line in lines if line.count(" ") == 1]
        return [1_000 * took for began, took in calls if began + took >= start and began <= end]

    @property
    def is_there(self) -> bool:
        return self._path.exists() and self._path.stat().st_size > 0


async def stand_by(url: str, path: Path) -> None:
    async with SessionStore.from_url(url, prefix="bystander") as store:
        with path.open("a", buffering=1) as file:
            while True:
                began = time.monotonic()
                await store.append(FLOW, text="hello", sender="User", sender_name="Ann", session_id="chat")
                await store.history(FLOW, "chat")
                file.write(f"{began} {time.monotonic() - began}\n")


async def visit(url: str, path: Path) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        with path.open("a", buffering=1) as file:
            while True:
                began = time.monotonic()
                (await client.get(url)).raise_for_status()
                file.write(f"{began} {time.monotonic() - began}\n")


class Heavy:
    """One server, the store that does heavy things there, and what came of it."""

    def __init__(self, server: Server, store: SessionStore, bystander: Bystander) -> None:
        self.server, self.store, self.bystanders = server, store, [bystander]
        self.failed = False

    @contextlib.asynccontextmanager
    async def visitor(self, url: str) -> AsyncIterator[None]:
        """Somebody who asks for this all the time, for the phases inside."""
        with contextlib.closing(Bystander(self.server, url)) as visitor:
            while not visitor.is_there:
                await pause_for(0.1)
            self.bystanders.append(visitor)
            try:
                yield
            finally:
                self.bystanders.remove(visitor)

    @contextlib.asynccontextmanager
    async def phase(self, name: str, usual: list[list[float]] | None = None) -> AsyncIterator[None]:
        """What is done inside becomes a row. ``usual``: bystanders' calls before, where what came goes on."""
        goes_on, usual = usual is not None, usual or await self.usual()
        client = self.server.client()
        client.slowlog_reset()
        waited, started = waited_us(self.server), time.monotonic()
        yield
        ended, waited = time.monotonic(), waited_us(self.server) - waited
        slow = {int(each["duration"]): each["command"] for each in client.slowlog_get(1_000)}
        worst = max(slow, default=0)
        net = max(worst - waited, 0)
        found = [each.calls(started, ended) for each in self.bystanders]
        if not goes_on:
            usual = [some + more for some, more in zip(usual, await self.usual(), strict=True)]
        row = f"{name:44} {ended - started:8.2f} s  longest {worst / 1_000:6.1f} ms ({net / 1_000:5.1f} net)"
        for each, calls, before in zip(self.bystanders, found, usual, strict=True):
            if len(calls) > 1:
                times = statistics.median(calls) / statistics.median(before)
                tail = _p95(calls) / _p95(before)
                row += f"  {each.name} {times:5.2f} x, p95 {tail:5.2f} x, most {max(calls):6.1f} ms"
                self.failed |= times > MOST_TIMES and len(calls) > 20
        if net > LONGEST_US:
            self.failed = True
            row += f"  {slow[worst][:60]!r}"
        print(row, flush=True)

    async def usual(self) -> list[list[float]]:
        """How many ms the bystanders' calls take while this process is busy without Redis."""
        started = time.monotonic()
        while time.monotonic() < started + CALM:
            encode(message("busy", 0))
        return [each.calls(started, time.monotonic()) for each in self.bystanders]

    async def fill(self, session: str, count: int, *, size: int = 300, adopted: bool = False) -> None:
        for first in range(0, count, 250):
            numbers = range(first, min(first + 250, count))
            batch = [message(session, n, size=size, adopted=adopted) for n in numbers]
            await self.store.append_many(FLOW, batch)


def message(session: str, number: int, *, size: int = 300, adopted: bool = False) -> NewMessage:
    return NewMessage(
        text="x" * size,
        sender="User",
        sender_name="Ann",
        session_id=session,
        timestamp=START + timedelta(milliseconds=number),
        id=str(uuid4()) if adopted else None,
    )


def _prefer(server: Server) -> None:
    """Others on this machine are not to make its main thread wait, where that may be asked for."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(server.pid, os.SCHED_RR, os.sched_param(1))


def waited_us(server: Server) -> float:
    """How long the server's main thread has been ready to run and had no processor."""
    return int(Path(f"/proc/{server.pid}/task/{server.pid}/schedstat").read_text().split()[1]) / 1_000


def _p95(calls: list[float]) -> float:
    return sorted(calls)[int(len(calls) * 0.95)]


async def a_long_session(heavy: Heavy, count: int) -> None:
    store = heavy.store
    async with heavy.phase(f"append {count:,} messages, 250 at a time"):
        await heavy.fill("long", count)
    page = await store.history(FLOW, "long", limit=100)
    middle = page[0]
    for _ in range(3):
        middle = (await store.history(FLOW, "long", limit=1_000, before=middle))[0]
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "history(100)": lambda: store.history(FLOW, "long", limit=100),
        "history(10,000)": lambda: store.history(FLOW, "long", limit=10_000),
        "history(100) before the middle": lambda: store.history(FLOW, "long", before=middle),
        "update": lambda: store.update(page[0].id, MessageUpdate(text=str(uuid4())), flow_id=FLOW),
        "delete 100 messages": lambda: store.delete_messages([one.id for one in page], flow_id=FLOW),
        "rename": lambda: store.rename_session(FLOW, "long", "longer"),
    }
    for name, act in steps.items():
        async with heavy.phase(name):
            await act()
    async with heavy.phase("refuse to merge it"):
        await heavy.fill("one", 10)
        with contextlib.suppress(MergeTooLargeError):
            await store.rename_session(FLOW, "one", "longer")
    async with heavy.phase("merge 2 x 5,000, 900 of each changed"):
        for session in ("two", "three"):
            await heavy.fill(session, 5_000)
            for one in await store.history(FLOW, session, limit=900):
                await store.update(one.id, MessageUpdate(text="changed"), flow_id=FLOW)
        await store.rename_session(FLOW, "two", "three")
    async with (
        SessionStore.from_url(heavy.server.url, max_messages=1_000, deadline=60) as trimming,
        heavy.phase("100 messages that trim it"),
    ):
        for number in range(100):
            await trimming.append_many(FLOW, [message("longer", count + number)])
    async with heavy.phase("export it"):
        exported = 0
        async for _ in store.export_json(FLOW, "longer"):
            exported += 1
            if exported == 200_000:
                break
    async with heavy.phase("a late message"):
        await store.append_many(FLOW, [message("longer", 0)])
    async with heavy.phase("delete it"):
        await store.delete_session(FLOW, "longer")
        await pause_for(1)
    async with heavy.phase("adopt 100,000 ids, and delete them"):
        await heavy.fill("adopted", min(count, 100_000), adopted=True)
        await store.delete_session(FLOW, "adopted")


async def a_session_that_expires(heavy: Heavy, count: int) -> None:
    """Redis frees it by itself: in the way of all others, unless it is told not to."""
    for lazy in ("yes", "no"):
        heavy.server.client().config_set("lazyfree-lazy-expire", lazy)
        await heavy.fill("mortal", count)
        log = heavy.store._parts.keys.flow(FLOW).log("mortal")
        async with heavy.phase(f"expire {count:,} (lazyfree-lazy-expire {lazy})"):
            heavy.server.client().pexpire(log, 300)
            await pause_for(1.5)
        await heavy.store.delete_session(FLOW, "mortal")
    heavy.server.client().config_set("lazyfree-lazy-expire", "yes")


async def large_messages(heavy: Heavy) -> None:
    store = heavy.store
    text = "x" * (MIB - 1_000)
    async with heavy.phase("20 messages of 1 MiB"):
        for _ in range(20):
            one = await store.append(FLOW, text=text, sender="u", sender_name="u", session_id="large")
    async with heavy.phase("read, change, move, rename, merge, delete"):
        await store.history(FLOW, "large", limit=5)
        await store.update(one.id, MessageUpdate(text="y" * (MIB - 1_000)), flow_id=FLOW)
        await store.update(one.id, MessageUpdate(session_id="other"), flow_id=FLOW)
        await store.rename_session(FLOW, "other", "another")
        await store.rename_session(FLOW, "another", "large")
        await store.delete_messages([one.id], flow_id=FLOW)
    async with heavy.phase("history of 20 MiB"):
        await store.history(FLOW, "large", limit=20)
    async with heavy.phase("delete it"):
        await store.delete_session(FLOW, "large")


async def a_flow_of_many_sessions(heavy: Heavy, count: int) -> None:
    store, flow = heavy.store, "many"
    async with heavy.phase(f"start {count:,} sessions"):
        for first in range(0, count, 1_000):
            numbers = range(first, min(first + 1_000, count))
            await store.append_many(flow, [message(f"session {n}", n) for n in numbers])

    async def no_such(limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await store.recent(flow, sender="Nobody")

    async def some_of_its_deletion(limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await store.delete_flow(flow)

    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "its newest 100": lambda: store.sessions(flow),
        "its oldest 100": lambda: store.sessions(flow, offset=count - 100),
        "all of its sessions": lambda: store.sessions(flow, limit=count),
        "its newest 100 messages": lambda: store.recent(flow),
        "20 s of looking for what is not there": lambda: no_such(20),
        "another session": lambda: store.append_many(flow, [message("new", 0)]),
        "rename one": lambda: store.rename_session(flow, "session 5", "five"),
        "delete one": lambda: store.delete_session(flow, "five"),
        "stats": lambda: collect(store),
        "doctor": lambda: examine(store),
        "20 s of its deletion": lambda: some_of_its_deletion(20),
    }
    for name, act in steps.items():
        async with heavy.phase(name):
            await act()


async def many_flows(heavy: Heavy, count: int) -> None:
    store = heavy.store
    async with heavy.phase(f"start {count:,} flows of one owner"):
        for first in range(0, count, 50):
            some = range(first, min(first + 50, count))
            await asyncio.gather(
                *(store.append_many(str(uuid4()), [message(f"chat {n}", n)], owner="ann") for n in some)
            )
    flows = await store.flows(owner="ann")
    one = (await store.recent(flows[0]))[0]
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "list them": lambda: store.flows(owner="ann"),
        "find a message in them": lambda: store.get(one.id, flows=flows),
        "find nothing in them": lambda: store.get(uuid4(), flows=flows),
        "find a session in them": lambda: store.find_sessions([one.session_id], flows),
        "list their sessions": lambda: store.sessions_of(flows, limit=100),
        "their newest 100 messages": lambda: store.recent_json(flows, limit=100),
    }
    for name, act in steps.items():
        async with heavy.phase(name):
            for _ in range(3):
                await act()


async def many_feeds(heavy: Heavy, count: int) -> None:
    """Ten readers of each flow, and a visitor of the monitor that all of them are at."""
    store, flows = heavy.store, [str(uuid4()) for _ in range(max(count // 10, 1))]
    for flow in flows:
        await store.append_many(flow, [message("chat", 0)])
    seconds = 10

    async def talk() -> None:
        """A hundred messages a second, each of which ten readers hear of."""
        said = 0
        began, before = time.monotonic(), readers.heard
        while time.monotonic() < began + seconds:
            await store.append_many(flows[said % len(flows)], [message("chat", said)])
            said += 1
            await pause_for(max(began + said / 100 - time.monotonic(), 0))
        listening = [sum(each.flow == flow for each in readers.all) for flow in flows]
        expected = sum(listening[number % len(flows)] for number in range(said))
        await wait_until(lambda: readers.heard - before >= expected, 60, interval=0.1)
        assert readers.heard - before == expected

    async def come_back() -> None:
        await readers.close()
        for flow in flows:
            await store.append_many(flow, [message("chat", 1)])
        before = readers.heard
        await readers.open(count)
        missed = sum(bool(each.place) for each in readers.all)
        await wait_until(lambda: readers.heard - before >= missed, 60, interval=0.1)

    with a_monitor(heavy.server.url, store.settings.prefix, count) as url:
        readers = Readers(url, flows)
        async with heavy.visitor(f"{url}{MESSAGES}?flow_id={flows[0]}&session_id=chat&limit=100"):
            steps: dict[str, Callable[[], Awaitable[object]]] = {
                f"open {count:,} live feeds": lambda: readers.open(count),
                f"{seconds} s in which nothing happens": lambda: pause_for(seconds),
                f"{seconds} s of 100 messages, each to ten feeds": talk,
                "all feeds come back at once": come_back,
            }
            try:
                usual = await heavy.usual()
                for name, act in steps.items():
                    async with heavy.phase(name, usual):
                        await act()
            finally:
                await readers.close()


PARTS = ("session", "expiry", "large", "flow", "flows", "feeds")


async def run(arguments: argparse.Namespace) -> bool:
    conf: dict[str, Any] = {"slowlog_log_slower_than": LONGEST_US // 4, "slowlog_max_len": 1_000}
    with a_server(arguments.kind, **conf) as server, contextlib.closing(Bystander(server)) as bystander:
        _prefer(server)
        while not bystander.is_there:
            await pause_for(0.1)
        async with SessionStore.from_url(server.url, deadline=120) as store:
            heavy = Heavy(server, store, bystander)
            if "session" in arguments.parts:
                await a_long_session(heavy, arguments.messages)
            if "expiry" in arguments.parts:
                await a_session_that_expires(heavy, arguments.messages)
            if "large" in arguments.parts:
                await large_messages(heavy)
            if "flow" in arguments.parts:
                await a_flow_of_many_sessions(heavy, arguments.sessions)
            if "flows" in arguments.parts:
                await many_flows(heavy, arguments.flows)
            if "feeds" in arguments.parts:
                await many_feeds(heavy, arguments.feeds)
            return heavy.failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.heavy")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--feeds", type=int, default=2_000)
    parser.add_argument("--kind", choices=sorted(BINARIES), default="valkey")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--bystander", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bystander:
        url, path = arguments.bystander
        act = visit if url.startswith("http") else stand_by
        asyncio.run(act(url, Path(path)))
    sys.exit(int(asyncio.run(run(arguments))))


if __name__ == "__main__":
    main()
