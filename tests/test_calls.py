"""When a further attempt at a write may begin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from redis_sessions.calls import Attempt

pytestmark = pytest.mark.backends("valkey")


async def test_an_attempt_that_was_refused_is_not_waited_for(store: SessionStore) -> None:
    calls = store._parts.calls
    gone = iter([(0.05, ConnectionError("Connection reset")), (60.0, ConnectionRefusedError()), (60.0, None)])

    async def write(attempt: Attempt) -> int:
        window, error = next(gone)
        attempt.over_at = time.monotonic() + window
        if error is not None:
            raise error
        return attempt.number

    assert await calls.write(write, calls.begin()) == 3


async def test_an_attempt_that_may_be_on_its_way_is_waited_for(store: SessionStore) -> None:
    calls = store._parts.calls
    gone = iter([(0.6, ConnectionError("Connection reset")), (0.6, ConnectionRefusedError()), (0.0, None)])

    async def write(attempt: Attempt) -> float:
        window, error = next(gone)
        if error is not None:
            attempt.over_at = time.monotonic() + window
            raise error
        return time.monotonic()

    started = time.monotonic()
    assert await calls.write(write, calls.begin()) - started > 0.6
