"""Waiting for what happens elsewhere. The only sleeps of the test suite are in this file."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def wait_until(
    predicate: Callable[[], T] | Callable[[], Awaitable[T]],
    timeout: float = 10,  # noqa: ASYNC109
    *,
    interval: float = 0.01,
) -> T:
    """The first truthy result of ``predicate``, which may be a coroutine function.

    Raises:
        TimeoutError: it was not true within ``timeout`` seconds; the text has its last result.
    """
    end = time.monotonic() + timeout
    while True:
        result = predicate()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(_gave_up(predicate, timeout, result))
        await asyncio.sleep(interval)


def poll(predicate: Callable[[], T], timeout: float = 10, *, interval: float = 0.005) -> T:
    """``wait_until`` for code that is not asynchronous."""
    end = time.monotonic() + timeout
    while not (result := predicate()):
        if time.monotonic() > end:
            raise TimeoutError(_gave_up(predicate, timeout, result))
        time.sleep(interval)
    return result


def _gave_up(predicate: Callable[..., object], timeout: float, result: object) -> str:
    name = getattr(predicate, "__qualname__", repr(predicate))
    return f"{name} was not true within {timeout} s; it last gave {result!r}"


async def pause_for(seconds: float) -> None:
    """Let time pass: for a load that is to be no faster than this, and for faults that last."""
    await asyncio.sleep(seconds)
