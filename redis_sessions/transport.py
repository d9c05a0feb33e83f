"""Commands to Redis, several in one round trip, replies as they come.

Below redis-py's client and above its connections: pooling, TLS, authentication, Sentinel discovery and
cluster topology are redis-py's. Its conversions, per-command timeouts and pool bookkeeping are left out: they
cost more than the command (``benchmarks/``). One timeout spans a whole exchange instead, and calls at the
same time share a connection (``lines.py``), on a cluster those to one node.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions.clients import Cluster
from redis_sessions.cluster_lines import ClusterLines
from redis_sessions.lines import TIMEOUT, Lines
from redis_sessions.redirections import WAITING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis_sessions.connection import Connection

Command = tuple[Any, ...]
"""A command's name and arguments."""

_WAITING = WAITING | {"XREAD"}
"""Commands that Redis answers when something has happened: whatever is behind them waits too."""


class Transport:
    """Runs commands whose keys are all in one shard."""

    def __init__(self, connection: Connection) -> None:
        self.kind = connection.kind
        self.round_trips: int = 0
        self._client = connection.client
        self._timeout = connection.attempt_timeout
        # Asked once: the metaclass of redis-py's clients makes isinstance slow.
        self._cluster = self._client if isinstance(self._client, Cluster) else None
        self._cluster_lines = (
            ClusterLines(self._cluster, self._timeout) if self._cluster is not None else None
        )
        self._lines: Lines | None = None
        if isinstance(self._client, Redis) and self.kind != "memory":
            self._lines = Lines(self._client.connection_pool, self._timeout)

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

    def replies(self, key: bytes, *commands: Command) -> Awaitable[list[Any]]:
        """As :meth:`run`, with error replies in their places.

        Raises:
            redis.exceptions.RedisError: a failure of the connection.
        """
        self.round_trips += 1
        if self._lines is not None:
            return self._lines.talk(commands, alone=commands[-1][0] in _WAITING)
        if self._cluster_lines is not None:
            return self._cluster_lines.talk(key, commands, alone=commands[-1][0] in _WAITING)
        return self._run_in_memory(self._client, commands)

    async def scatter(self, commands: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """The replies to (key, command) pairs of any shards, in order; one round trip for each node.

        Raises:
            redis.exceptions.RedisError: as for :meth:`run`.
        """
        client = self._cluster
        if client is None:
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
        client = self._cluster
        if client is None or client._initialize:
            return ""
        return str(client.nodes_manager.get_node_from_slot(client.keyslot(key)).name)

    async def aclose(self) -> None:
        """Give all connections back to their pool."""
        for lines in (self._lines, self._cluster_lines):
            if lines is not None:
                await lines.aclose()

    async def _run_in_memory(self, client: Any, commands: Sequence[Command]) -> list[Any]:
        pool = client.connection_pool
        try:
            async with asyncio.timeout(self._timeout):
                connection = await pool.get_connection()
                try:
                    return await _exchange(connection, commands)
                finally:
                    await pool.release(connection)
        except TimeoutError:
            raise RedisTimeoutError(TIMEOUT) from None


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
