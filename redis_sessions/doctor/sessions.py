"""Sessions: their log, edits, record, numbers and place in the flow's list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.doctor.ward import PAGE
from redis_sessions.entries import Record
from redis_sessions.errors import WrongTypeError
from redis_sessions.ids import EntryId, flow_hash, hash_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.doctor.ward import Ward
    from redis_sessions.keys import FlowKeys
    from redis_sessions.mend_scripts import Answer

_TRIES = 5
_WORDS = {
    b"edits": ("edit", "has changed contents and no messages", "dropped them"),
    b"record": ("record", "has a record that cannot be read, and no messages", "dropped it"),
    b"score": ("score", "is at another place in its flow's list than its last message", "moved it there"),
    b"listed": ("score", "is not in its flow's list", "entered it"),
    b"number": ("number", "has a number that the id map does not lead to it", "entered it"),
}


async def check_sessions(ward: Ward, sessions: Sequence[tuple[FlowKeys, str]]) -> None:
    """Look at some sessions, and mend them."""
    answers = await ward.scripts.mend_session(sessions)
    for (keys, session), answer in zip(sessions, answers, strict=True):
        if answer.status != b"FINE":
            await _check(ward, keys, session, answer)


async def _check(ward: Ward, keys: FlowKeys, session: str, answer: Answer) -> None:
    match answer.status:
        case b"FOUND":
            if ward.mend:
                [answer] = await ward.scripts.mend_session([(keys, session)], mend=True)
            if answer.status not in (b"FOUND", b"MENDED"):
                return  # somebody has changed it meanwhile
            for word in answer.values:
                kind, text, done = _WORDS[word]
                ward.found(kind, keys, session, text, done if answer.status == b"MENDED" else "")
        case b"LOGLESS":
            await _check_logless(ward, keys, session, answer.values[0])
        case b"UNREAD":
            await _restore(ward, keys, session, answer.values[0])
        case b"CLASH":
            ward.found("number", keys, session, "has a number that leads to another session")
        case b"FOREIGN":
            ward.found("foreign", keys, session, "begins or ends with an entry that is not of this flow")


async def _check_logless(ward: Ward, keys: FlowKeys, session: str, record: bytes) -> None:
    if (keys, session) in ward.logless:
        return  # met by its record, and now by its place in the list
    ward.logless.add((keys, session))
    [mortal] = await ward.read([(keys.ids, ("HGET", keys.ids, b"ttl"))])
    numbers = Record.parse(record).numbers if record else ()
    mended = ward.mend and await ward.parts.appender.forget(keys, session, numbers)
    if not mended:
        [again] = await ward.scripts.mend_session([(keys, session)])
        if again.status != b"LOGLESS":
            return
    kind, text = ("expired", "has expired") if mortal else ("name_without_log", "has no messages any more")
    ward.found(kind, keys, session, text, "dropped its name" if mended else "")


async def _restore(ward: Ward, keys: FlowKeys, session: str, record: bytes) -> None:
    """A log that nobody can read gets a record again, made of what is in it."""
    done = ""
    if ward.mend:
        for _ in range(_TRIES):
            found = await _walk(ward, keys, session)
            if found is None:
                return
            first, last, length, lateness, numbers, adopted = found
            answer = await ward.scripts.restore_session(
                keys, session, record, first, last, length, lateness, numbers, adopted
            )
            if answer.status != b"CHANGED":
                done = (
                    f"restored {length:,} {'message' if length == 1 else 'messages'}"
                    if answer.status == b"RESTORED"
                    else ""
                )
                break
            [now] = await ward.scripts.mend_session([(keys, session)])
            if now.status != b"UNREAD":
                return  # it was mended, or written to, meanwhile
            record = now.values[0]
    try:
        Record.parse(record)
        text = "has messages of a number that its record does not have"
    except WrongTypeError:
        text = "has messages and no record that can be read" if record else "has messages and no name"
    ward.found("log_without_name", keys, session, text, done)
    if done:
        await check_sessions(ward, [(keys, session)])


Walked = tuple[EntryId, EntryId, int, int, list[int], list[tuple[bytes, EntryId]]]


async def _walk(ward: Ward, keys: FlowKeys, session: str) -> Walked | None:
    """A log's first and last entry, its length and lateness, its numbers and its adopted ids."""
    log, own = keys.log(session), flow_hash(keys.flow_id)
    numbers: dict[int, None] = {}
    adopted: list[tuple[bytes, EntryId]] = []
    first: EntryId | None = None
    place: EntryId | None = None
    length = lateness = 0
    start = b"-"
    while True:
        [page] = await ward.read([(log, ("XRANGE", log, start, "+", "COUNT", PAGE))])
        for raw_id, flat in page:
            place = EntryId.parse(raw_id)
            first = first or place
            length += 1
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            if hash_of(place.number) == own:
                numbers.pop(place.number, None)
                numbers[place.number] = None  # the last entry's comes last
            if len(fields.get(b"i", b"")) == 16:
                adopted.append((fields[b"i"], place))
            if fields.get(b"t", b"").isdigit():
                lateness = max(lateness, place.us - int(fields[b"t"]))
        if len(page) < PAGE:
            break
        start = b"(%b" % page[-1][0]
    if first is None or place is None:
        return None
    return first, place, length, lateness, list(numbers)[::-1], adopted
