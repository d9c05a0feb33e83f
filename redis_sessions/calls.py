"""One call to Redis: a deadline, retries with jittered backoff, and errors translated.

The first attempt runs bare. Only after a fault is there a retry loop (tenacity), which begins each further
attempt by telling it how long ago the call started: a script then looks in the feed whether an earlier
attempt was carried out (``lua/shared/feed.lua``), so that every write may be retried.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

import tenacity

from redis_sessions.errors import ContentionError, StoreClosedError, StoreUnavailableError
from redis_sessions.faults import REDIS_FAULTS, classify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from redis_sessions.connection import Connection

T = TypeVar("T")

_BACKOFF = tenacity.wait_random_exponential(multiplier=0.02, max=0.5)
_LAST_START = 0.05
"""Seconds before the deadline after which no further attempt begins: it would only be cut off, and leave
open what the attempts before it had settled."""


class Counters:
    """What happened since the store was opened; for logs and metrics.

    ``unreachable`` tells that the last call that ended did so at its deadline, without an answer.
    """

    __slots__ = ("calls", "corrupt_entries", "faults", "retries", "unreachable")

    def __init__(self) -> None:
        self.calls: int = 0
        self.retries: int = 0
        self.faults: dict[str, int] = {}
        self.corrupt_entries: int = 0
        self.unreachable: bool = False

    @classmethod
    def sum(cls, several: Iterable[Counters]) -> Counters:
        """What all of them say together, now. Unreachable: the first of them is."""
        total = cls()
        for number, each in enumerate(several):
            total.calls += each.calls
            total.retries += each.retries
            total.corrupt_entries += each.corrupt_entries
            for name, times in tuple(each.faults.items()):
                total.faults[name] = total.faults.get(name, 0) + times
            total.unreachable = total.unreachable or (number == 0 and each.unreachable)
        return total


class Attempt:
    """One logical call, over all its attempts.

    Attributes:
        number: 1 for the first attempt.
        over_at: when (monotonic) an attempt that was sent can be carried out no more (``arrivals.py``).
    """

    __slots__ = ("_ask", "_deadline", "_started", "_token", "number", "over_at")

    def __init__(self, deadline: float) -> None:
        self._started = time.monotonic()
        self._deadline = self._started + deadline
        self._ask = False
        self._token = b""
        self.number: int = 1
        self.over_at: float = 0.0

    @property
    def token(self) -> bytes:
        """Names this call in the feed; the same for all attempts."""
        if not self._token:
            self._token = secrets.token_bytes(9)
        return self._token

    @property
    def elapsed_ms(self) -> bytes:
        """For a script: since when an earlier attempt may have happened; empty when none can have."""
        if not self._ask:
            return b""
        return b"%d" % (int((time.monotonic() - self._started) * 1000) + 1)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; may be negative."""
        return self._deadline - time.monotonic()

    @property
    def wait(self) -> float:
        """Seconds until a further attempt may begin."""
        return max(self.over_at - time.monotonic(), 0.0) if self._ask else 0.0

    @property
    def unknown(self) -> bool:
        """An attempt was sent and its outcome was not learned."""
        return self._ask

    def may_have_happened(self) -> None:
        self._ask = True

    def settle(self) -> None:
        """The outcome of all attempts is known: none was carried out. The next write is a new one."""
        self._ask = False
        self._token = b""

    def check_contention(self, what: str, *, spare: float = 0.0) -> None:
        """Raises ContentionError once no more than ``spare`` seconds are left until the deadline."""
        if self.remaining <= spare:
            msg = f"{what} kept changing until the deadline; nothing was changed by this call: try again"
            raise ContentionError(msg)


