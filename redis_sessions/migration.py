"""Converting what is stored to the present format, session by session, while the store is in use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from redis_sessions.doctor.ward import Ward
from redis_sessions.errors import ContentionError
from redis_sessions.formats import FORMAT, check_format

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.keys import FlowKeys
    from redis_sessions.store import SessionStore

_COUNT = 500
"""Entries of a step: about 5 ms of the server's time."""
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
    count = _COUNT
    for turn in range(_TRIES):
        if turn == _TRIES - 1:  # it changes all the time, as one that is trimmed does: in one step
            [length] = await ward.read([(keys.ids, ("XLEN", keys.log(session)))])
            count = int(length) + _COUNT
        old, place, record = 0, b"", b""
        while True:
            answer = await ward.scripts.convert_session(keys, session, record, place, count, convert=convert)
            if answer.status == b"MISSING":
                return 0
            if answer.status == b"CHANGED":
                break
            old += int(answer.values[1])
            if answer.status != b"MORE":
                return old
            place, record = answer.values[0], record or answer.values[2]
    msg = f"session {session!r} of flow {keys.flow_id!r} kept changing; run it again"
    raise ContentionError(msg)
