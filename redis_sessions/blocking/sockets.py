"""Connections on which the calling threads talk themselves, to one server.

As in ``lines.py``, redis-py makes a connection (TLS, authentication) and closes it; in between its socket is
used directly. A call has a connection to itself for each exchange: threads wait at the same time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection as TCPConnection
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from redis_sessions.blocking.thread import InThread, Step
from redis_sessions.calls import cut_off
from redis_sessions.connection import (
    HEALTH_CHECK_INTERVAL,
    RESET_INTERVAL,
    Connection,
    attempt_timeout,
    common_arguments,
    embedded_module,
    location_of,
    refused,
    standalone_arguments,
)
from redis_sessions.faults import REDIS_FAULTS
from redis_sessions.lines import LOST, MORE, NO_CONNECTION, TIMEOUT, reader_for
from redis_sessions.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions.embedded import EmbeddedServer
    from redis_sessions.settings import Settings
    from redis_sessions.transport import Command
    from redis_sessions.urls import Location

_CHUNK = 65_536
_LITTLE = 0.005


class Socket:
    """A connection of redis-py's, connected, whose bytes are written and read here.

    ``timeout`` (seconds) is for an exchange; ``generation`` is that of the pool when it was made.
    """

    def __init__(self, connection: Any, timeout: float, generation: int) -> None:
        self.connection = connection
        self.generation = generation
        self._socket: Any = connection._sock
        self._timeout = timeout
        self._reader = reader_for(connection)
        self._used_at = time.monotonic()
        self._has_news = _has_news(self._socket)
        self._socket.settimeout(timeout)

    @property
    def usable(self) -> bool:
        """Whether a request can be sent: the other end has neither hung up nor said anything unasked."""
        if time.monotonic() - self._used_at > HEALTH_CHECK_INTERVAL:
            return False  # something on the way may have dropped it silently
        return not self._has_news()

    def exchange(self, request: bytes, count: int, until: float) -> list[Any]:
        """``count`` replies to a request, error replies in their places; by then (monotonic), or never.

        Raises:
            redis.exceptions.RedisError, OSError: the connection failed, and is to be cut.
        """
        now = time.monotonic()
        replies: list[Any] = []
        try:
            self._wait_at_most(until - now)
            self._socket.sendall(request)
            gets = self._reader.gets
            while True:
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise RedisConnectionError(LOST)
                self._reader.feed(data)
                while (reply := gets(False)) is not MORE:
                    if isinstance(reply, RedisConnectionError):
                        raise reply  # as of a server that is loading
                    replies.append(reply)
                if len(replies) >= count:
                    break
                self._wait_at_most(until - time.monotonic())
        except TimeoutError:
            raise RedisTimeoutError(TIMEOUT) from None
        if len(replies) > count:
            raise InvalidResponse("unexpected reply")
        self._used_at = now
        return replies

    def hang_up(self) -> None:
        """End what another thread waits for on it; that one closes it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. In a forked child: without a word to the other end, it is the parent's."""
        self.connection.disconnect()

    def _wait_at_most(self, seconds: float) -> None:
        if seconds <= 0:
            raise TimeoutError
        # Each change is a call to the system: what little is missing of the usual time is not worth one.
        if seconds >= self._timeout - _LITTLE:
            seconds = self._timeout
        if self._socket.gettimeout() != seconds:
            self._socket.settimeout(seconds)


class Sockets:
    """The connections of a store, of which each exchange takes one; at most ``most``.

    ``connect`` makes a connection of redis-py's that is not connected yet; ``timeout`` (seconds) is for
    connecting, for waiting for a connection, and for an exchange.
    """

    def __init__(self, connect: Callable[[], Any], timeout: float, most: int) -> None:
        self._make = connect
        self._timeout = timeout
        self._most = most
        self._idle: list[Socket] = []
        self._all: set[Socket] = set()
        self._opening = 0
        self._queued = 0
        self._changed = threading.Condition()
        self._generation = 0
        self._closed = False

    def exchange(self, request: bytes, count: int, until: float | None) -> list[Any]:
        """As :meth:`Socket.exchange`, on a connection that is free, or a new one.

        Raises:
            StoreClosedError: also when it is closed meanwhile.
        """
        latest = time.monotonic() + self._timeout
        if until is not None:
            latest = min(latest, until)
        line: Socket | None = None
        try:
            line = self._take(latest)
            replies = line.exchange(request, count, latest)
        except BaseException as error:
            if line is not None:
                self._drop(line)
            if self._closed and isinstance(error, REDIS_FAULTS):
                raise cut_off() from None
            raise
        if line.generation != self._generation:
            self._drop(line)
        else:
            self._idle.append(line)
            if self._queued:
                self._tell()
        return replies

    def renew(self) -> None:
        """Use no connection any more that there is now: idle ones are closed, the others after their use."""
        self._generation += 1
        while (line := self._take_idle()) is not None:
            self._drop(line)

    def close(self) -> None:
        """Close all; exchanges that are under way fail."""
        self._closed = True
        self.renew()
        for line in tuple(self._all):
            line.hang_up()
        with self._changed:
            self._changed.notify_all()

    def leave_behind(self) -> None:
        """In a forked child: give up the parent's connections."""
        self._closed = True
        for line in self._all:
            line.close()

    def _take(self, latest: float) -> Socket:
        while (line := self._take_idle()) is not None:
            if line.usable:
                return line
            self._drop(line)
        with self._changed:
            self._queued += 1
            try:
                while len(self._all) + self._opening >= self._most:
                    if (line := self._take_idle()) is not None:
                        return line
                    if self._closed or not self._changed.wait(latest - time.monotonic()):
                        break
                if self._closed:
                    raise cut_off()
                if len(self._all) + self._opening >= self._most:
                    raise MaxConnectionsError("No connection available.")
                self._opening += 1
            finally:
                self._queued -= 1
        try:
            line = self._connected(latest)
            self._all.add(line)
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify()
        return line

    def _take_idle(self) -> Socket | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connected(self, latest: float) -> Socket:
        generation = self._generation
        connection = self._make()
        timeout = min(self._timeout, latest - time.monotonic())
        if timeout <= 0:
            raise RedisTimeoutError(NO_CONNECTION)
        connection.socket_timeout = connection.socket_connect_timeout = timeout
        try:
            connection.connect()
            return Socket(connection, self._timeout, generation)
        except BaseException:
            connection.disconnect()
            raise

    def _drop(self, line: Socket) -> None:
        self._all.discard(line)
        line.close()
        if self._queued:
            self._tell()

    def _tell(self) -> None:
        """One that waits may look again: all of them would only get in each other's way."""
        with self._changed:
            self._changed.notify()


