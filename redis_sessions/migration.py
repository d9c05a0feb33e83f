"""Converting what is stored to the present format, session by session, while the store is in use."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from redis_sessions.doctor.ward import Ward
from redis_sessions.errors import ContentionError, WrongTypeError
from redis_sessions.formats import FORMAT, check_format, to_present

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.keys import FlowKeys
    from redis_sessions.store import SessionStore

_COUNT = 500
"""Entries of a step: about 5 ms of the server's time."""
_BYTES = 1024 * 1024
"""Bytes of bodies after which a step takes no further one."""
_TRIES = 5


@dataclass(slots=True)
class Migration:
    """What a migration did, or would do.

    Attributes:
        format: the format of this package.
        stored: the format that the store said it had before; None: none.
        sessions: how many were looked at.
        old_sessions: how many of them have messages of an older format.
        old_messages: how many messages those are, changed contents among them.
        converted: these were converted.
    """

    format: int = FORMAT
    stored: int | None = None
    sessions: int = 0
    old_sessions: int = 0
    old_messages: int = 0
    converted: bool = False

    def as_json(self) -> dict[str, Any]:
        """The shape of ``migrate --json``."""
        return asdict(self)


async def migrate(
    store: SessionStore, *, dry_run: bool = False, on_session: Callable[[Migration], None] | None = None
) -> Migration:
    """Convert all messages of older formats; with ``dry_run`` only count them. May be repeated.

    Messages keep their ids, order and places. Readers and writers go on meanwhile: a session is put in place
    in one step when all of it is converted.

    Args:
        on_session: called after each session.

    Raises:
        ContentionError: a session kept changing; those before it are converted: run it again.
        OutOfMemoryError: Redis has no room for the largest session once more.
    """
    parts = store._parts
    ward = Ward(parts, mend=False, settle=0)
    done = Migration(stored=await check_format(parts.calls, parts.transport, parts.keys))
    for flow in await parts.registry.flows():
        keys = parts.keys.flow(flow)
        async for page in ward.members("ZSCAN", keys.sessions):
            for member, _ in page:
                session = member.decode()
                old = await _walk(ward, keys, session, convert=False)
                if old and not dry_run:
                    await _walk(ward, keys, session, convert=True)
                done.sessions += 1
                done.old_sessions += bool(old)
                done.old_messages += old
                if on_session is not None:
                    on_session(done)
    if not dry_run:
        done.converted = True
        await parts.calls.write(
            lambda _: parts.replication.run(parts.keys.format, ("SET", parts.keys.format, FORMAT), bool),
            parts.calls.begin(),
        )
    return done


async def _walk(ward: Ward, keys: FlowKeys, session: str, *, convert: bool) -> int:
    """How many messages of a session are, or were, of an older format."""
    for turn in range(_TRIES):
        # One that changes all the time, as one that is trimmed does: in one step.
        old = await _walk_log(ward, keys, session, convert=convert, whole=turn == _TRIES - 1)
        if old is not None:
            return old + await _walk_edits(ward, keys, session, convert=convert)
    msg = f"session {session!r} of flow {keys.flow_id!r} kept changing; run it again"
    raise ContentionError(msg)


async def _walk_log(ward: Ward, keys: FlowKeys, session: str, *, convert: bool, whole: bool) -> int | None:
    """The old ones among the entries of a log; None when the session changed meanwhile."""
    log = keys.log(session)
    with contextlib.suppress(WrongTypeError):  # doctor's concern
        await ward.parts.reader.record(keys, session)  # of a later format it is not touched
    old, place, record = 0, b"", b""
    while True:
        start = b"(" + place if place else b"-"
        limit = () if whole else ("COUNT", _COUNT)
        [page] = await ward.read([(keys.ids, ("XRANGE", log, start, b"+", *limit))])
        entries = [(entry, dict(zip(fields[::2], fields[1::2], strict=True))) for entry, fields in page or ()]
        some = entries if whole else entries[: _fitting([values.get(b"b", b"") for _, values in entries])]
        made = ((entry, to_present(values.get(b"b", b""))) for entry, values in some)
        bodies = {entry: body for entry, body in made if body is not None}
        old += len(bodies)
        is_last = whole or (len(entries) < _COUNT and len(some) == len(entries))
        upto = b"+" if is_last else some[-1][0]
        if convert:
            answer = await ward.scripts.convert_session(keys, session, record, place, upto, bodies)
            if answer.status == b"CHANGED":
                return None
            if answer.status != b"MORE":
                return 0 if answer.status == b"MISSING" else old
            record = record or answer.values[1]
        elif is_last:
            return old
        place = upto


async def _walk_edits(ward: Ward, keys: FlowKeys, session: str, *, convert: bool) -> int:
    """The old ones among a session's changed contents."""
    seen: set[bytes] = set()
    async for page in ward.members("HSCAN", keys.edits(session)):
        made = ((entry, body, to_present(body)) for entry, body in page)
        contents = [(entry, body, present) for entry, body, present in made if present is not None]
        seen.update(entry for entry, _, _ in contents)
        while convert and contents:
            count = _fitting([body for _, body, _ in contents])
            await ward.scripts.convert_edits(keys, session, contents[:count])
            contents = contents[count:]
    return len(seen)


def _fitting(bodies: list[bytes]) -> int:
    """How many of them make a step: one at least, whatever its size."""
    size = 0
    for count, body in enumerate(bodies):
        size += len(body)
        if count and size > _BYTES:
            return count
    return len(bodies)
