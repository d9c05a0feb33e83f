"""All questions, to all subjects, in turns.

In each round raw Redis is asked first, then everybody else; a subject's ratio is its median in the round to
raw's median in the same round, so that a machine that slows down for a while slows both. What is reported is
the median of the rounds, and the range that holds the middle 80 % of them.

Whose calls take long is asked in a few rounds only. So the later ones are short, and many: a machine that is
faster at one moment than at the next is met at many moments by those that are close to each other.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.subjects import RAW
from benchmarks.workers import SubjectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.budget import Budget
    from benchmarks.questions import Question
    from benchmarks.workers import Worker

BUDGET = 0.4
"""Seconds that one subject may take in one round; a single call may take longer."""
FEWEST = 3
"""Rounds of a question for which there is no time."""
_VERY_SLOW = 2.0
_ENOUGH = ((_VERY_SLOW, 1), (0.001, 3))
"""A subject whose calls take so many seconds is asked in so many rounds, or runs took hours."""


@dataclass
class Cell:
    """A subject's answer to a question.

    Attributes:
        seconds: the median call of each round.
        ratios: to raw, in the same round.
        clients: the client's CPU seconds a call, in each round.
        servers: the same of the Redis server's process; none where there is no Redis.
        mark: why it is not quite the same thing.
        missing: why there is no figure.
    """

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    mark: str = ""
    missing: str = ""
    clients: list[float] = field(default_factory=list)
    servers: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def server_seconds(self) -> float | None:
        return statistics.median(self.servers) if self.servers else None

    @property
    def spread(self) -> tuple[float, float]:
        return middle(self.ratios)


Row = dict[str, Cell]


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The range that holds the middle 80 %."""
    ordered = sorted(values)
    tenth = len(ordered) // 10
    return ordered[tenth], ordered[-1 - tenth]


async def ask(
    question: Question,
    workers: Sequence[Worker],
    yardsticks: dict[str, Worker],
    *,
    rounds: int,
    budget: Budget,
    tell: Callable[[str], None],
) -> Row:
    """One row, in at most so many rounds. ``yardsticks``: raw on each kind of server; other servers are
    measured by the Redis one.
    """
    row: Row = {}
    asked: list[Worker] = []
    for worker in workers:
        row[worker.entry.name] = cell = Cell(mark=worker.marks.get(question.operation, ""))
        if reason := worker.lies.get(question.operation):
            cell.missing = f"does not do what it says: {reason}"
        elif question.operation not in worker.operations:
            cell.missing = "cannot"
        elif not worker.holds(question.length):
            cell.missing = f"not beyond {worker.longest:,} messages"
        else:
            asked.append(worker)
    others = [worker for worker in asked if worker not in yardsticks.values()]
    tell(f"{question.title}: {question.length:,} messages a session")
    prepared = await in_turns(
        *(worker.prepare(question.data) for worker in (*yardsticks.values(), *others)), at_once=2
    )
    _leave_out(row, asked, [*yardsticks.values(), *others], prepared)
    for turn in range(rounds):
        if turn >= FEWEST and budget.is_over:
            break
        tell(f"{question.title}: round {turn + 1} of {rounds}")
        still = [worker for worker in asked if not _has_enough(row[worker.entry.name])]
        if turn and not any(worker is not yardsticks["redis"] for worker in still):
            break
        if fresh := question.fresh(turn):
            everyone = [*yardsticks.values(), *(one for one in still if one not in yardsticks.values())]
            filled = await in_turns(*(worker.fill(fresh) for worker in everyone), at_once=2)
            _leave_out(row, asked, everyone, filled)
        raw = {kind: await _once(question, worker, turn) for kind, worker in yardsticks.items()}
        for worker in still:
            if worker not in asked:
                continue
            cell = row[worker.entry.name]
            try:
                answer = (
                    raw["redis"] if worker is yardsticks["redis"] else await _once(question, worker, turn)
                )
            except SubjectError as error:
                cell.missing = str(error).splitlines()[0]
                asked.remove(worker)
                continue
            cell.seconds.append(answer.seconds)
            cell.ratios.append(answer.seconds / raw.get(worker.entry.server, raw["redis"]).seconds)
            cell.clients.append(answer.client)
            if answer.server is not None:
                cell.servers.append(answer.server)
    return row


def _has_enough(cell: Cell) -> bool:
    """Whether a subject has been asked often enough for how long it takes."""
    rounds = len(cell.seconds)
    return any(rounds >= enough and cell.median > slow for slow, enough in _ENOUGH if rounds)


def _leave_out(
    row: Row, asked: list[Worker], workers: Sequence[Worker], outcomes: Sequence[BaseException | None]
) -> None:
    """Who could not store what a question is about. Without raw there is nothing to compare with."""
    for worker, outcome in zip(workers, outcomes, strict=True):
        if outcome is None:
            continue
        if not isinstance(outcome, SubjectError) or worker not in asked or worker.entry.name == RAW.name:
            raise outcome
        row[worker.entry.name].missing = str(outcome).splitlines()[0]
        asked.remove(worker)


@dataclass(frozen=True, slots=True)
class Answer:
    """One subject in one round: the median call, and the CPU a call, all in seconds."""

    seconds: float
    client: float
    server: float | None


async def _once(question: Question, worker: Worker, turn: int) -> Answer:
    arguments = question.arguments(turn)
    if turn == 0 and not question.fresh(0):
        first = await _timed(question, worker, arguments, calls=5)
        if first.seconds > _VERY_SLOW:
            return first
    if question.warm is not None:
        await _timed(question, worker, question.warm(turn), calls=5)
    return await _timed(question, worker, arguments, calls=question.calls)


async def _timed(question: Question, worker: Worker, arguments: list[Any], *, calls: int) -> Answer:
    before = worker.server_cpu()
    timing = await worker.time(
        question.operation,
        arguments,
        calls=calls,
        budget=BUDGET,
        expected=question.expected,
        rest=question.rest,
    )
    after = worker.server_cpu()
    made = len(timing.times)
    spent = None if before is None or after is None else (after - before) / made
    return Answer(timing.median, timing.cpu / made, spent)


async def in_turns(*coroutines: Awaitable[None], at_once: int) -> list[BaseException | None]:
    """Some at a time: what is not measured may use all cores. What each raised, or None."""
    gate = asyncio.Semaphore(at_once)

    async def one(coroutine: Awaitable[None]) -> None:
        async with gate:
            await coroutine

    return await asyncio.gather(*(one(coroutine) for coroutine in coroutines), return_exceptions=True)