class Calls:
    """Runs operations against a connection within a deadline (seconds)."""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self.connection = connection
        self.counters: Counters = Counters()
        self._waiting = connection.waiting
        self._deadline = deadline
        self._last_start = min(_LAST_START, deadline / 10)

    def begin(self) -> Attempt:
        return Attempt(self._deadline)

    async def read(self, operation: Callable[[], Awaitable[T]], attempt: Attempt | None = None) -> T:
        """Run an operation that changes nothing.

        Raises:
            StoreUnavailableError: Redis did not answer within the deadline, or refused.
        """
        attempt = attempt or Attempt(self._deadline)
        return await self._run(lambda _: operation(), attempt, writes=False)

    async def write(self, operation: Callable[[Attempt], Awaitable[T]], attempt: Attempt) -> T:
        """Run an operation that hands its script what an attempt needs to know (``arrivals.py``).

        Raises:
            StoreUnavailableError: as for :meth:`read`; tells whether the write may have happened.
        """
        return await self._run(operation, attempt, writes=True)

    async def _run(
        self, operation: Callable[[Attempt], Awaitable[T]], attempt: Attempt, *, writes: bool
    ) -> T:
        self.counters.calls += 1
        waiting = self._waiting
        cancelled_before = waiting.cancellations()
        over_at = attempt.over_at
        try:
            if attempt.remaining >= self.connection.attempt_timeout:
                result = await operation(attempt)  # each attempt has that timeout of its own: transport.py
            else:
                async with waiting.timeout(max(attempt.remaining, 0.001)):
                    result = await operation(attempt)
            self.counters.unreachable = False
            return result
        except REDIS_FAULTS as cause:
            self._raise_if_cancelled(cancelled_before)
            await self._after_fault(cause, attempt, over_at, writes=writes)
        retrying = tenacity.AsyncRetrying(
            sleep=waiting.sleep,
            wait=lambda state: self._pause(state, attempt),
            retry=tenacity.retry_never,  # only TryAgain is tried again
            reraise=True,
        )
        async for turn in retrying:
            with turn:
                attempt.number += 1
                self.counters.retries += 1
                if turn.retry_state.attempt_number == 1:
                    await waiting.sleep(self._pause(turn.retry_state, attempt))
                over_at = attempt.over_at
                try:
                    async with waiting.timeout(max(attempt.remaining, 0.001)):
                        result = await operation(attempt)
                except REDIS_FAULTS as cause:
                    self._raise_if_cancelled(cancelled_before)
                    await self._after_fault(cause, attempt, over_at, writes=writes)
                    raise tenacity.TryAgain from cause
                self.counters.unreachable = False
                return result
        raise AssertionError  # pragma: no cover - AsyncRetrying ends by returning or raising

    async def _after_fault(
        self, cause: BaseException, attempt: Attempt, over_at: float, *, writes: bool
    ) -> None:
        """Note the fault; raise when there is no further attempt.

        ``over_at`` is that of earlier attempts: one that was refused, or never sent, is not waited for.
        """
        fault = classify(cause)
        name = type(cause).__name__
        self.counters.faults[name] = self.counters.faults.get(name, 0) + 1
        if writes and fault.maybe_done:
            attempt.may_have_happened()
        elif not fault.maybe_done:
            attempt.over_at = over_at
        if not fault.retry or attempt.remaining - attempt.wait <= self._last_start:
            self.counters.unreachable = fault.retry
            raise fault.error(writes and attempt.unknown) from cause
        if fault.unreachable or attempt.number > 1:
            try:
                async with self._waiting.timeout(max(attempt.remaining, 0.001)):
                    await self.connection.reset()
            except REDIS_FAULTS as second:
                if attempt.remaining <= 0:
                    raise fault.error(writes and attempt.unknown) from second

    def _pause(self, state: tenacity.RetryCallState, attempt: Attempt) -> float:
        return max(attempt.wait, min(_BACKOFF(state), attempt.remaining - self._last_start))

    def _raise_if_cancelled(self, before: int) -> None:
        """Give way to a cancellation that became a fault: before Python 3.12 ``wait_for`` may swallow one."""
        if self._waiting.cancellations() > before:
            raise asyncio.CancelledError


def cut_off() -> StoreClosedError:
    """For a call that was under way when its store was closed."""
    return StoreClosedError("the store was closed during the call: if it was a write, it may have happened")


def unknown_outcome() -> StoreUnavailableError:
    """For a retried write whose first attempt can no longer be looked up."""
    return StoreUnavailableError(
        "the connection failed during the write, and the flow's feed no longer reaches back to it: "
        "the write may have happened; read the session before trying again",
        write_may_have_happened=True,
    )
