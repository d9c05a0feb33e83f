"""All questions, to all subjects, in turns.

In each round raw Redis is asked first, then everybody else; a subject's ratio is its median in the round to
raw's median in the same round, so that a machine that slows down for a while slows both. What is reported is
the median of the rounds, and the range that holds the middle 80 % of them.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.workers import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.questions import Question
    from benchmarks.workers import Worker

BUDGET = 0.4
"""Seconds that one subject may take in one round; a single call may take longer."""
_SLOW = 0.5
_ROUNDS_OF_SLOW = 3
"""A subject whose calls take longer than ``_SLOW`` seconds is asked in so many rounds, or runs took hours."""


@dataclass
class Cell:
    """A subject's answer to a question.

    Attributes:
        seconds: the median call of each round.
        ratios: to raw, in the same round.
        mark: why it is not quite the same thing.
        missing: why there is no figure.
    """

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    mark: str = ""
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

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
    tell: Callable[[str], None],
) -> Row:
    """One row. ``yardsticks``: raw on each kind of server; other servers are measured by the Redis one."""
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
    for worker in (*yardsticks.values(), *asked):
        await worker.prepare(question.data)
    for turn in range(rounds):
        tell(f"{question.title}: round {turn + 1} of {rounds}")
        raw: dict[str, float] = {}
        for kind, worker in yardsticks.items():
            raw[kind] = await _once(question, worker, turn)
        for worker in asked:
            cell = row[worker.entry.name]
            if len(cell.seconds) >= _ROUNDS_OF_SLOW and cell.median > _SLOW:
                continue
            try:
                seconds = (
                    raw["redis"] if worker is yardsticks["redis"] else await _once(question, worker, turn)
                )
            except SubjectError as error:
                cell.missing = str(error).splitlines()[0]
                continue
            cell.seconds.append(seconds)
            cell.ratios.append(seconds / raw.get(worker.entry.server, raw["redis"]))
        asked = [worker for worker in asked if not row[worker.entry.name].missing]
    return row


async def _once(question: Question, worker: Worker, turn: int) -> float:
    """The median call of one subject in one round."""
    if fresh := question.fresh(turn):
        await worker.fill(fresh)
    arguments = question.arguments(turn)
    if turn == 0 and not question.fresh(0):
        await worker.time(question.operation, arguments, calls=5, budget=BUDGET, expected=question.expected)
    timing = await worker.time(
        question.operation, arguments, calls=question.calls, budget=BUDGET, expected=question.expected
    )
    return timing.median
