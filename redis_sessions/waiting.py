"""How a call waits: its store's event loop does it for all, or each calling thread for itself.

What the operations of a store are written in (``await``) is the same for both. On an event loop an operation
gives way to others while it waits. Without one (``blocking/thread.py``) it tells its thread what to wait for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


class Waiting(Protocol):
    """What an operation needs of whatever runs it."""

    @property
    def together(self) -> bool:
        """Whether operations that run at the same time can do something together."""

    def cancellations(self) -> int:
        """How often the running operation has been asked to end."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Ends what is waited for inside after that time, with an error out of ``REDIS_FAULTS``."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""

    async def gather(self, operations: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """What each of them gave, or raised, in their order; at the same time where that is possible."""


class OnLoop:
    """On the event loop that is running."""

    together: bool = True

    def cancellations(self) -> int:
        task = asyncio.current_task()
        return task.cancelling() if task is not None else 0

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def gather(self, operations: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        return await asyncio.gather(*operations, return_exceptions=True)
