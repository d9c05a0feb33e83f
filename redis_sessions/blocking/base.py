"""What the methods of the blocking store stand on: opening, closing, calling, iterating."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar

from redis_sessions.blocking.portal import Portal
from redis_sessions.blocking.sockets import SocketConnection, open_sockets
from redis_sessions.blocking.thread import drive
from redis_sessions.calls import Counters
from redis_sessions.errors import StoreClosedError
from redis_sessions.settings import Settings, settings_of
from redis_sessions.store import SessionStore as AsyncSessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from datetime import timedelta

    from redis_sessions.connection import Connection

T = TypeVar("T")

_NOT_OPEN = "the store is not open: use it inside `with`, or call open() first"
_FORKED = "this iterator was begun before a fork, in the parent process: begin anew"
_END: Any = object()
_stores: weakref.WeakSet[Opened] = weakref.WeakSet()


class Looped:
    """An open asynchronous store, and the portal that it runs in."""

    def __init__(self, settings: Settings) -> None:
        self.store: AsyncSessionStore = AsyncSessionStore(settings)
        self.portal: Portal = Portal(tenant=self.store)
        try:
            self.portal.run(self.store.open())
        except BaseException:
            self.portal.close()
            raise

    def close(self) -> None:
        """Close the store, then the portal. In a forked child: nothing, it is the parent's."""
        if self.portal.forked:
            return
        if self.portal.is_current_thread:  # collected there: who would wait for whom?
            self.portal.spawn(self._close_from_inside())
            return
        # StoreClosedError: it is closed. RuntimeError: the interpreter ends and starts no more threads;
        # an embedded server notices by itself when its users are gone.
        with contextlib.suppress(StoreClosedError, RuntimeError):
            self.portal.run(self.store.aclose())
        self.portal.close()

    async def _close_from_inside(self) -> None:
        await self.store.aclose()
        self.portal.close()


class _ThreadStore(AsyncSessionStore):
    """A store whose operations are driven by the threads that call (``thread.py``)."""

    def __init__(self, settings: Settings, connection: SocketConnection) -> None:
        super().__init__(settings)
        self._sockets = connection

    async def _connect(self) -> Connection:
        return self._sockets


class Link:
    """What an open blocking store stands on.

    One server is talked to by the calling threads. Whatever needs an event loop (a cluster, Sentinels,
    ``memory://``, and a watch anywhere) has one, in a background thread, from its first use on.

    Attributes:
        forked: it belongs to the parent of this process, and cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.forked: bool = False
        self._settings = settings
        self._lock = threading.RLock()  # of the operations
        self._opening = threading.Lock()
        self._closed = False
        self._looped: Looped | None = None
        self._sockets = open_sockets(settings)
        self._store: AsyncSessionStore | None = None
        if self._sockets is None:
            self._looped = Looped(settings)
            return
        self._store = _ThreadStore(settings, self._sockets)
        drive(self._store.open(), self._lock)  # closes the connection when it fails

    @property
    def stores(self) -> list[AsyncSessionStore]:
        """The stores that are open."""
        looped = self._looped
        return [store for store in (self._store, looped.store if looped else None) if store is not None]

    @property
    def has_loop(self) -> bool:
        """Whether :attr:`looped` can be had without waiting."""
        return self._looped is not None

    @property
    def looped(self) -> Looped:
        """The store on an event loop.

        Raises:
            StoreClosedError
            RedisSessionsError: as for opening a store.
        """
        if self._looped is None:
            with self._opening:
                if self._closed:
                    raise StoreClosedError(_NOT_OPEN)
                if self._looped is None:
                    self._looped = Looped(self._settings)
        return self._looped

    def run(self, call: Callable[[AsyncSessionStore], Coroutine[Any, Any, T]]) -> T:
        """What ``call`` gives with the store; the caller's thread waits."""
        if self._store is None:
            looped = self.looped
            return looped.portal.run(call(looped.store))
        return drive(call(self._store), self._lock)

    def close(self) -> None:
        """Close all stores. In a forked child: nothing, they are the parent's."""
        if self.forked:
            return
        with self._opening:
            self._closed = True
            looped = self._looped
        if self._store is not None:
            drive(self._store.aclose(), self._lock)
        if looped is not None:
            looped.close()

    def leave_behind(self) -> None:
        """In a forked child: give up what belongs to the parent."""
        self.forked = True
        if self._sockets is not None:
            self._sockets.leave_behind()


