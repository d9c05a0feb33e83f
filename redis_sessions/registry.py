"""Which flows there are, and whose they are.

The sets of flows and of an owner's flows are in other slots than the flows. A flow is entered before its
first write and taken out after its last deletion; what a crash leaves half way is an empty registration.
The owner in the flow's own shard is the truth: a listing drops a flow whose shard does not name them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis_sessions.clock import from_us, now_us
from redis_sessions.errors import NotReplicatedError, StoreUnavailableError, WrongTypeError
from redis_sessions.events import event
from redis_sessions.history import scored_pairs

if TYPE_CHECKING:
    from datetime import datetime

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.keys import FlowKeys, Keys
    from redis_sessions.replication import Replication
    from redis_sessions.transport import Command, Transport

logger: logging.Logger = logging.getLogger(__name__)

_PAGE = 1_000


class Registry:
    """The sets of flows."""

    def __init__(self, keys: Keys, calls: Calls, transport: Transport, replication: Replication) -> None:
        self._keys = keys
        self._calls = calls
        self._transport = transport
        self._replication = replication

    async def add(self, flow_id: str, owner: str, attempt: Attempt | None = None) -> None:
        """Enter a flow, and under its owner unless that is ``""``. May be repeated."""
        name = flow_id.encode()
        sets = [self._keys.flows, *([self._keys.owner(owner)] if owner else [])]
        attempt = attempt or self._calls.begin()
        if len(sets) > 1:
            # A wrong type at one of them shows before the other is changed.
            lengths: list[tuple[bytes, Command]] = [(key, ("SCARD", key)) for key in sets]
            await self._calls.read(lambda: self._transport.scatter(lengths), attempt)
        commands: list[tuple[bytes, Command]] = [(key, ("SADD", key, name)) for key in sets]
        if not self._replication.waits:
            await self._calls.write(lambda _: self._transport.scatter(commands), attempt)
            return
        try:
            for key, command in commands:
                await self._calls.write(
                    lambda _, key=key, command=command: self._replication.run(key, command, bool),  # type: ignore[misc]
                    attempt,
                )
        except NotReplicatedError as error:
            msg = (
                f"the flow's registration is on {error.replicas} of {error.wanted} replicas only; "
                "nothing else was changed: try again"
            )
            raise StoreUnavailableError(msg) from error

    async def confirm(self, flow_id: str, owner: str, attempt: Attempt | None = None) -> None:
        """Enter a flow again after its first write.

        Another process may have taken it out in between, after deleting what was there before. The write is
        done: a failure here is logged, not raised.
        """
        try:
            await self.add(flow_id, owner, attempt)
        except (StoreUnavailableError, WrongTypeError) as error:
            logger.warning(
                "flow not confirmed in the registry: flow=%s error=%s",
                flow_id,
                error,
                extra=event("flow_not_confirmed", flow_id=flow_id, error=error),
            )

    async def remove(self, keys: FlowKeys, owner: str, attempt: Attempt | None = None) -> None:
        """Take out a flow that was found empty, unless it has come back meanwhile.

        A failure leaves an empty registration, which listing tolerates: it is logged, not raised.
        """
        attempt = attempt or self._calls.begin()
        try:
            await self.forget_owner(keys.flow_id, owner, attempt)
            name = keys.flow_id.encode()
            await self._calls.write(
                lambda _: self._transport.run(self._keys.flows, ("SREM", self._keys.flows, name)), attempt
            )
            exists, present = await self._calls.read(
                lambda: self._transport.run(
                    keys.ids,
                    ("EXISTS", keys.ids, keys.builds, keys.transactions),
                    ("HGET", keys.ids, b"owner"),
                ),
                attempt,
            )
            if exists:
                await self.add(keys.flow_id, (present or b"").decode(), attempt)
        except (StoreUnavailableError, WrongTypeError) as error:
            logger.warning(
                "empty flow left in the registry: flow=%s error=%s",
                keys.flow_id,
                error,
                extra=event("empty_flow_left", flow_id=keys.flow_id, error=error),
            )

    async def release(self, keys: FlowKeys, owner: str, attempt: Attempt) -> None:
        """Take a flow out of its former owner's set, unless it was given back meanwhile.

        A failure leaves a registration that listing passes over: it is logged, not raised.
        """
        try:
            await self.forget_owner(keys.flow_id, owner, attempt)
            if owner and await self.owner_of(keys, attempt) == owner:
                await self.add(keys.flow_id, owner, attempt)
        except (StoreUnavailableError, WrongTypeError) as error:
            logger.warning(
                "flow left with its former owner: flow=%s error=%s",
                keys.flow_id,
                error,
                extra=event("former_owner_left", flow_id=keys.flow_id, error=error),
            )

    async def forget_owner(self, flow_id: str, owner: str, attempt: Attempt) -> None:
        """Take a flow out of an owner's set; nothing for ``""``."""
        if not owner:
            return
        key = self._keys.owner(owner)
        await self._calls.write(lambda _: self._transport.run(key, ("SREM", key, flow_id.encode())), attempt)

    async def flows(self, owner: str | None = None, attempt: Attempt | None = None) -> list[str]:
        """All flows, or an owner's, by id."""
        key = self._keys.flows if owner is None else self._keys.owner(owner)
        names: set[str] = set()
        cursor = b"0"
        while True:
            (reply,) = await self._calls.read(
                lambda cursor=cursor: self._transport.run(key, ("SSCAN", key, cursor, "COUNT", _PAGE)),  # type: ignore[misc]
                attempt,
            )
            cursor = reply[0]
            names.update(name.decode() for name in reply[1])
            if int(cursor) == 0:
                break
        if owner is None:
            return sorted(names)
        return await self._belonging(sorted(names), owner)

    async def has(self, flow_id: str) -> bool:
        """Whether a flow is entered."""
        (entered,) = await self._calls.read(
            lambda: self._transport.run(self._keys.flows, ("SISMEMBER", self._keys.flows, flow_id.encode()))
        )
        return bool(entered)

    async def owner_of(self, keys: FlowKeys, attempt: Attempt | None = None) -> str | None:
        """The flow's owner, or None."""
        (owner,) = await self._calls.read(
            lambda: self._transport.run(keys.ids, ("HGET", keys.ids, b"owner")), attempt
        )
        return None if owner is None else owner.decode()

    async def leave(self, flow_id: str) -> None:
        """Note that a flow is about to be deleted elsewhere, from now on. May be repeated."""
        key = self._keys.leaving
        command = ("ZADD", key, now_us(), flow_id.encode())
        await self._calls.write(lambda _: self._replication.run(key, command, bool), self._calls.begin())

    async def stay(self, flow_id: str) -> None:
        """Remove that note. May be repeated."""
        key = self._keys.leaving
        command = ("ZREM", key, flow_id.encode())
        await self._calls.write(lambda _: self._transport.run(key, command), self._calls.begin())

    async def leaving(self) -> list[tuple[str, datetime]]:
        """The flows that were noted, and when, the latest first."""
        key = self._keys.leaving
        (reply,) = await self._calls.read(
            lambda: self._transport.run(key, ("ZREVRANGE", key, 0, -1, "WITHSCORES"))
        )
        return [(name.decode(), from_us(us)) for name, us in scored_pairs(reply)]

    async def _belonging(self, flow_ids: list[str], owner: str) -> list[str]:
        mine = []
        for first in range(0, len(flow_ids), _PAGE):
            page = flow_ids[first : first + _PAGE]
            commands: list[tuple[bytes, Command]] = [
                (key, ("HGET", key, b"owner")) for key in (self._keys.flow(flow).ids for flow in page)
            ]
            owners = await self._calls.read(lambda commands=commands: self._transport.scatter(commands))  # type: ignore[misc]
            wanted = owner.encode()
            mine += [flow for flow, present in zip(page, owners, strict=True) if present == wanted]
        return mine
