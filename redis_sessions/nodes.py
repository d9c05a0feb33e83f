"""The servers behind a connection, one by one: for what is asked of each, and for walks over all keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redis_sessions.parts import Parts

_PAGE = 500


class Node:
    """One primary."""

    def __init__(self, parts: Parts, target: Any = None) -> None:
        self.name: str = str(target.name) if target is not None else parts.connection.safe_url
        self._parts = parts
        self._target = target

    async def run(self, *command: Any) -> Any:
        """The reply to a command, as redis-py gives it.

        Raises:
            StoreUnavailableError: Redis did not answer within the deadline, or refused.
        """
        client: Any = self._parts.connection.client
        options = {"target_nodes": self._target} if self._target is not None else {}
        return await self._parts.calls.read(lambda: client.execute_command(*command, **options))

    async def info(self, section: str) -> dict[str, Any]:
        """A section of INFO."""
        found = await self.run("INFO", section)
        return dict(found)

    async def keys(self, *, count: int = _PAGE) -> AsyncGenerator[list[bytes], None]:
        """All keys under the prefix, about ``count`` looked at in each step; a key may come twice."""
        pattern = re.sub(r"([*?\[\]\\^-])", r"\\\1", self._parts.keys.prefix) + ":*"
        cursor: Any = 0
        while True:
            cursor, keys = await self.run("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            if isinstance(cursor, dict):  # of a cluster: by node
                (cursor,) = cursor.values()
            if keys:
                yield list(keys)
            if not int(cursor):
                return


async def primaries(parts: Parts) -> list[Node]:
    """All primaries of a cluster, or the one server."""
    client = parts.connection.client
    if not isinstance(client, RedisCluster):
        return [Node(parts)]
    await parts.calls.read(client.initialize)
    return [Node(parts, node) for node in client.get_primaries()]
