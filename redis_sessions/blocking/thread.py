"""Operations of a store run by the thread that calls them, without an event loop.

An operation (a coroutine) hands each step that takes time to whoever runs it: a function that blocks. The
thread calls it and goes on with what it gave. Meanwhile other threads' operations may run, and only then: as
on an event loop, what lies between two waits belongs to one operation.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence

T = TypeVar("T")


class Step:
    """To be awaited: what a function that may block gives."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __await__(self) -> Generator[Callable[[], Any], Any, Any]:
        return (yield self._function)


def drive(operation: Coroutine[Any, Any, T], lock: threading.RLock) -> T:
    """What an operation gives. ``lock`` is held but for its steps; it belongs to all operations of a store.

    Raises:
        BaseException: what the operation raises. An interrupt (Ctrl-C) ends it where it is.
    """
    result: Any = None
    error: BaseException | None = None
    try:
        while True:
            with lock:
                try:
                    step = operation.send(result) if error is None else operation.throw(error)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            error = None
            try:
                result = step()
            except BaseException as raised:  # noqa: BLE001 - it is the operation's
                error = raised
    finally:
        operation.close()


class InThread:
    """How the operations of one blocking store wait. ``closed`` ends their sleep."""

    together: bool = False

    def __init__(self) -> None:
        self.closed: threading.Event = threading.Event()
        self._own = threading.local()

    @property
    def until(self) -> float | None:
        """When (monotonic) what the running operation waits for has to end; None: there is no such time."""
        return getattr(self._own, "until", None)

    def cancellations(self) -> int:
        return 0

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        before, until = self.until, time.monotonic() + seconds
        self._own.until = until if before is None else min(before, until)
        try:
            yield
        finally:
            self._own.until = before

    async def sleep(self, seconds: float) -> None:
        await Step(lambda: self.closed.wait(seconds))

    async def gather(self, operations: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        outcomes: list[T | BaseException] = []
        try:
            for operation in operations:
                try:
                    outcomes.append(await operation)
                except Exception as error:  # noqa: BLE001 - it is the caller's to look at
                    outcomes.append(error)
        finally:
            for operation in operations[len(outcomes) :]:
                operation.close()
        return outcomes
