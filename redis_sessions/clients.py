"""redis-py's pools and its cluster client, made fit for a store that lives long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions import redis_py_7

if TYPE_CHECKING:
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.connection import Connection


class Pool(BlockingConnectionPool):
    """A pool at which a call waits its turn for a connection, and which drops idle ones in one step."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        if inuse_connections:
            await super().disconnect()
            return
        # redis-py waits for the other end's goodbye, and a server that hangs says none to TLS. A call
        # may take the connection meanwhile, connect it anew, and then have it cut off.
        for connection in tuple(self._available_connections):
            await connection.disconnect(nowait=True)


class SentinelPool(SentinelConnectionPool, Pool):
    """The same to the primary that Sentinels name; they are asked at each new connection."""

    async def get_master_address(self) -> Any:
        """Ask the Sentinels. Once they name another primary, no connection to the old one is used again.

        redis-py drops the idle ones. Those in use, and those that are kept at hand, would go on with a
        primary that was replaced and has not been told.
        """
        before = self.master_address
        address = await super().get_master_address()  # type: ignore[no-untyped-call]
        if before is not None and address != before:
            for connection in tuple(self._in_use_connections):
                connection.mark_for_reconnect()  # type: ignore[no-untyped-call]
        return address


class Cluster(RedisCluster):
    """A cluster client at which a command waits its turn for a connection to its node, for ``patience`` s."""

    def __init__(self, *, patience: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        if redis.__version__.startswith("7."):
            redis_py_7.mend(self)
        self._patience = patience
        self._waiting: set[asyncio.Future[None]] = set()

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        deadline: float | None = None
        while True:
            try:
                result = await super().execute_command(*args, **kwargs)
            except MaxConnectionsError:
                # Found before anything is sent, so that this repeats no write (what goes to all nodes
                # at once may repeat on some of them: FLUSHALL, SCRIPT LOAD).
                deadline = deadline or asyncio.get_running_loop().time() + self._patience
                if not await self._one_returned(deadline):
                    raise
            except BaseException:
                self._wake()
                raise
            else:
                self._wake()
                return result

    @property
    def knows_slots(self) -> bool:
        """Whether it was asked who has which slots, and nothing has cast doubt on it since."""
        return not self._initialize

    async def primary_of(self, key: bytes) -> ClusterNode:
        """The node that has the key's slot, as far as is known."""
        if self._initialize:
            await self.initialize()
        return self.nodes_manager.get_node_from_slot(self.keyslot(key))

    async def connection_to(self, node: ClusterNode) -> Connection:
        """A connection to the node, connected, for callers that speak to it themselves: :meth:`give_back` it.

        Such a caller follows MOVED and ASK on its own, and disconnects what it leaves with unread replies.
        """
        deadline: float | None = None
        while True:
            try:
                connection = node.acquire_connection()
                break
            except MaxConnectionsError:
                deadline = deadline or asyncio.get_running_loop().time() + self._patience
                if not await self._one_returned(deadline):
                    raise
        try:
            await node.disconnect_if_needed(connection)
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            self.give_back(node, connection)
            if isinstance(error, RedisConnectionError | RedisTimeoutError):
                self.doubt()
            raise
        return connection

    def give_back(self, node: ClusterNode, connection: Connection) -> None:
        """Let others have a connection again."""
        node.release(connection)
        self._wake()

    def doubt(self) -> None:
        """Have the next call ask who has which slots: a node does not answer."""
        self._initialize = True

    async def _one_returned(self, deadline: float) -> bool:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(turn)
        return True

    def _wake(self) -> None:
        # All of them: each may wait for another node's.
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
