"""One store, and so one pool of connections, for each Redis that this process uses.

Histories come and go (LangChain makes one for each call, Langflow for each run); connections stay.
Synchronous callers of any thread talk to the server themselves. Coroutines of any event loop, also of loops
that live for one call (``asyncio.run``), share a store in a loop of its own, in a background thread.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

from redis_sessions.blocking import SessionStore
from redis_sessions.calls import cut_off
from redis_sessions.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis_sessions.store import SessionStore as AsyncSessionStore

T = TypeVar("T")

MAX_STORES = 32
"""Stores that stay open while nobody uses them; beyond it, those that were unused for longest are closed."""

_stores: OrderedDict[Settings, SharedStore] = OrderedDict()
_lock = threading.Lock()


class SharedStore(SessionStore):
    """A blocking store whose coroutines can also be awaited. It opens at the first call."""

    def run(self, call: Callable[[AsyncSessionStore], Coroutine[Any, Any, T]]) -> T:
        """What ``call`` gives with the store; the caller's thread waits."""
        self.open()
        return self._run(call)

    async def arun(self, call: Callable[[AsyncSessionStore], Coroutine[Any, Any, T]]) -> T:
        """What ``call`` gives with the store; no thread waits. A cancellation reaches the call."""
        if self._link is None:
            await asyncio.to_thread(self.open)
        link = self._opened()
        looped = link.looped if link.has_loop else await asyncio.to_thread(lambda: link.looped)
        coroutine = call(looped.store)
        try:
            future = looped.portal.submit(coroutine)
        except BaseException:
            coroutine.close()
            raise
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # nobody wanted that: the store was closed
                raise cut_off() from None
            raise


def load_settings(url: str | None = None, **options: Any) -> Settings:
    """As :meth:`Settings.load`, which takes milliseconds: once for the same arguments and environment.

    Raises:
        ConfigurationError: an option is unknown or cannot work.
    """
    prefix = str(Settings.model_config["env_prefix"])
    environment = [item for item in os.environ.items() if item[0].upper().startswith(prefix)]
    try:
        return _load_settings(url, tuple(sorted(options.items())), tuple(environment))
    except TypeError:  # an unhashable value, which cannot work either: say so
        return Settings.load(url, **options)


@functools.lru_cache(MAX_STORES)
def _load_settings(
    url: str | None, options: tuple[tuple[str, Any], ...], environment: tuple[tuple[str, str], ...]
) -> Settings:
    return Settings.load(url, **dict(options))


def shared_store(settings: Settings) -> SharedStore:
    """The store of this process for these settings. Nothing is connected yet.

    The caller keeps it as long as it may call it, and does not close it: it closes when it is neither kept
    nor among the ``MAX_STORES`` used last.
    """
    with _lock:
        store = _stores.get(settings)
        if store is None:
            store = _stores[settings] = SharedStore(settings)
        _stores.move_to_end(settings)
        unused = _stores.popitem(last=False) if len(_stores) > MAX_STORES else None
    del unused  # outside of the lock: closing it may take as long as a call
    return store


def close_shared_stores() -> None:
    """Close all of them, for a test or an orderly end. Histories connect anew at their next call."""
    with _lock:
        stores = list(_stores.values())
        _stores.clear()
    for store in stores:
        store.close()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
