"""How far a long command is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from redis_sessions.cli.output import notice

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY = 10.0


class Bar:
    """A bar with rate and time left. Use it as a context manager.

    Args:
        unit: what is counted (``rows``).
        quiet: show nothing.
    """

    def __init__(self, unit: str, *, quiet: bool = False) -> None:
        self._unit = unit
        self._quiet = quiet
        self._progress = None if quiet or not sys.stderr.isatty() else _bar(unit)
        self._task: TaskID | None = None
        self._what, self._done = "", 0
        self._total: int | None = None
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._progress is not None:
            self._progress.stop()

    def begin(self, what: str, total: int | None) -> None:
        """A part begins, of about ``total`` steps."""
        self._end()
        self._what, self._total, self._done = what, total, 0
        self._began = self._told = time.monotonic()
        if self._progress is not None:
            self._task = self._progress.add_task(what, total=total)

    def step(self, count: int) -> None:
        """Some were done."""
        self._done += count
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)
        elif not self._quiet and time.monotonic() - self._told >= _LINE_EVERY:
            self._told = time.monotonic()
            notice(self._line())

    def tell(self, text: str) -> None:
        """A line that is not part of the bar."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            notice(text)

    def _end(self) -> None:
        if self._progress is not None and self._task is not None and self._total is None:
            self._progress.update(self._task, total=self._done)

    def _line(self) -> str:
        taken = time.monotonic() - self._began
        rate = self._done / taken
        of_all = "" if self._total is None else f" of {self._total:,}"
        left = ""
        if self._total is not None and rate and self._done < self._total:
            left = f", {(self._total - self._done) / rate:,.0f} s left"
        return f"{self._what}: {self._done:,}{of_all} {self._unit}, {rate:,.0f}/s{left}"


def _bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
