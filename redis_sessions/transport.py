"""Commands to Redis, several in one round trip, replies as they come.

Below redis-py's client and above its connections: pooling, TLS, authentication, Sentinel discovery and
cluster topology are redis-py's; its per-command conversions and retries are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.connection import Connection

Command = tuple[Any, ...]
"""A command's name and arguments. The first key of a command is its second element."""


class Transport:
    """Runs commands whose keys are all in one shard."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.kind = connection.kind
        self.round_trips = 0

    async def run(self, key: bytes, *commands: Command) -> list[Any]:
        """The replies to ``commands``, in order; ``key`` names their shard.

        Other clients' commands may come between them: this is a pipeline, not a transaction.

        Raises:
            redis.exceptions.RedisError: the first error reply, or a failure of the connection.
        """
        replies = await self.try_run(key, *commands)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def scatter(self, commands: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """The replies to (key, command) pairs of any shards, in order; one round trip for each node.

        Raises:
            redis.exceptions.RedisError: as for :meth:`run`.
        """
        client = self._connection.client
        if not isinstance(client, RedisCluster):
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

    async def try_run(self, key: bytes, *commands: Command) -> list[Any]:
        """As :meth:`run`, with error replies in the place of replies."""
        self.round_trips += 1
        client = self._connection.client
        if isinstance(client, RedisCluster):
            return await self._run_in_cluster(client, key, commands)
        pool = client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            return await _exchange(connection, commands)
        finally:
            await pool.release(connection)

    async def _run_in_cluster(
        self, client: RedisCluster, key: bytes, commands: Sequence[Command]
    ) -> list[Any]:
        if client._initialize:
            await client.initialize()
        node = client.nodes_manager.get_node_from_slot(client.keyslot(key))
        connection = node.acquire_connection()
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]
            replies = await _exchange(connection, commands)
        except RedisError:
            client._initialize = True
            raise
        finally:
            node.release(connection)
        for place, reply in enumerate(replies):
            if isinstance(reply, MovedError | AskError | TryAgainError):
                # A slot on the move: redis-py follows redirections one command at a time.
                replies[place] = _as_sent(await client.execute_command(*commands[place]))
        return replies


async def _exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    replies: list[Any] = []
    try:
        await connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
    except BaseException:
        # Also when cancelled: what is still on its way must not answer the next call.
        await connection.disconnect(nowait=True)
        raise
    return replies


def _as_sent(reply: Any) -> Any:
    """Undo redis-py's conversion of stream entries, (id, {field: value}) -> [id, [field, value, …]]."""
    if isinstance(reply, list) and reply and isinstance(reply[0], tuple):
        return [[entry, [part for pair in fields.items() for part in pair]] for entry, fields in reply]
    return reply
