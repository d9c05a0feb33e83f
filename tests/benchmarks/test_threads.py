"""Threads that share a store, as ``python -m benchmarks.threads`` measures them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from benchmarks import threads

if TYPE_CHECKING:
    import pytest


def test_calls_of_all_threads_are_counted() -> None:
    callers: set[int] = set()

    def call(number: int) -> None:
        callers.add(threading.get_ident())
        threading.Event().wait(0.01)

    rate, spent = threads.timed(call, 4, 0.2)
    assert len(callers) == 4
    assert 4 <= rate <= 4 / 0.01
    assert 0 < spent < 0.2


def test_both_ways_and_raw_are_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("sys.argv", ["threads", "--seconds", "0.05", "--rounds", "1"])
    started = time.monotonic()
    threads.main()
    shown = capsys.readouterr().out
    assert time.monotonic() - started < 60
    for way in ("each thread itself", "a loop in the background", "raw redis-py"):
        assert shown.count(way) == len(threads._COUNTS)
