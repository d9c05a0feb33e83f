"""The store for threads, as a coroutine's caller sees it: so that the same tests hold for both.

Every call runs in a thread of its own, with sockets of its own and without an event loop, as it does for
users of ``redis_sessions.blocking``. A call that is cancelled runs on in its thread, as theirs does.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from redis_sessions import SessionStore
from redis_sessions.blocking.base import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.connection import Connection


@dataclass
class _Beside:
    """What a test asks of a connection: here a client of its own, to the same server."""

    client: Redis
    of: Connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


class ThreadedStore(SessionStore):
    """An asynchronous store whose calls are driven by threads."""

    async def open(self) -> None:
        self._link = await asyncio.to_thread(Link, self.settings)
        [driven] = self._link.stores
        self._driven = driven
        self._open = driven._parts
        self._looped = SessionStore(self.settings)  # iterators need a loop there too
        await self._looped.open()
        url = self.settings.url
        assert url is not None
        self._beside = _Beside(Redis.from_url(url.get_secret_value()), driven.connection)

    async def aclose(self) -> None:
        if self._open is not None:
            self._open = None
            await self._looped.aclose()
            await asyncio.to_thread(self._link.close)
            await self._beside.client.aclose()

    @property
    def connection(self) -> Any:
        return self._beside


def _in_a_thread(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(SessionStore, name))
    async def call(self: ThreadedStore, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._link.run, lambda store: getattr(store, name)(*args, **options))

    return call


def _on_the_loop(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(SessionStore, name))
    def iterate(self: ThreadedStore, *args: Any, **options: Any) -> Any:
        return getattr(self._looped, name)(*args, **options)

    return iterate


for _name, _method in inspect.getmembers(SessionStore, inspect.isasyncgenfunction):
    setattr(ThreadedStore, _name, _on_the_loop(_name))
for _name, _method in inspect.getmembers(SessionStore, inspect.iscoroutinefunction):
    if not _name.startswith("_") and _name not in ("open", "aclose"):
        setattr(ThreadedStore, _name, _in_a_thread(_name))