class Opened:
    """The base of the blocking store."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings: Settings = settings_of(settings)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._closer: weakref.finalize[[], Opened] | None = None
        _stores.add(self)

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        prefix: str | None = None,
        ttl: timedelta | None = None,
        max_messages: int | None = None,
        deadline: timedelta | None = None,
        **options: Any,
    ) -> Self:
        """A store at ``url``; further options are the fields of :class:`~redis_sessions.Settings`.

        Arguments come before ``REDIS_SESSIONS_*``, which come before the defaults.

        Raises:
            ConfigurationError: an option is unknown or cannot work.
        """
        return cls(
            Settings.load(
                url, prefix=prefix, ttl=ttl, max_messages=max_messages, deadline=deadline, **options
            )
        )

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect, and check that the server can be used. ``with`` does it.

        Raises:
            ConfigurationError: the URL or a setting cannot work.
            UnsupportedServerError: the server is older than Redis 6.2.
            UnsupportedFormatError: a later version of this package has stored the data.
            MissingExtraError: what the URL or a setting needs is not installed.
        """
        with self._lock:
            if self._link is None:
                self._connect()

    def close(self) -> None:
        """Close all connections, and end the background thread. May be repeated.

        A call that another thread is waiting for ends with :class:`~redis_sessions.StoreClosedError`.
        """
        with self._lock:
            link, self._link = self._link, None
            if self._closer is not None:
                self._closer.detach()
        if link is not None:
            link.close()

    def __repr__(self) -> str:
        link = self._link
        where = link.stores[0].connection.safe_url if link else "closed"
        return f"<blocking SessionStore {where} prefix={self.settings.prefix!r}>"

    @property
    def counters(self) -> Counters:
        """Calls, retries, faults and corrupt entries since the store was opened."""
        return Counters.sum(store.counters for store in self._opened().stores)

    @property
    def round_trips(self) -> int:
        """Round trips to Redis since the store was opened."""
        return sum(store.round_trips for store in self._opened().stores)

    def _opened(self) -> Link:
        link = self._link
        if link is None:
            raise StoreClosedError(_NOT_OPEN)
        if not link.forked:
            return link
        with self._lock:
            if self._link is link:
                self._connect()
            if self._link is None:
                raise StoreClosedError(_NOT_OPEN)
            return self._link

    def _connect(self) -> None:
        self._link = Link(self.settings)
        # Runs when the store is collected, and at the latest when the interpreter ends.
        self._closer = weakref.finalize(self, self._link.close)

    def _run(self, call: Callable[[AsyncSessionStore], Coroutine[Any, Any, T]]) -> T:
        return self._opened().run(call)

    def _iterate(
        self, begin: Callable[[AsyncSessionStore], AsyncGenerator[T, None]], *, at_once: int = 1
    ) -> Generator[T, None, None]:
        """The items, ``at_once`` at a time; they are fetched when they are asked for."""
        looped = self._opened().looped
        portal, items = looped.portal, begin(looped.store)
        one_at_a_time = asyncio.Lock()

        async def fetch() -> list[T]:
            fetched: list[T] = []
            async with one_at_a_time:
                while len(fetched) < at_once and (item := await anext(items, _END)) is not _END:
                    fetched.append(item)
            return fetched

        async def finish() -> None:
            async with one_at_a_time:  # an interrupted fetch has to end first
                await items.aclose()

        try:
            while True:
                if portal.forked:
                    raise StoreClosedError(_FORKED)
                fetched = portal.run(fetch())
                yield from fetched
                if len(fetched) < at_once:
                    return
        finally:
            if portal.is_current_thread or portal.forked:
                portal.spawn(finish())
            else:
                with contextlib.suppress(StoreClosedError):
                    portal.run(finish())


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store._lock = threading.Lock()  # another thread of the parent may have held it
        if store._link is not None:
            store._link.leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
