"""A whole run: servers up, subjects up, everything asked, servers down."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients, clusters, counts, growth, memory
from benchmarks.budget import Budget
from benchmarks.noise import Noise, listen
from benchmarks.questions import questions
from benchmarks.results import Results, machine
from benchmarks.rounds import ask, in_turns
from benchmarks.servers import Servers
from benchmarks.stack import NoServerError
from benchmarks.subjects import ENTRIES, OURS, RAW
from benchmarks.workers import SubjectError, Worker, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.questions import Question
    from benchmarks.subjects import Entry

_WEIGHTS = {"counts": 0.2, "questions": 12.0, "clients": 3.5, "memory": 1.0, "clusters": 0.6, "growth": 7.5}
"""Parts in their order, with their shares of the time. The last one is that which can end early."""
_STEADY = ("counts", "memory")
"""Not a matter of time, and short: never left out."""
PARTS = tuple(_WEIGHTS)
_WHOLE, _QUICK = 870, 110
"""Seconds of a run, with some left over for its end."""
_NO_TIME = "there was no time for it"


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
        minutes: how long it may take; None for 15, or 2 if quick.
    """

    quick: bool
    pythons: dict[str, str]
    parts: tuple[str, ...] = PARTS
    subjects: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    believe_noise: bool = False
    minutes: float | None = None

    @property
    def rounds(self) -> int:
        return 7 if self.quick else 45

    @property
    def seconds(self) -> float:
        if self.minutes is not None:
            return self.minutes * 60
        return _QUICK if self.quick else _WHOLE

    def entries(self) -> Iterator[Entry]:
        for entry in ENTRIES:
            wanted = not self.subjects or entry.name in self.subjects or entry in (RAW, OURS)
            if wanted and entry.environment in self.pythons:
                yield entry

    def questions(self) -> list[Question]:
        return [one for one in questions(quick=self.quick) if not self.keys or one.key in self.keys]


async def run(plan: Plan, *, tell: Callable[[str], None]) -> Results:
    """Measure.

    Raises:
        TooNoisyError: the machine is too busy to tell, and ``believe_noise`` is not set.
    """
    with (
        tempfile.TemporaryDirectory(prefix="redis-sessions-bench-") as name,
        Servers(plan.pythons) as servers,
    ):
        return await _Run(plan, Budget(plan.seconds), Path(name), servers, tell).run()


class _Run:
    def __init__(
        self, plan: Plan, budget: Budget, folder: Path, servers: Servers, tell: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._budget = budget
        self._folder = folder
        self._servers = servers
        self._tell = tell
        self._workers: list[Worker] = []
        self._yardsticks: dict[str, Worker] = {}

    async def run(self) -> Results:
        plan, servers = self._plan, self._servers
        async with contextlib.AsyncExitStack() as stack:
            noise = await self._listen(stack)
            left_out = await self._start(stack)
            self._results = Results({**machine(), **servers.about()}, noise, left_out=left_out)
            parts = {
                "counts": self._counts,
                "questions": self._questions,
                "clients": self._clients,
                "memory": self._memory,
                "clusters": self._clusters,
                "growth": self._growth,
            }
            wanted = [(part, _WEIGHTS[part]) for part in PARTS if part in plan.parts]
            for part, share in self._budget.shared(wanted):
                if self._budget.is_over and part not in _STEADY:
                    left_out[part] = _NO_TIME
                else:
                    await parts[part](share)
        self._results.seconds = self._budget.spent
        return self._results

    async def _listen(self, stack: contextlib.AsyncExitStack) -> Noise:
        url = self._servers.url("redis")
        raw = self._yardsticks["redis"] = await self._worker(stack, RAW, url)
        async with worker(RAW, self._plan.pythons["own"], url, self._folder) as same:
            self._tell("listening to the machine")
            noise = await listen(raw, same)
        if noise.too_noisy and not self._plan.believe_noise:
            raise TooNoisyError(noise)
        return noise

    async def _start(self, stack: contextlib.AsyncExitStack) -> dict[str, str]:
        """Everybody, some at a time: libraries take long to import. Who cannot be measured, and why."""
        entries = [entry for entry in self._plan.entries() if entry is not RAW]
        started: dict[Entry, Worker] = {RAW: self._yardsticks["redis"]}

        async def start(entry: Entry) -> None:
            self._tell(f"starting {entry.label}")
            one = await self._worker(stack, entry, self._servers.url_for(entry))
            await one.check()
            started[entry] = one

        outcomes = await in_turns(*(start(entry) for entry in entries), at_once=2)
        left_out = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, (SubjectError, NoServerError)):
                left_out[entry.label] = str(outcome)
            elif outcome is not None:
                raise outcome
        self._workers = [started[entry] for entry in ENTRIES if entry in started]
        if any(one.entry.server == "search" for one in self._workers):
            self._yardsticks["search"] = await self._worker(stack, RAW, self._servers.url("search"))
        return left_out

    async def _worker(self, stack: contextlib.AsyncExitStack, entry: Entry, url: str) -> Worker:
        return await stack.enter_async_context(
            worker(entry, self._plan.pythons[entry.environment], url, self._folder)
        )

    async def _counts(self, _: Budget) -> None:
        """In a server of its own: it is asked what it did."""
        with Servers(self._plan.pythons) as servers:
            url = servers.url("redis")
            self._results.counts = await counts.measure(
                servers.clients()["redis"],
                url,
                python=self._plan.pythons["own"],
                folder=self._folder,
                tell=self._tell,
            )

    async def _questions(self, budget: Budget) -> None:
        asked = [(question, question.weight) for question in self._plan.questions()]
        for question, share in budget.shared(asked):
            if self._budget.is_over:
                self._results.left_out[question.title] = _NO_TIME
                continue
            row = await ask(
                question,
                self._workers,
                self._yardsticks,
                rounds=min(self._plan.rounds, question.rounds),
                budget=share,
                tell=self._tell,
            )
            self._results.rows.append((question, row))

    async def _clients(self, budget: Budget) -> None:
        quick = self._plan.quick
        self._results.loads = await clients.measure(
            self._workers,
            clients.works(many=1_000 if quick else 10_000),
            rounds=1 if quick else 3,
            seconds=0.5,
            budget=budget,
            tell=self._tell,
        )

    async def _memory(self, _: Budget) -> None:
        self._results.memory = await memory.measure(self._workers, self._servers.clients(), tell=self._tell)

    async def _clusters(self, _: Budget) -> None:
        self._results.clusters = await clusters.measure(
            (1, 2, 3),
            python=self._plan.pythons["own"],
            seconds=1 if self._plan.quick else 2,
            folder=self._folder,
            tell=self._tell,
        )

    async def _growth(self, budget: Budget) -> None:
        """In a server of its own: the others have sessions in theirs."""
        counts = (1_000, 10_000) if self._plan.quick else (1_000, 10_000, 100_000, 1_000_000)
        python = self._plan.pythons["own"]
        with Servers(self._plan.pythons) as servers:
            url = servers.url("redis")
            async with (
                worker(RAW, python, url, self._folder) as raw,
                worker(OURS, python, url, self._folder) as ours,
                worker(OURS, python, url, self._folder) as one,
                worker(OURS, python, url, self._folder) as another,
            ):
                grown = await growth.measure(
                    raw,
                    ours,
                    (one, another),
                    servers.clients()["redis"],
                    counts,
                    rounds=5,
                    budget=budget,
                    tell=self._tell,
                )
        self._results.growth = grown
        for count in counts[len(grown) :]:
            self._results.left_out[f"growth to {count:,} sessions"] = _NO_TIME
