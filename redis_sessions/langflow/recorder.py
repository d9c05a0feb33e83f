"""Builds and transactions are written behind the run that made them, as Langflow's telemetry writer does.

A run does not wait for its recordings and does not fail with them. They are taken in turn by one thread of
the process, whichever event loop they come from. While Redis is away they wait, up to a limit; then the
oldest go, and the log says how many. What waits when the process ends is written for a few seconds more.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from redis_sessions.errors import RedisSessionsError, StoreUnavailableError
from redis_sessions.langflow import runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions.store import SessionStore

    Write = Callable[[SessionStore, bool], Awaitable[object]]

logger: logging.Logger = logging.getLogger("redis_sessions.langflow")

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
_BATCH = 100
_LONGEST_PAUSE = 5.0
_SECONDS_AT_EXIT = 5.0


class _Recording(NamedTuple):
    """Something to be written.

    ``write`` is told whether an earlier attempt may have been carried out.
    """

    what: str
    write: Write
    size: int


class Recorder:
    """Writes what it is given, in order, in a thread of its own.

    Args:
        max_waiting, max_bytes: how many recordings, and bytes of them, may wait.
    """

    def __init__(self, *, max_waiting: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._waiting: deque[_Recording] = deque()
        self._bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._busy = False
        self._away_since: float | None = None
        self._thread: threading.Thread | None = None

    def add(self, what: str, write: Write, *, size: int) -> None:
        """Take a recording; returns at once.

        Args:
            what: names it in the log.
            write: writes it; True as its second argument: an earlier attempt may have been carried out.
            size: about how many bytes it is.
        """
        with self._changed:
            self._waiting.append(_Recording(what, write, size))
            self._bytes += size
            while len(self._waiting) > 1 and (
                len(self._waiting) > self._max_waiting or self._bytes > self._max_bytes
            ):
                self._bytes -= self._waiting.popleft().size
                self._dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redis-sessions-recorder", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written; False when it is not after ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._bytes -= sum(recording.size for recording in batch)
                self._busy = True
            left, maybe_done = batch, False
            while left:
                written, error = runtime.blocking(_write(left, maybe_done))
                left = left[written:]
                if error is None:
                    break
                maybe_done = error.write_may_have_happened
                pause = min(pause * 2 or 0.25, _LONGEST_PAUSE)
                self._note_away(error)
                time.sleep(pause)
            pause = 0.0
            self._note_back()
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _note_away(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning("builds and transactions wait until Redis is back: %s", error)

    def _note_back(self) -> None:
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        if self._away_since is not None:
            seconds = time.monotonic() - self._away_since
            self._away_since = None
            logger.warning("builds and transactions are written again, after %.0f s", seconds)
        if dropped:
            logger.error("%d builds or transactions were lost: too many waited to be written", dropped)


async def _write(recordings: list[_Recording], maybe_done: bool) -> tuple[int, StoreUnavailableError | None]:
    """Write until Redis is away; how many are dealt with, and the error then."""
    for done, recording in enumerate(recordings):
        try:
            await recording.write(await runtime.store(), maybe_done)
        except StoreUnavailableError as error:
            return done, error
        except RedisSessionsError as error:
            logger.warning("not recorded: %s: %s", recording.what, error)
        except Exception as error:
            logger.exception("not recorded: %s: %s", recording.what, type(error).__name__)
        maybe_done = False
    return len(recordings), None


_recorder = Recorder()


def record(what: str, write: Write, *, size: int) -> None:
    """Give a recording to this process's recorder."""
    _recorder.add(what, write, size=size)


def flush(seconds: float = _SECONDS_AT_EXIT) -> bool:
    """Wait until everything that was recorded is written; False when it is not after ``seconds``."""
    return _recorder.flush(seconds)


def _at_exit() -> None:
    if not flush():
        logger.error("builds and transactions of this process's last runs were not written: Redis is away")


def _after_fork() -> None:
    global _recorder
    _recorder = Recorder()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
