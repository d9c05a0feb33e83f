"""One round: a deployment, four workers, disturbances one after the other, and the checker's verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis_sessions import SessionStore
from tests.faults.checker import Verdict, check, longest_gap
from tests.faults.disturbances import primary_of, settle
from tests.faults.finals import read_finals
from tests.faults.record import read_record
from tests.support import reaper
from tests.support.waiting import pause_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.faults.disturbances import Disturbance
    from tests.faults.topologies import Deployment

ROOT = Path(__file__).parents[2]
WORKERS = 4
TASKS = 8
CALM = 0.7
"""Seconds of undisturbed load before, between and after disturbances."""
RESUME = 1.0
"""Seconds after the end of a disturbance by which writes have resumed."""
_WATCH = 0.02
_ONE_SERVER = ("redis", "rediss", "unix")
LEAVING = 2.5
"""Seconds by which every client has left a primary that was replaced, on a busy machine."""


class Worker:
    """A process of the load."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._generation = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._generation += 1
        name = f"{self._config['name']}-{self._generation}"
        config = self._config | {"name": name, "seed": self._config["seed"] + 1_000 * self._generation}
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("REDIS_SESSIONS_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", json.dumps(config)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        reaper.tell("started", self._process.pid)

    async def ready(self) -> None:
        process = self._running
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if line != b"ready\n":
            raise RuntimeError(f"the worker ended with {process.wait()} before it was ready")

    async def replace(self) -> None:
        """kill -9, and another in its place."""
        self._end(signal.SIGKILL)
        self.start()
        await self.ready()

    async def stop(self, timeout: float = 20) -> int:  # noqa: ASYNC109
        """Let it finish its calls; its exit code."""
        process = self._running
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, timeout)
        return self._end(signal.SIGKILL)

    def close(self) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _end(self, number: signal.Signals) -> int:
        process = self._running
        if process.poll() is None:
            process.send_signal(number)
        code = process.wait()
        assert process.stdout is not None
        process.stdout.close()
        reaper.tell("ended", process.pid)
        self._process = None
        return code


class Stalls:
    """How long this machine did nothing for a thread that was ready: that is nobody's outage.

    It has a thread that sleeps, again and again, and notes when it was woken too late.
    """

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def longest(self, start: float, end: float) -> float:
        """Seconds, between two moments."""
        return max((late for at, late in self._late if start <= at <= end), default=0.0)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(_WATCH):
            now = time.monotonic()
            self._late.append((now, now - before - _WATCH))
            before = now


@dataclass(frozen=True)
class Outage:
    """A disturbance, how many seconds it ``lasted``, and how long no write was acknowledged beside it.

    ``allowed`` is what of that is neither its nor ours: writes that are always apart, what lasts on for a
    client on its open connection, and a machine that stood still.
    """

    name: str
    lasted: float
    gap: float
    allowed: float = 0.0

    @property
    def resumed_after(self) -> float:
        """Seconds after its end in which no write was acknowledged."""
        return self.gap - self.lasted - self.allowed

    @property
    def too_long(self) -> bool:
        return self.resumed_after > RESUME

    def __str__(self) -> str:
        return f"{self.name} {self.lasted:.2f} s/{self.gap:.2f} s ({self.allowed:.2f} allowed)"


@dataclass
class Report:
    """What came of a round."""

    seed: int
    verdict: Verdict
    exits: list[int] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All that is wrong: the checker's complaints, workers that ended badly, writes that resumed late."""
        exits = [f"a worker ended with {code}" for code in self.exits if code != 0]
        late = [f"writes resumed too late: {outage}" for outage in self.outages if outage.too_long]
        return self.verdict.complaints + exits + late

    def __str__(self) -> str:
        verdict = self.verdict
        outages = ", ".join(str(outage) for outage in self.outages)
        return (
            f"seed {self.seed}: {verdict.calls} calls, {verdict.acknowledged} writes acknowledged, "
            f"{verdict.unknown} unknown, {verdict.reads} reads ({verdict.unsettled_reads} unsettled), "
            f"{len(self.problems)} problems; disturbed/without writes: {outages}"
        )


async def play(
    deployment: Deployment,
    disturbances: Sequence[Disturbance],
    folder: Path,
    seed: int,
    *,
    workers: int = WORKERS,
    tasks: int = TASKS,
    pause: float = 0.05,
) -> Report:
    """Play one round on fresh flows. All randomness comes from ``seed``."""
    chance = random.Random(seed)
    flows = deployment.draw_flows(chance)
    clocks = next((each.clocks for each in disturbances if len(each.clocks) > 1), (0.0,))
    team = [
        Worker(
            {
                "name": f"w{number}",
                "url": deployment.url,
                # On one server half of them are threads, without an event loop (redis_sessions.blocking).
                "threads": number % 2 == 1 and urlsplit(deployment.url).scheme in _ONE_SERVER,
                "options": deployment.options,
                "flows": flows,
                "seed": chance.getrandbits(32),
                "clock_off": clocks[number % len(clocks)],
                "pause": pause,
                "tasks": tasks,
                "record": str(folder / f"{seed}-{number}"),
            }
        )
        for number in range(workers)
    ]
    spans: list[tuple[Disturbance, float, float, float]] = []
    unsettled: list[tuple[float, float]] = []
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_running(team))
        stalls = stack.enter_context(contextlib.closing(Stalls()))
        await pause_for(CALM)
        await settle(deployment)
        for disturbance in disturbances:
            started = time.monotonic()
            lasted = await disturbance.act(deployment, team, flows)
            successor = primary_of(deployment)
            await pause_for(CALM + RESUME)
            calm = time.monotonic()
            # Until it is whole it may fail over a second time: what comes of that is this disturbance's too.
            changed = await settle(deployment, successor)
            spans.append((disturbance, started, lasted, time.monotonic()))
            if disturbance.unsettles:
                unsettled.append((started, max(calm, changed + LEAVING)))
        exits = await asyncio.gather(*(worker.stop() for worker in team))
    paths = [folder / f"{seed}-{number}" for number in range(workers)]
    calls = await asyncio.to_thread(read_record, paths)
    async with SessionStore.from_url(deployment.direct_url, **deployment.admin_options) as store:
        finals = await read_finals(store, flows)
    verdict = await asyncio.to_thread(check, calls, finals, unsettled)
    apart = max(each.apart for each in disturbances)
    outages = [
        Outage(
            each.name,
            lasted,
            max(longest_gap(calls, flow, start, end) for flow in flows),
            each.unnoticed + apart + stalls.longest(start, end),
        )
        for each, start, lasted, end in spans
    ]
    return Report(seed, verdict, list(exits), outages)


@contextlib.asynccontextmanager
async def _running(team: Sequence[Worker]) -> AsyncIterator[None]:
    try:
        for worker in team:
            worker.start()
        await asyncio.gather(*(worker.ready() for worker in team))
        yield
    finally:
        for worker in team:
            worker.close()
