"""What redis-py 8 mended in its cluster client, for redis-py 7. Goes when 7 is no longer supported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import ClusterNode, NodesManager, RedisCluster
from redis.cluster import PRIMARY, REPLICA

if TYPE_CHECKING:
    from collections.abc import Iterable


def mend(client: RedisCluster) -> None:
    """Mend a client that was just made."""
    _mend_nodes(client.startup_nodes)
    client.nodes_manager = _NodesManager(
        client.startup_nodes, True, client.connection_kwargs, event_dispatcher=client._event_dispatcher
    )


def _mend_nodes(nodes: Iterable[ClusterNode]) -> None:
    for node in nodes:
        # redis-py makes them, and takes no class for it.
        node.__class__ = _Node


class _Node(ClusterNode):
    """Gets each connection back.

    redis-py 7 forgets those that fail, or are cancelled, before the reply is read: after
    ``max_connections`` of them the node would be out of reach for good.
    """

    __slots__ = ()

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        connection = self.acquire_connection()
        try:
            await self.disconnect_if_needed(connection)
            await connection.send_packed_command(connection.pack_command(*args))
            return await self.parse_response(connection, args[0], **kwargs)
        finally:
            self.release(connection)

    async def execute_pipeline(self, commands: list[Any]) -> bool:
        connection = self.acquire_connection()
        failed = False
        try:
            await self.disconnect_if_needed(connection)
            await connection.send_packed_command(connection.pack_commands(cmd.args for cmd in commands))
            for command in commands:
                try:
                    command.result = await self.parse_response(connection, command.args[0], **command.kwargs)
                except Exception as error:  # noqa: BLE001 - as in redis-py, which raises it later
                    command.result = error
                    failed = True
        finally:
            self.release(connection)
        return failed


class _NodesManager(NodesManager):
    """Has one object for each node.

    At each look at the topology redis-py 7 keeps the nodes it knows and lets the slots point to new copies
    of them, whose connections nobody closes, and does not note who has become primary.
    """

    __slots__ = ()

    async def initialize(self, *args: Any, **kwargs: Any) -> None:
        await super().initialize(*args, **kwargs)
        seen = list(self.slots_cache.values())  # keeps their ids theirs
        known: dict[int, list[ClusterNode]] = {}  # neighbouring slots share a list
        for slot, nodes in zip(self.slots_cache, seen, strict=True):
            if id(nodes) not in known:
                known[id(nodes)] = [self.nodes_cache[node.name] for node in nodes]
                for place, node in enumerate(known[id(nodes)]):
                    node.server_type = REPLICA if place else PRIMARY
            self.slots_cache[slot] = known[id(nodes)]
        _mend_nodes([*self.nodes_cache.values(), *self.startup_nodes.values()])

    def move_slot(self, *args: Any, **kwargs: Any) -> Any:
        moved = super().move_slot(*args, **kwargs)
        _mend_nodes(self.nodes_cache.values())
        return moved
