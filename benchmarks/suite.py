"""A whole run: servers up, subjects up, everything asked, servers down."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients, clusters, growth, memory
from benchmarks.noise import Noise, listen
from benchmarks.questions import questions
from benchmarks.results import Results, machine
from benchmarks.rounds import ask
from benchmarks.servers import Servers
from benchmarks.stack import NoServerError
from benchmarks.subjects import ENTRIES, OURS, RAW
from benchmarks.workers import SubjectError, Worker, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.subjects import Entry

PARTS = ("questions", "clients", "memory", "growth", "clusters")


class TooNoisyError(Exception):
    """Ratios would mean nothing here and now."""

    def __init__(self, noise: Noise) -> None:
        super().__init__(str(noise))


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Attributes:
        pythons: the interpreter of each environment that is there.
        subjects: names; empty for all.
        keys: questions; empty for all.
    """

    quick: bool
    pythons: dict[str, str]
    parts: tuple[str, ...] = PARTS
    subjects: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    believe_noise: bool = False

    @property
    def rounds(self) -> int:
        return 7 if self.quick else 9

    def entries(self) -> Iterator[Entry]:
        for entry in ENTRIES:
            wanted = not self.subjects or entry.name in self.subjects or entry in (RAW, OURS)
            if wanted and entry.environment in self.pythons:
                yield entry


async def run(plan: Plan, *, tell: Callable[[str], None]) -> Results:
    """Measure.

    Raises:
        TooNoisyError: the machine is too busy to tell, and ``believe_noise`` is not set.
    """
    with (
        tempfile.TemporaryDirectory(prefix="redis-sessions-bench-") as name,
        Servers(plan.pythons) as servers,
    ):
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:

            async def start(entry: Entry, url: str) -> Worker:
                return await stack.enter_async_context(
                    worker(entry, plan.pythons[entry.environment], url, folder)
                )

            async with worker(RAW, plan.pythons["own"], servers.url("redis"), folder) as same:
                raw = await start(RAW, servers.url("redis"))
                tell("listening to the machine")
                noise = await listen(raw, same)
            if noise.too_noisy and not plan.believe_noise:
                raise TooNoisyError(noise)
            workers: list[Worker] = []
            left_out: dict[str, str] = {}
            for entry in plan.entries():
                if entry is RAW:
                    workers.append(raw)
                    continue
                tell(f"starting {entry.label}")
                try:
                    one = await start(entry, servers.url_for(entry))
                    await one.check()
                except (SubjectError, NoServerError) as error:
                    left_out[entry.label] = str(error)
                    continue
                workers.append(one)
            yardsticks = {"redis": raw}
            if any(one.entry.server == "search" for one in workers):
                yardsticks["search"] = await start(RAW, servers.url("search"))
            results = Results({**machine(), **servers.about()}, noise, left_out=left_out)
            if "questions" in plan.parts:
                for question in questions(quick=plan.quick):
                    if not plan.keys or question.key in plan.keys:
                        row = await ask(question, workers, yardsticks, rounds=plan.rounds, tell=tell)
                        results.rows.append((question, row))
            if "clients" in plan.parts:
                results.loads = await clients.measure(
                    workers,
                    servers.clients(),
                    rounds=1 if plan.quick else 3,
                    seconds=0.5 if plan.quick else 0.7,
                    tell=tell,
                )
            if "memory" in plan.parts:
                results.memory = await memory.measure(workers, servers.clients(), tell=tell)
        if "growth" in plan.parts:
            results.growth = await _grow(plan, folder, tell)
        if "clusters" in plan.parts and not plan.quick:
            results.clusters = await clusters.measure(
                (1, 2, 3), python=plan.pythons["own"], seconds=2, folder=folder, tell=tell
            )
        return results


async def _grow(plan: Plan, folder: Path, tell: Callable[[str], None]) -> list[growth.Grown]:
    """In a server of its own: the others have sessions in theirs."""
    counts = (1_000, 10_000) if plan.quick else (1_000, 10_000, 100_000, 1_000_000)
    with Servers(plan.pythons) as servers:
        url, python = servers.url("redis"), plan.pythons["own"]
        async with (
            worker(RAW, python, url, folder) as raw,
            worker(OURS, python, url, folder) as ours,
            worker(OURS, python, url, folder) as helper,
        ):
            return await growth.measure(
                raw, ours, helper, servers.clients()["redis"], counts, rounds=5, tell=tell
            )
