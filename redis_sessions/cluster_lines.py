"""The nodes of a cluster, each with a connection that calls at the same time share (``lines.py``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions.lines import TIMEOUT, Lines
from redis_sessions.redirections import REDIRECTIONS, follow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.connection import Connection

    from redis_sessions.clients import Cluster
    from redis_sessions.transport import Command

T = TypeVar("T")


class ClusterLines:
    """Talks to the nodes that have keys.

    ``timeout`` (seconds) is for each of: learning who has which slots, an exchange, following redirections.
    """

    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._lines: dict[str, tuple[ClusterNode, Lines]] = {}
        self._former: list[Lines] = []

    async def talk(self, key: bytes, commands: Sequence[Command], *, alone: bool = False) -> list[Any]:
        """The replies to commands of the key's slot, error replies in their places.

        Raises:
            redis.exceptions.RedisError: a failure of the connection.
        """
        cluster = self._cluster
        finding = cluster.primary_of(key)
        node = await (finding if cluster.knows_slots else self._in_time(finding))
        replies = await self._talk_to(node, commands, alone=alone)
        if any(isinstance(reply, REDIRECTIONS) for reply in replies):
            return await self._in_time(follow(cluster, key, commands, replies, self._talk_to))
        return replies

    async def aclose(self) -> None:
        """Give all connections back."""
        for lines in (*(lines for _, lines in self._lines.values()), *self._former):
            await lines.aclose()

    async def _talk_to(
        self, node: ClusterNode, commands: Sequence[Command], *, alone: bool = True
    ) -> list[Any]:
        known = self._lines.get(node.name)
        lines = known[1] if known is not None and known[0] is node else self._lines_to(node)
        try:
            return await lines.talk(commands, alone=alone)
        except (RedisConnectionError, RedisTimeoutError):
            self._cluster.doubt()
            raise

    async def _in_time(self, awaited: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await awaited
        except TimeoutError:
            raise RedisTimeoutError(TIMEOUT) from None

    def _lines_to(self, node: ClusterNode) -> Lines:
        """The lines to a node that was not met yet; those to nodes that have gone are given up."""
        present = self._cluster.nodes_manager.nodes_cache
        for name, (former, lines) in list(self._lines.items()):
            if present.get(name) is not former:
                del self._lines[name]
                lines.retire()
                self._former.append(lines)
        self._former = [lines for lines in self._former if lines.in_use]
        pool: Any = _Pool(self._cluster, node)
        lines = Lines(pool, self._timeout)
        self._lines[node.name] = node, lines
        return lines


class _Pool:
    """The connections to one node of a cluster, as a pool."""

    def __init__(self, cluster: Cluster, node: ClusterNode) -> None:
        self._cluster = cluster
        self._node = node

    def can_get_connection(self) -> bool:
        """Whether a connection can be had without waiting for one."""
        node = self._node
        return bool(node._free) or len(node._connections) < node.max_connections

    async def get_connection(self) -> Connection:
        """A connection, in its turn."""
        return await self._cluster.connection_to(self._node)

    async def release(self, connection: Connection) -> None:
        """Give it back."""
        # redis-py would do it in the background, and whoever waits for the connection be woken too early.
        if connection.should_reconnect():  # type: ignore[no-untyped-call]
            await connection.disconnect(nowait=True)
        self._cluster.give_back(self._node, connection)
