"""One typed coroutine for each Lua script about a flow: its owner, its builds and its transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.scripting import Removed, Runner, emptied, refuse, stale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.calls import Attempt
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys

MAX_VERTICES = 1_000
"""Vertices whose builds a flow keeps: as many as Langflow 1.13 serves."""
MAX_ENTRIES = 1_000
"""Entries or jobs that one script deletes."""


class FlowScripts(Runner):
    """The scripts about flows."""

    async def set_owner(self, keys: FlowKeys, expected: str, owner: str, *, attempt: Attempt) -> None:
        """Change the flow's owner from ``expected`` (``""``: none).

        Raises:
            StaleError: CHANGED.
        """
        status, *rest = await self._calls.write(
            lambda _: self._eval("set_owner", (keys.ids,), (expected.encode(), owner.encode())), attempt
        )
        if status != b"SET":
            raise stale(status, rest)

    async def drop_flow(self, keys: FlowKeys, *, attempt: Attempt) -> str:
        """Remove what is left of a flow without sessions; its former owner, or ``""``.

        Raises:
            StaleError: BUSY.
        """
        key_list = (
            keys.ids,
            keys.sessions,
            keys.aliases,
            keys.feed,
            keys.builds,
            keys.transactions,
            keys.jobs,
        )
        status, *rest = await self._calls.write(lambda _: self._eval("drop_flow", key_list, ()), attempt)
        if status != b"DROPPED":
            raise stale(status, rest)
        return rest[0].decode()

    async def put_build(
        self,
        keys: FlowKeys,
        vertex: str,
        timestamp_us: int,
        body: bytes,
        *,
        job: bytes,
        max_builds: int,
        per_vertex: int,
        owner: str,
        registered: bool,
        attempt: Attempt,
    ) -> bool:
        """Keep a vertex's build; False when a later one is there.

        Raises:
            OwnerMismatchError, InvalidTimestampError, StoreUnavailableError
            StaleError: UNREGISTERED.
        """
        limits = self._limits
        flag = b"1" if registered else b""
        args = (
            vertex.encode(),
            flag,
            owner.encode(),
            timestamp_us,
            limits.max_ahead_us,
            MAX_VERTICES,
            max_builds,
            per_vertex,
            job,
            body,
        )
        key_list = (keys.ids, keys.builds, keys.transactions, keys.jobs)
        status, *rest = await self._calls.write(lambda _: self._eval("put_build", key_list, args), attempt)
        refuse(status, keys)
        if status not in (b"STORED", b"OLDER"):
            raise stale(status, rest)
        return status == b"STORED"

    async def delete_builds(self, keys: FlowKeys, *, attempt: Attempt) -> Removed:
        """Remove the builds of a flow."""
        _, *rest = await self._calls.write(
            lambda _: self._eval("delete_builds", (*_emptying(keys), keys.jobs), ()), attempt
        )
        return Removed(int(rest[2]), (), emptied(rest))

    async def delete_job_builds(self, keys: FlowKeys, jobs: Sequence[bytes], *, attempt: Attempt) -> Removed:
        """Remove the builds of at most 1,000 jobs."""
        _, *rest = await self._calls.write(
            lambda _: self._eval("delete_job_builds", (*_emptying(keys), keys.jobs), jobs), attempt
        )
        return Removed(int(rest[2]), (), emptied(rest))

    async def delete_transactions(
        self, keys: FlowKeys, entries: Sequence[EntryId], *, attempt: Attempt
    ) -> Removed:
        """Remove at most 1,000 transactions."""
        places = [str(entry) for entry in entries]
        _, *rest = await self._calls.write(
            lambda _: self._eval("delete_transactions", _emptying(keys), places), attempt
        )
        return Removed(int(rest[2]), (), emptied(rest))

    async def add_transaction(
        self,
        keys: FlowKeys,
        id: bytes,
        timestamp_us: int,
        body: bytes,
        *,
        max_transactions: int | None,
        owner: str,
        registered: bool,
        attempt: Attempt,
    ) -> None:
        """Note a component's run; ``id`` is 16 bytes. ``max_transactions``: None is as the store was opened.

        Raises:
            OwnerMismatchError, InvalidTimestampError, StoreUnavailableError
            StaleError: UNREGISTERED.
        """
        limits = self._limits
        flag = b"1" if registered else b""
        most = limits.max_transactions if max_transactions is None else max_transactions
        rest_args = (owner.encode(), timestamp_us, limits.max_ahead_us, most, body)
        status, *rest = await self._calls.write(
            lambda now: self._eval(
                "add_transaction",
                (keys.ids, keys.builds, keys.transactions),
                (id, now.elapsed_ms, flag, *rest_args),
            ),
            attempt,
        )
        refuse(status, keys)
        if status != b"ADDED":
            raise stale(status, rest)


def _emptying(keys: FlowKeys) -> tuple[bytes, ...]:
    """What a script needs that may take the flow's last part away."""
    return keys.ids, keys.sessions, keys.aliases, keys.builds, keys.transactions
