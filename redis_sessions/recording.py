"""Vertex builds, transactions and counters: the rest of :class:`~redis_sessions.SessionStore`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis_sessions import limits
from redis_sessions.clock import to_ms
from redis_sessions.parts import Opened

if TYPE_CHECKING:
    from uuid import UUID

    from redis_sessions.models import Transaction, VertexBuild

    Id = str | UUID


class Recording(Opened):
    """Builds and transactions of flows, and counts in windows of time."""

    async def put_build(self, build: VertexBuild, *, owner: Id | None = None) -> bool:
        """Keep a vertex's latest build. May be repeated: the same build again changes nothing.

        Returns:
            False when a later build of the vertex is there; then nothing was changed.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(build.flow_id))
        return await parts.runs.put_build(keys, build, limits.owner(owner) if owner is not None else "")

    async def builds(self, flow_id: Id) -> list[VertexBuild]:
        """The latest build of each vertex, oldest first."""
        parts = self._parts
        return await parts.runs.builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def builds_json(self, flow_id: Id) -> list[tuple[str, bytes]]:
        """As :meth:`builds`: (vertex, JSON object of ``GET /monitor/builds``), undecoded."""
        parts = self._parts
        return await parts.runs.builds_json(parts.keys.flow(limits.flow_id(flow_id)))

    async def delete_builds(self, flow_id: Id) -> int:
        """Remove all builds of a flow; how many there were."""
        parts = self._parts
        return await parts.runs.delete_builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def add_transaction(self, transaction: Transaction, *, owner: Id | None = None) -> None:
        """Note a component's run. The flow keeps the newest ``max_transactions``.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(transaction.flow_id))
        await parts.runs.add_transaction(keys, transaction, limits.owner(owner) if owner is not None else "")

    async def transactions(self, flow_id: Id, *, limit: int = 50, offset: int = 0) -> list[Transaction]:
        """The newest transactions of a flow, newest first, after the first ``offset``."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.runs.transactions(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)

    async def transactions_json(
        self, flow_id: Id, *, limit: int = 50, offset: int = 0
    ) -> tuple[list[bytes], int]:
        """As :meth:`transactions`, JSON objects of ``GET /monitor/transactions``, and how many there are."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.runs.transactions_json(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)

    async def count(self, name: str, *, window: timedelta, amount: int = 1) -> tuple[int, timedelta]:
        """Count an occurrence, for all processes on this Redis together; what rate limits are made of.

        A window begins with its first occurrence. One during which the connection failed may count twice.

        Returns:
            How many there were in this window, and how long it still lasts.
        """
        parts = self._parts
        key, window_ms = parts.keys.count(name), to_ms(window)

        async def add() -> list[Any]:
            replies = await parts.transport.run(
                key,
                ("SET", key, 0, "PX", window_ms, "NX"),
                ("INCRBY", key, amount),
                ("PTTL", key),
            )
            if replies[2] < 0:  # it expired between the commands
                await parts.transport.run(key, ("PEXPIRE", key, window_ms))
                replies[2] = window_ms
            return replies

        _, count, left_ms = await parts.calls.read(add)
        return count, timedelta(milliseconds=left_ms)

    async def counted(self, name: str) -> tuple[int, timedelta]:
        """What :meth:`count` would answer, without an occurrence; no window: (0, 0)."""
        parts = self._parts
        key = parts.keys.count(name)
        count, left_ms = await parts.calls.read(lambda: parts.transport.run(key, ("GET", key), ("PTTL", key)))
        return int(count or 0), timedelta(milliseconds=max(left_ms, 0))
