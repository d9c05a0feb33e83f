"""Work in a fork of this process, which may end it, hang in it, or break whatever it likes."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import time
import traceback
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 75.0
"""Seconds without a word: a test that hangs is noticed too, by its time limit."""
_STOPPED = 2.0
"""Seconds that a look at the fork takes only when somebody has stopped all of us for a while."""


def in_a_fork(work: Callable[[IO[str]], None], longest: float = _LONGEST) -> dict[str, Any]:
    """What ``work`` says last, as JSON. It is to say each test that it begins, a line each, in time.

    With ``stopped``: whether we were held up, so that what came late says nothing.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    os.set_blocking(reading, False)
    told, silence, ended, held_up = b"", 0.0, False, False
    while not ended and silence < longest:
        began = time.monotonic()
        ended = os.waitpid(child, os.WNOHANG)[0] != 0
        more = _read(reading)
        told += more
        if not ended:
            time.sleep(0.005 if silence < 0.2 else 0.05)
        took = time.monotonic() - began
        held_up = held_up or took > _STOPPED
        silence = 0.0 if more else silence + min(took, _STOPPED)
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(reading)
    lines = told.decode().splitlines() or ["before any test"]
    if lines[-1].startswith("{"):
        return {**json.loads(lines[-1]), "stopped": held_up}
    return {"noticed": lines[-1], "by": "its end" if ended else "the time limit", "stopped": held_up}


def _read(reading: int) -> bytes:
    read = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reading, 1 << 16):
            read += more
    return read


def _child(work: Callable[[IO[str]], None], writing: int) -> None:
    os.setsid()
    with contextlib.suppress(BaseException), os.fdopen(writing, "w", buffering=1) as said:
        try:
            work(said)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the mutant's
            said.write(json.dumps({"noticed": f"{type(error).__name__}: {error}"}) + "\n")
            traceback.print_exc()
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
    os._exit(0)
