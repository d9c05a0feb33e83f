"""Keys that hold another Redis type than they are to hold, and keys of no known kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.keys import TYPES

if TYPE_CHECKING:
    from redis_sessions.doctor.ward import Ward

_NONE = b"none"


async def check_types(ward: Ward, page: list[bytes]) -> None:
    """Look at the types of some keys. One of a wrong type is renamed: nothing of it is lost."""
    replies = await ward.read([(key, ("TYPE", key)) for key in page])
    for key, reply in zip(page, replies, strict=True):
        present = reply if isinstance(reply, bytes) else str(reply).encode()
        wanted = _type_of(ward, key)
        if present == _NONE or wanted == "":
            continue
        part = ward.parts.keys.parse(key)
        keys = ward.parts.keys.flow(part.flow_id) if part else None
        name = key.decode(errors="backslashreplace")
        if wanted is None:
            ward.found("unknown_key", keys, name, "not a key of this version of redis-sessions; left alone")
        elif present.decode() != wanted:
            text = f"holds a {present.decode()} and is to hold a {wanted}"
            ward.found("wrong_type", keys, name, text, await _set_aside(ward, key, wanted))


def _type_of(ward: Ward, key: bytes) -> str | None:
    """The type that a key is to hold; empty: any; None: it is not known."""
    part = ward.parts.keys.parse(key)
    if part is None:
        return ward.parts.keys.type_of(key)
    return {"aside": "", "merge": "stream", **TYPES}.get(part.kind)


async def _set_aside(ward: Ward, key: bytes, wanted: str) -> str:
    if not ward.mend:
        return ""
    part = ward.parts.keys.parse(key)
    if part is None and b"{" in key:
        return ""  # its slot is not for us to know
    aside = ward.parts.keys.flow(part.flow_id).aside(key) if part else ward.parts.keys.aside(key)
    answer = await ward.scripts.set_aside(key, aside, wanted)
    if answer.status == b"TAKEN":
        return ""
    if part and part.kind == "ids":
        ward.ownerless.add(part.flow_id)
    if part and part.kind == "aliases":
        ward.aliasless.add(part.flow_id)
    return f"renamed to {aside.decode(errors='backslashreplace')}; look at it, then delete it"
