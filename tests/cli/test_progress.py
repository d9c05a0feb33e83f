"""What long commands tell on their way: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios

import pytest

from redis_sessions.cli import progress
from redis_sessions.cli.progress import Bar


class Terminal:
    """A terminal that stderr is, inside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # line ends stay as they are
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self._stderr = os.fdopen(theirs, "w")

    def __enter__(self) -> Terminal:
        # Not in a fixture: pytest gives a test's call a stderr of its own.
        self._monkeypatch.setattr(sys, "stderr", self._stderr)
        return self

    def __exit__(self, *_: object) -> None:
        self._monkeypatch.undo()
        self._stderr.close()
        os.close(self._ours)

    def shown(self) -> str:
        self._stderr.flush()
        parts = []
        with contextlib.suppress(BlockingIOError):
            while True:  # a terminal gives some kB at a time
                parts.append(os.read(self._ours, 100_000))
        return b"".join(parts).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal(monkeypatch)


def work(bar: Bar, *, total: int | None) -> None:
    with bar:
        bar.begin("messages", total)
        bar.step(30)
        bar.tell("a [row] was :left: out")
        bar.step(12)


@pytest.mark.parametrize(("total", "of"), [(42, "42/42"), (100, "42/100"), (None, "42/42")])
def test_a_bar_shows_how_much_is_done_and_how_fast(terminal: Terminal, total: int | None, of: str) -> None:
    with terminal:
        work(Bar("rows"), total=total)
        shown = terminal.shown()

    assert "messages" in shown
    assert of in shown
    assert total is None or "rows/s" in shown
    assert "a [row] was :left: out" in shown  # as it is: it may quote a user's data


def test_parts_have_a_bar_each(terminal: Terminal) -> None:
    with terminal:
        with Bar("rows") as bar:
            for what, count in (("messages", 3), ("builds", 5)):
                bar.begin(what, None)
                bar.step(count)
        shown = terminal.shown()

    assert "3/3" in shown
    assert "5/5" in shown


def test_nothing_is_shown_to_who_wants_quiet_but_what_is_told(terminal: Terminal) -> None:
    with terminal:
        work(Bar("rows", quiet=True), total=42)
        shown = terminal.shown()

    assert shown == "a [row] was :left: out\n"


@pytest.mark.parametrize(
    ("total", "line"),
    [
        (100, "messages: 30 of 100 rows, "),
        (None, "messages: 30 rows, "),
    ],
)
def test_elsewhere_a_line_now_and_then_says_how_far_it_is(
    total: int | None, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    work(Bar("rows"), total=total)
    first, told, second = capsys.readouterr().err.splitlines()

    assert first.startswith(line)
    assert ("s left" in first) is (total is not None)
    assert told == "a [row] was :left: out"
    assert second.startswith(line.replace("30", "42"))


def test_no_line_comes_before_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    work(Bar("rows"), total=100)

    assert capsys.readouterr().err == "a [row] was :left: out\n"
