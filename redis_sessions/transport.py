"""Commands to Redis, several in one round trip, replies as they come.

Below redis-py's client and above its connections: pooling, TLS, authentication, Sentinel discovery and
cluster topology are redis-py's. Its conversions, per-command timeouts and pool bookkeeping are left out: they
cost more than the command (``benchmarks/``). One timeout spans a whole exchange instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions.clients import Cluster
from redis_sessions.redirections import REDIRECTIONS, follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import ConnectionPool

    from redis_sessions.connection import Connection

Command = tuple[Any, ...]
"""A command's name and arguments."""


_TIMEOUT = "no answer from Redis in time"
_NO_CONNECTION = "Timeout connecting to server"


class Transport:
    """Runs commands whose keys are all in one shard."""

    def __init__(self, connection: Connection) -> None:
        self.kind = connection.kind
        self.round_trips = 0
        self._client = connection.client
        self._timeout = connection.attempt_timeout
        self._overseer = _Overseer(self._timeout)
        self._leases = _Leases(self._client.connection_pool) if isinstance(self._client, Redis) else None

    async def run(self, key: bytes, *commands: Command) -> list[Any]:
        """The replies to ``commands``, in order; ``key`` names their shard.

        Other clients' commands may come between them: this is a pipeline, not a transaction.

        Raises:
            redis.exceptions.RedisError: the first error reply, or a failure of the connection.
        """
        replies = await self.replies(key, *commands)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def replies(self, key: bytes, *commands: Command) -> list[Any]:
        """As :meth:`run`, with error replies in their places.

        Raises:
            redis.exceptions.RedisError: a failure of the connection.
        """
        self.round_trips += 1
        client = self._client
        if isinstance(client, Cluster):
            return await self._run_in_cluster(client, key, commands)
        return await self._run_leased(commands)

    async def scatter(self, commands: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """The replies to (key, command) pairs of any shards, in order; one round trip for each node.

        Raises:
            redis.exceptions.RedisError: as for :meth:`run`.
        """
        client = self._client
        if not isinstance(client, Cluster):
            return await self.run(b"", *(command for _, command in commands)) if commands else []
        if client._initialize:
            await client.initialize()
        by_node: dict[str, list[int]] = {}
        for place, (key, _) in enumerate(commands):
            node = client.nodes_manager.get_node_from_slot(client.keyslot(key))
            by_node.setdefault(node.name, []).append(place)
        replies: list[Any] = [None] * len(commands)
        for places in by_node.values():
            some = await self.run(commands[places[0]][0], *(commands[place][1] for place in places))
            for place, reply in zip(places, some, strict=True):
                replies[place] = reply
        return replies

    def node_of(self, key: bytes) -> str:
        """Names the server that has the key, as far as is known; the same for all keys but on a cluster."""
        client = self._client
        if self._leases is not None or not isinstance(client, Cluster) or client._initialize:
            return ""
        return str(client.nodes_manager.get_node_from_slot(client.keyslot(key)).name)

    async def aclose(self) -> None:
        """Give all connections back to their pool."""
        if self._leases is not None:
            await self._leases.aclose()

    async def _run_leased(self, commands: Sequence[Command]) -> list[Any]:
        leases, overseer = self._leases, self._overseer
        assert leases is not None  # noqa: S101 - for the type checker
        connection = leases.idle()
        if connection is None:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await leases.new()
            except TimeoutError:
                raise RedisTimeoutError(_NO_CONNECTION) from None
        task = overseer.watch()
        try:
            return await _exchange(connection, commands)
        except asyncio.CancelledError:
            if overseer.has_cancelled(task):
                raise RedisTimeoutError(_TIMEOUT) from None
            raise
        finally:
            overseer.leave(task)
            leases.give_back(connection)

    async def _run_in_cluster(self, client: Cluster, key: bytes, commands: Sequence[Command]) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout):
                async with client.connection_for(key) as connection:
                    replies = await _exchange(connection, commands)
                if any(isinstance(reply, REDIRECTIONS) for reply in replies):
                    replies = await follow(client, key, commands, replies, _exchange)
                return replies
        except TimeoutError:
            raise RedisTimeoutError(_TIMEOUT) from None


class _Overseer:
    """Cancels exchanges that take longer than a timeout (seconds), up to a twentieth late.

    One timer for all of them: a timer for each costs as much as a tenth of the exchange.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._running: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._ticking = False

    def watch(self) -> asyncio.Task[Any]:
        """Begin to watch the current task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - for the type checker
        self._running[task] = (loop.time(), task.cancelling())
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._timeout / 20, self._tick, loop)
        return task

    def has_cancelled(self, task: asyncio.Task[Any]) -> bool:
        """Whether a CancelledError in the task is this overseer's, and nobody else's too."""
        return task in self._cancelled and task.uncancel() <= self._running[task][1]

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Watch the task no longer."""
        del self._running[task]
        self._cancelled.discard(task)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = bool(self._running)
        if not self._ticking:
            return
        latest_start = loop.time() - self._timeout
        for task, (started, _) in self._running.items():
            if started <= latest_start and task not in self._cancelled:
                self._cancelled.add(task)
                task.cancel()
        loop.call_later(self._timeout / 20, self._tick, loop)


class _Leases:
    """Connections taken from redis-py's pool and kept at hand between calls."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[Any] = []
        self._waiting = 0
        self._closed = False
        self._releasing: set[asyncio.Future[None]] = set()

    def idle(self) -> Any:
        """A connection that can be used at once, or None."""
        while self._idle:
            connection = self._idle.pop()
            reader = getattr(connection, "_reader", None)
            if not connection.should_reconnect() and (reader is None or not reader.at_eof()):
                return connection
            self._idle.append(connection)
            return None
        return None

    async def new(self) -> Any:
        """A connection from the pool, in its turn."""
        # What cannot be used at once goes through the pool, which connects it anew.
        await self._release_all()
        self._waiting += 1
        try:
            return await self._pool.get_connection()  # type: ignore[no-untyped-call]
        finally:
            self._waiting -= 1

    def give_back(self, connection: Any) -> None:
        self._idle.append(connection)
        if self._waiting or self._closed:
            # Somebody waits at the pool, which only learns of a connection that is released to it.
            task = asyncio.ensure_future(self._release_all())
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def aclose(self) -> None:
        self._closed = True
        await self._release_all()
        if self._releasing:
            await asyncio.wait(self._releasing)

    async def _release_all(self) -> None:
        while self._idle:
            await asyncio.shield(self._pool.release(self._idle.pop()))


async def _exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send all commands, read all replies; on any failure the connection is cut.

    Also when cancelled: what is still on its way must not answer the next call.
    """
    replies: list[Any] = []
    redis_timeout, connection.socket_timeout = connection.socket_timeout, None
    try:
        await connection.send_packed_command(b"".join(map(pack_command, commands)))
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        connection.socket_timeout = redis_timeout
    return replies
