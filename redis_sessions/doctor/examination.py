"""The whole examination, in its order: what a step mends, the next ones rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.doctor.maps import check_adopted, check_aliases, check_edits, check_ids, check_list
from redis_sessions.doctor.registered import check_registry
from redis_sessions.doctor.server import check_server
from redis_sessions.doctor.sessions import check_sessions, restore_aliases
from redis_sessions.doctor.types import check_types
from redis_sessions.doctor.ward import Ward
from redis_sessions.keys import TYPES
from redis_sessions.nodes import primaries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import timedelta

    from redis_sessions.doctor.report import Report
    from redis_sessions.keys import Part
    from redis_sessions.store import SessionStore

_OF_DATA = {"ids", "builds", "transactions"}


async def examine(store: SessionStore, *, mend: bool = False, settle: timedelta | None = None) -> Report:
    """Look at the server and at all data of a store; ``mend`` what can be mended.

    Takes time in proportion to the keys of the server, and next to none of anybody else's.

    Args:
        settle: how long a call of any writer may take, the deadline when not given. What may be half of one
            is looked at again after that time.

    Raises:
        StoreUnavailableError: Redis did not answer within the deadline, or refused a command.
    """
    patience = store.settings.deadline if settle is None else settle
    ward = Ward(store._parts, mend=mend, settle=patience.total_seconds())
    ward.report.facts = await check_server(store)
    owners: set[str] = set()
    async for page in _keys(ward):
        ward.report.keys += len(page)
        await check_types(ward, page)
        owners |= {owner for key in page if (owner := ward.parts.keys.parse_owner(key)) is not None}
    flows: set[str] = set()
    with_data: set[str] = set()
    async for page in _keys(ward):
        parts = await _of_right_type(ward, page)
        flows |= {part.flow_id for part in parts}
        with_data |= {part.flow_id for part in parts if part.kind in _OF_DATA}
        sessions = {(part.flow_id, part.name) for part in parts if part.kind in ("log", "edits")}
        await check_sessions(ward, [(ward.parts.keys.flow(flow), name) for flow, name in sorted(sessions)])
    async for page in _keys(ward):
        for part in await _of_right_type(ward, page):
            await _check_map(ward, part)
            # Also what a restored session has brought back.
            with_data |= {part.flow_id} if part.kind in _OF_DATA else set()
    await check_registry(ward, with_data, owners)
    ward.report.flows = len(flows)
    return ward.report


async def _check_map(ward: Ward, part: Part) -> None:
    keys = ward.parts.keys.flow(part.flow_id)
    match part.kind:
        case "ids":
            await check_ids(ward, keys)
        case "sessions":
            await check_list(ward, keys)
        case "aliases":
            await check_aliases(ward, keys)
        case "log" if part.flow_id in ward.aliasless:
            await restore_aliases(ward, keys, part.name)
        case "adopted":
            await check_adopted(ward, keys, part.name)
        case "edits":
            await check_edits(ward, keys, part.name)


async def _keys(ward: Ward) -> AsyncGenerator[list[bytes], None]:
    for node in await primaries(ward.parts):
        async for page in node.keys():
            yield page


async def _of_right_type(ward: Ward, page: list[bytes]) -> list[Part]:
    """The keys of flows; not those of a wrong type, which were reported and are in the way of every check."""
    parts = [(key, part) for key in page if (part := ward.parts.keys.parse(key)) and part.kind in TYPES]
    replies = await ward.read([(key, ("TYPE", key)) for key, _ in parts])
    return [
        part
        for (_, part), reply in zip(parts, replies, strict=True)
        if (reply if isinstance(reply, bytes) else str(reply).encode()) == TYPES[part.kind].encode()
    ]