class SocketTransport(Transport):
    """Sends commands from the thread that calls."""

    def __init__(self, connection: SocketConnection) -> None:
        self.kind = connection.kind
        self.round_trips: int = 0
        self._cluster = None
        self._sockets = connection.sockets
        self._waiting = connection.waiting

    def replies(self, key: bytes, *commands: Command) -> Awaitable[list[Any]]:
        self.round_trips += 1
        request = pack_command(commands[0]) if len(commands) == 1 else b"".join(map(pack_command, commands))
        return Step(partial(self._sockets.exchange, request, len(commands), self._waiting.until))

    async def aclose(self) -> None:
        """Its connections are closed with the connection."""


class SocketConnection(Connection):
    """To one server, also to one of our own (``server``), for threads."""

    def __init__(self, location: Location, settings: Settings, server: EmbeddedServer | None) -> None:
        timeout = attempt_timeout(settings.deadline)
        super().__init__(cast("Any", None), location, timeout)
        self.waiting: InThread = InThread()
        self._server = server
        where = server.connection_arguments if server else standalone_arguments(location, settings)
        arguments: dict[str, Any] = common_arguments(settings) | where
        del arguments["max_connections"]
        arguments["retry"] = Retry(NoBackoff(), 0)
        kind: type = UnixDomainSocketConnection
        if "path" not in arguments:
            kind = SSLConnection if location.tls else TCPConnection
        self.sockets: Sockets = Sockets(partial(kind, **arguments), timeout, settings.max_connections)

    def transport(self) -> Transport:
        return SocketTransport(self)

    async def reset(self) -> None:
        if self._closed or time.monotonic() < self._reset_at + RESET_INTERVAL:
            return
        self._reset_at = time.monotonic()  # other threads share this one
        await self._reset_and_note_when()

    def leave_behind(self) -> None:
        """In a forked child: give up what belongs to the parent."""
        self._closed = True
        self.sockets.leave_behind()

    async def _reset(self) -> None:
        self.sockets.renew()
        if self._server is not None:
            await Step(partial(self._revive, self._server))

    def _revive(self, server: EmbeddedServer) -> None:
        """Start a server of our own that has ended; wait for it as long as the call may wait."""
        until = self.waiting.until
        helper = ThreadPoolExecutor(1, thread_name_prefix="redis-sessions-embedded")
        started = helper.submit(server.ensure_running)
        helper.shutdown(wait=False)
        started.result(None if until is None else max(until - time.monotonic(), 0))

    async def _close(self) -> None:
        self.waiting.closed.set()
        self.sockets.close()
        if self._server is not None:
            await Step(self._server.release)


def open_sockets(settings: Settings) -> SocketConnection | None:
    """A connection for threads; None to what only an event loop reaches: a cluster, Sentinels, memory.

    Nothing is sent yet, except that ``embedded://`` starts its server and waits until it answers.

    Raises:
        ConfigurationError, MissingExtraError, StoreUnavailableError: as ``connection.open_connection``.
    """
    location = location_of(settings)
    if location.kind == "embedded":
        return _open_embedded(location, settings)
    if location.kind != "standalone":
        return None
    try:
        return SocketConnection(location, settings, None)
    except (RedisError, OSError) as error:
        raise refused(location, error) from None


def _open_embedded(location: Location, settings: Settings) -> SocketConnection:
    embedded = embedded_module()
    folder = embedded.folder_of(location.path)
    server = embedded.acquire(folder)
    try:
        return SocketConnection(dataclasses.replace(location, path=str(folder)), settings, server)
    except BaseException:
        server.release()
        raise


def _has_news(a_socket: Any) -> Callable[[], object]:
    """Tells, without waiting, whether there is something to read: bytes, or the end."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(a_socket, select.POLLIN)
        return partial(poll.poll, 0)
    return lambda: select.select([a_socket], [], [], 0)[0]
