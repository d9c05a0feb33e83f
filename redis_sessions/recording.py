"""Vertex builds, transactions and counters: the rest of :class:`~redis_sessions.SessionStore`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redis_sessions import limits
from redis_sessions.clock import to_ms
from redis_sessions.parts import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from uuid import UUID

    from redis_sessions.models import Transaction, VertexBuild

    Id = str | UUID


class Recording(Opened):
    """Builds and transactions of flows, and counts in windows of time."""

    async def put_build(
        self,
        build: VertexBuild,
        *,
        owner: Id | None = None,
        max_builds: int = 3_000,
        per_vertex: int = 50,
    ) -> bool:
        """Keep a vertex's latest build, and the one it takes the place of, if another job made that.

        May be repeated: the same build again changes nothing.

        Args:
            max_builds: builds that the flow keeps; above it the oldest goes, a vertex's latest one last.
            per_vertex: builds that it keeps of one vertex.

        Returns:
            False when a later build of the vertex is there; then this one is kept for its job only.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        limits.count("max_builds", max_builds, 1)
        limits.count("per_vertex", per_vertex, 1)
        keys = parts.keys.flow(limits.flow_id(build.flow_id))
        whose = limits.owner(owner) if owner is not None else ""
        return await parts.runs.put_build(keys, build, whose, max_builds=max_builds, per_vertex=per_vertex)

    async def builds(self, flow_id: Id) -> list[VertexBuild]:
        """The latest build of each vertex, oldest first."""
        parts = self._parts
        return await parts.runs.builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def builds_json(self, flow_id: Id) -> list[tuple[str, bytes]]:
        """As :meth:`builds`: (vertex, JSON object of ``GET /monitor/builds``), undecoded."""
        parts = self._parts
        return await parts.runs.builds_json(parts.keys.flow(limits.flow_id(flow_id)))

    async def job_builds(self, flow_id: Id, job_id: Id) -> list[VertexBuild]:
        """What a job built: the latest build of each vertex that is still kept, oldest first."""
        parts = self._parts
        return await parts.jobs.builds(parts.keys.flow(limits.flow_id(flow_id)), limits.job_id(str(job_id)))

    async def delete_job_builds(self, flow_id: Id, job_ids: Iterable[Id]) -> int:
        """Remove what some jobs built; how many builds there were.

        Of a vertex whose latest build goes, the one before it is the latest again.
        """
        parts = self._parts
        jobs = [limits.job_id(str(job)) for job in job_ids]
        return await parts.jobs.delete(parts.keys.flow(limits.flow_id(flow_id)), jobs)

    async def trim_builds(self, most: int) -> int:
        """Keep about ``most`` builds in all flows together: those that last built longest ago lose theirs.

        The flow that built last keeps its own. Every flow is asked: not for every call, but once a minute.

        Returns:
            How many vertices lost their builds.
        """
        parts = self._parts
        limits.count("most", most, 1)
        return await parts.jobs.trim([parts.keys.flow(flow) for flow in await parts.registry.flows()], most)

    async def delete_builds(self, flow_id: Id) -> int:
        """Remove all builds of a flow; how many vertices had some."""
        parts = self._parts
        return await parts.runs.delete_builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def add_transaction(
        self, transaction: Transaction, *, owner: Id | None = None, max_transactions: int | None = None
    ) -> None:
        """Note a component's run. The flow keeps the newest ``max_transactions``.

        Args:
            max_transactions: the store's setting when not given.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(transaction.flow_id))
        if max_transactions is not None:
            limits.count("max_transactions", max_transactions, 1)
        whose = limits.owner(owner) if owner is not None else ""
        await parts.runs.add_transaction(keys, transaction, whose, max_transactions)

    async def delete_transactions(self, flow_id: Id, chosen: Callable[[Transaction], bool]) -> int:
        """Remove the transactions that ``chosen`` is True for; how many there were."""
        parts = self._parts
        return await parts.jobs.delete_transactions(parts.keys.flow(limits.flow_id(flow_id)), chosen)

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

    async def begin_deletion(self, flow_id: Id) -> None:
        """Note that a flow is about to be deleted where it is kept, as in Langflow's database.

        Nothing else happens to it. The note stays until :meth:`end_deletion`: who finds it asks there whether
        the flow is gone, and if so deletes it here too. So a deletion is not forgotten when a process dies
        half way, and not done when it was taken back there.
        """
        parts = self._parts
        await parts.registry.leave(limits.flow_id(flow_id))

    async def end_deletion(self, flow_id: Id) -> None:
        """Remove the note of :meth:`begin_deletion`."""
        parts = self._parts
        await parts.registry.stay(limits.flow_id(flow_id))

    async def deletions(self) -> list[tuple[str, datetime]]:
        """The flows that :meth:`begin_deletion` noted and when, the latest first."""
        return await self._parts.registry.leaving()

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
