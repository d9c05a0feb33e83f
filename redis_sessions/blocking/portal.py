"""An event loop in a background thread, for callers that have none, or must not use theirs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import selectors
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from redis_sessions.calls import cut_off
from redis_sessions.errors import StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_CLOSED = "the store is closed"
_portals: weakref.WeakSet[Portal] = weakref.WeakSet()


class Portal:
    """Runs coroutines in its own event loop, for any number of threads.

    Attributes:
        forked: it belongs to the parent of this process, and cannot be used.
        tenant: what lives in its loop. In a forked child it lives on with the portal, unused.
    """

    def __init__(self, tenant: object = None) -> None:
        self.forked: bool = False
        self.tenant = tenant
        self._closing = False
        self._lock = threading.Lock()
        self._stop = asyncio.Event()
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        # The loop's own would need a new thread to shut down, which an interpreter that ends refuses.
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="redis-sessions-blocking")
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(target=self._serve, name="redis-sessions-blocking", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise
        _portals.add(self)

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs in this portal's thread, where waiting for it would last for ever."""
        return self._thread is threading.current_thread()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result. An interrupt of the waiting thread (Ctrl-C) cancels the coroutine.

        Raises:
            StoreClosedError: the portal was closed, before or meanwhile.
            RuntimeError: called from the portal's own thread.
        """
        future: concurrent.futures.Future[T] | None = None
        try:
            future = self.submit(coroutine)
            return future.result()
        except concurrent.futures.CancelledError:
            raise cut_off() from None
        except BaseException:
            if future is None:
                coroutine.close()
            else:
                future.cancel()
            raise

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Start the coroutine and do not wait for it; on a closed portal, do nothing."""
        try:
            with self._lock:
                if self._closing or self.forked:
                    raise StoreClosedError(_CLOSED)
                asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except StoreClosedError:
            coroutine.close()

    def close(self) -> None:
        """Cancel what runs, end the thread and wait until it has ended. May be repeated."""
        if self.forked:
            return
        with self._lock:
            if not self._closing:
                self._closing = True
                self._loop.call_soon_threadsafe(self._stop.set)
        if not self.is_current_thread:
            self._thread.join()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start the coroutine; the caller waits for its future, in whichever way.

        Raises:
            StoreClosedError: the portal was closed.
            RuntimeError: called from the portal's own thread.
        """
        if self.is_current_thread:
            raise RuntimeError("a blocking store is not called from its own event loop's thread")
        # Under the lock: what is submitted before the loop is told to stop is still begun, and cancelled.
        with self._lock:
            if self._closing or self.forked:
                raise StoreClosedError(_CLOSED)
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._until_stopped())
        finally:
            self._executor.shutdown()
            self._loop.close()

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _leave_behind(self) -> None:
        """In a forked child: give up the parent's connections without touching them.

        Sockets and epoll are shared with the parent, so nothing may be closed in the ordinary way. Their
        descriptors are put on the null device: that gives them back to the system, and keeps their numbers
        from being used again under the objects that still name them. None of those is ever collected: the
        frames of the thread that the fork left behind refer to this portal, and nothing ends them.
        """
        self.forked = True
        known = self._selector.get_map()
        if known is None:  # it was closed; since Python 3.12 some are still there then
            return
        shared = [key.fd for key in known.values()]
        if hasattr(self._selector, "fileno"):
            shared.append(self._selector.fileno())
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            for number in shared:
                os.dup2(nowhere, number, inheritable=False)
        finally:
            os.close(nowhere)


def _after_fork_in_child() -> None:
    for portal in list(_portals):
        portal._leave_behind()
    _portals.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
