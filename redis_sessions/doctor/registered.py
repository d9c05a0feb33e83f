"""Which flows there are and whose they are, against what the flows themselves say.

The sets of flows are in other slots than the flows, so a flow that somebody is writing to or deleting may
differ for a moment. What differs is looked at again and again, until a call would be over: what is wrong
stays wrong all the time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from redis_sessions.doctor.ward import PAGE
from redis_sessions.scripting import StaleError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from redis_sessions.doctor.ward import Ward
    from redis_sessions.transport import Command

_LOOKS = 20
Suspect = tuple[str, str, str]
"""A kind of finding, a flow and an owner."""


async def check_registry(ward: Ward, flows: Iterable[str], owners: Iterable[str]) -> None:
    """Compare the flows that were met, and the sets of these owners, with the registry."""
    suspects = {suspect async for suspect in _suspects(ward, sorted(flows), sorted(owners))}
    if not suspects:
        return
    for _ in range(_LOOKS):
        await asyncio.sleep(ward.settle / _LOOKS)
        suspects = {suspect for suspect in suspects if await _stands(ward, suspect)}
    claims = Counter(flow for kind, flow, _ in suspects if kind == "owner")
    for suspect in sorted(suspects):
        # A flow that has just lost its id map does not know its owner; its registration still does.
        lost = suspect[1] in ward.ownerless and claims[suspect[1]] == 1
        await _report(ward, suspect, lost=lost)


async def _suspects(ward: Ward, flows: Sequence[str], owners: Sequence[str]) -> AsyncGenerator[Suspect, None]:
    registry = ward.parts.keys.flows
    for first in range(0, len(flows), PAGE):
        some = flows[first : first + PAGE]
        entered = await ward.read([(registry, ("SISMEMBER", registry, flow.encode())) for flow in some])
        present = await ward.read([_owner_of(ward, flow) for flow in some])
        for flow, known, owner in zip(some, entered, present, strict=True):
            if not known:
                yield "unregistered", flow, ""
            if owner is not None:
                key = ward.parts.keys.owner(owner.decode())
                [theirs] = await ward.read([(key, ("SISMEMBER", key, flow.encode()))])
                if not theirs:
                    yield "unregistered", flow, owner.decode()
    async for page in ward.members("SSCAN", registry):
        some = [name.decode() for name in page]
        exists = await ward.read([_data_of(ward, flow) for flow in some])
        for flow, data in zip(some, exists, strict=True):
            if not data:
                yield "empty_flow", flow, ""
    for owner in owners:
        async for page in ward.members("SSCAN", ward.parts.keys.owner(owner)):
            some = [name.decode() for name in page]
            present = await ward.read([_owner_of(ward, flow) for flow in some])
            for flow, whose in zip(some, present, strict=True):
                if whose != owner.encode():
                    yield "owner", flow, owner


def _owner_of(ward: Ward, flow: str) -> tuple[bytes, Command]:
    ids = ward.parts.keys.flow(flow).ids
    return ids, ("HGET", ids, b"owner")


def _data_of(ward: Ward, flow: str) -> tuple[bytes, Command]:
    keys = ward.parts.keys.flow(flow)
    return keys.ids, ("EXISTS", keys.ids, keys.builds, keys.transactions)


async def _stands(ward: Ward, suspect: Suspect) -> bool:
    """Whether it is still so."""
    kind, flow, owner = suspect
    [data] = await ward.read([_data_of(ward, flow)])
    if kind == "empty_flow":
        return not data and await ward.parts.registry.has(flow)
    [whose] = await ward.read([_owner_of(ward, flow)])
    key = ward.parts.keys.owner(owner) if owner else ward.parts.keys.flows
    [entered] = await ward.read([(key, ("SISMEMBER", key, flow.encode()))])
    if kind == "owner":
        return bool(entered) and whose != owner.encode()
    return bool(data) and not entered and (not owner or whose == owner.encode())


async def _report(ward: Ward, suspect: Suspect, *, lost: bool) -> None:
    kind, flow, owner = suspect
    keys = ward.parts.keys.flow(flow)
    registry = ward.parts.registry
    done = ""
    match kind:
        case "unregistered":
            text = "has data and is not registered" + (f" with its owner {owner!r}" if owner else "")
            if ward.mend:
                await registry.add(flow, owner)
                [data] = await ward.read([_data_of(ward, flow)])
                if not data:  # deleted just now
                    await registry.remove(keys, owner)
                done = "registered it"
        case "empty_flow":
            text = "is registered and has no data"
            if ward.mend:
                await registry.remove(keys, "")
                done = "took it out of the registry"
        case "owner" if lost:
            text = f"is registered with {owner!r}, and does not know it any more"
            with suppress(StaleError):  # it has another owner since
                await ward.parts.scripts.set_owner(keys, "", owner, attempt=ward.parts.calls.begin())
                done = "made it theirs again"
        case _:
            text = f"is registered with {owner!r}, whose it is not"
            if ward.mend:
                await registry.release(keys, owner, ward.parts.calls.begin())
                done = "took it out of that owner's flows"
    ward.found(kind, keys, flow, text, done)
