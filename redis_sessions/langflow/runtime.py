"""The store of the running event loop, and the way in for synchronous callers.

redis-py's connections belong to the event loop that opened them. So each loop has a store of its own, opened
when it is first asked for and closed when the loop shuts down. Synchronous callers, from whichever thread and
even from inside a running loop, are served by one loop in a thread of its own, which starts with the first.
A forked process starts anew.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from redis_sessions.errors import ConfigurationError, RedisSessionsError, StoreUnavailableError
from redis_sessions.langflow.settings import PluginSettings
from redis_sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from redis_sessions.settings import Settings

T = TypeVar("T")

LOOK = 0.5
"""Seconds to wait for a Redis that the last call has waited for in vain."""


class _State:
    """What a process has open."""

    def __init__(self) -> None:
        self.stores: dict[asyncio.AbstractEventLoop, _Held] = {}
        self.lock = threading.Lock()
        self.thread_loop: asyncio.AbstractEventLoop | None = None
        self.active: bool | None = None


_state = _State()


class _Held:
    """The store of one loop."""

    def __init__(self, settings: Settings) -> None:
        self.store = SessionStore(settings)
        self.opening = asyncio.Lock()
        self.is_open = False
        self._until_shutdown: AsyncGenerator[None, None] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> SessionStore:
        if not self.is_open:
            async with self.opening:
                if not self.is_open:
                    await self.store.open()
                    # A suspended async generator is what a loop closes when it shuts down.
                    self._until_shutdown = self._hold()
                    await anext(self._until_shutdown)
                    self.is_open = True
        return self.store

    async def _hold(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.is_open = False
            if self._watch is not None:
                self._watch.cancel()
            await self.store.aclose()

    async def look(self) -> None:
        """One short look whether Redis is back, after a call that waited for it until its deadline.

        A run makes many calls: without this each would wait that long, and a run would fail after a minute.
        After a look in vain a task watches, and calls fail at once until it has seen Redis answer.

        Raises:
            StoreUnavailableError: it is not back.
        """
        if self._watch is None or self._watch.done():
            if await self._is_back():
                return
            if self._watch is None or self._watch.done():  # others may have looked at the same time
                self._watch = asyncio.create_task(self._until_back(), context=contextvars.Context())
        msg = "Redis cannot be reached, as when the last call waited for it; nothing was changed"
        raise StoreUnavailableError(msg)

    async def _is_back(self) -> bool:
        try:
            async with asyncio.timeout(LOOK):
                await self.store.ping()
        except (TimeoutError, StoreUnavailableError):
            return False
        return True

    async def _until_back(self) -> None:
        with contextlib.suppress(RedisSessionsError):  # an answer too: the next call is told
            while not await self._is_back():
                pass

    async def aclose(self) -> None:
        if self._until_shutdown is not None:
            await self._until_shutdown.aclose()


@functools.cache
def settings() -> PluginSettings:
    """The plug-in's settings, read once.

    Raises:
        ConfigurationError: one of them cannot work.
    """
    return PluginSettings.load()


def active() -> bool:
    """Whether Langflow's sessions are in Redis: the plug-in is on, and was not given up at start-up."""
    if _state.active is None:
        return settings().where is not None
    return _state.active


def give_up() -> None:
    """Langflow runs stock in this process: the start-up check failed and need not be passed."""
    _state.active = False


async def store() -> SessionStore:
    """The open store of the running event loop.

    Raises:
        ConfigurationError: the plug-in is off, or a setting cannot work.
        StoreUnavailableError: Redis does not answer; the next call tries again.
    """
    loop = asyncio.get_running_loop()
    held = _state.stores.get(loop)
    if held is None:
        if not active():
            msg = "the Langflow plug-in is off: REDIS_SESSIONS_URL says where Redis is"
            raise ConfigurationError(msg)
        for other in [other for other in _state.stores if other.is_closed()]:
            _state.stores.pop(other, None)
        held = _state.stores.setdefault(loop, _Held(settings().store_settings()))
    opened = held.store if held.is_open else await held.open()
    if opened.counters.unreachable:
        await held.look()
    return opened


def blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, from synchronous code, in the caller's context.

    It runs in the thread of synchronous callers, so that a caller inside a running loop does not wait for
    itself. Not to be called from that thread: it would.
    """
    context = contextvars.copy_context()
    result: concurrent.futures.Future[T] = concurrent.futures.Future()
    loop = _thread_loop()

    def start() -> None:
        task = loop.create_task(coroutine, context=context)
        tasks.add(task)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[T]) -> None:
        tasks.discard(task)
        if task.cancelled():
            result.cancel()
            result.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            result.set_exception(error)
        else:
            result.set_result(task.result())

    tasks: set[asyncio.Task[T]] = set()
    loop.call_soon_threadsafe(start)
    return result.result()


def _thread_loop() -> asyncio.AbstractEventLoop:
    with _state.lock:
        if _state.thread_loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run, args=(loop,), name="redis-sessions", daemon=True)
            thread.start()
            _state.thread_loop = loop
        return _state.thread_loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def aclose() -> None:
    """Close the store of the running loop and that of synchronous callers; they open again when used."""
    held = _state.stores.pop(asyncio.get_running_loop(), None)
    if held is not None:
        await held.aclose()
    with _state.lock:
        loop, _state.thread_loop = _state.thread_loop, None
    if loop is not None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(loop.stop)


def reset() -> None:
    """Forget what is open, what was decided, and what was read from the environment."""
    global _state
    _state = _State()
    settings.cache_clear()


def _after_fork() -> None:
    """The parent's connections are the parent's; what it decided holds."""
    global _state
    decided, _state = _state.active, _State()
    _state.active = decided


os.register_at_fork(after_in_child=_after_fork)
