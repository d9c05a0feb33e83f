"""Sessions: their log, edits, record, numbers and place in the flow's list."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from redis_sessions.doctor.ward import PAGE
from redis_sessions.entries import Record
from redis_sessions.errors import WrongTypeError
from redis_sessions.ids import EntryId, flow_hash, hash_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

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
            if answer.status == b"MENDED" and b"number" in answer.values:
                await restore_aliases(ward, keys, session)  # what dropped the number has dropped them with it
        case b"LOGLESS":
            await _check_logless(ward, keys, session, answer.values[0])
        case b"UNREAD":
            await _restore(ward, keys, session, answer.values[0])
        case b"CLASH":
            await _part(ward, keys, session, int(answer.values[0]), answer.values[1].decode())
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


async def _part(ward: Ward, keys: FlowKeys, session: str, number: int, other: str) -> None:
    """Two sessions that have the same number: the one with messages of it keeps it, if only one has some."""
    text = f"has the number {number}, which session {other!r} has too"
    walks = {name: await _walk(ward, keys, name) for name in (session, other)}
    keepers = [name for name, walked in walks.items() if walked and number in walked[4]] or [other]
    done = ""
    if len(keepers) > 1:
        text += (
            f", and both have messages of it: an id of these finds only those of {other!r}. "
            "Look at both, delete the session that is wrong, and mend again"
        )
    elif ward.mend:
        [keeper] = keepers
        loser = session if keeper == other else other
        [record] = await ward.read([(keys.ids, ("HGET", keys.ids, b"s" + loser.encode()))])
        _, last, length, *_ = walks[loser] or (None, "", 0)
        answer = await ward.scripts.mend_clash(keys, loser, record or b"", str(last), length, number, keeper)
        if answer.status != b"PARTED":
            return  # somebody has written to it meanwhile: the next examination looks again
        done = f"it is that of {keeper!r} alone now"
    ward.found("number", keys, session, text, done)
    if done:
        await check_sessions(ward, [(keys, session), (keys, other)])


Walked = tuple[EntryId, EntryId, int, int, list[int], list[tuple[bytes, EntryId]]]


async def _walk(ward: Ward, keys: FlowKeys, session: str) -> Walked | None:
    """A log's first and last entry, its length and lateness, its numbers and its adopted ids."""
    log, own = keys.log(session), flow_hash(keys.flow_id)
    numbers: dict[int, None] = {}
    adopted: list[tuple[bytes, EntryId]] = []
    first: EntryId | None = None
    place: EntryId | None = None
    length = lateness = 0
    async for page in entries_of(ward, log):
        for place, fields in page:
            first = first or place
            length += 1
            if hash_of(place.number) == own:
                numbers.pop(place.number, None)
                numbers[place.number] = None  # the last entry's comes last
            if len(fields.get(b"i", b"")) == 16:
                adopted.append((fields[b"i"], place))
            if fields.get(b"t", b"").isdigit():
                lateness = max(lateness, place.us - int(fields[b"t"]))
    if first is None or place is None:
        return None
    return first, place, length, lateness, list(numbers)[::-1], adopted


async def restore_aliases(ward: Ward, keys: FlowKeys, session: str) -> set[bytes]:
    """Adopted ids that a session's messages have and that lead nowhere: they lead there again. These ids."""
    restored = set()
    async for page in entries_of(ward, keys.log(session)):
        pairs = [(alias, entry) for entry, fields in page if len(alias := fields.get(b"i", b"")) == 16]
        answers = await ward.scripts.restore_alias(keys, session, pairs, mend=ward.mend)
        for (alias, _), answer in zip(pairs, answers, strict=True):
            if answer.status in (b"FOUND", b"MENDED"):
                done = "entered it" if answer.status == b"MENDED" else ""
                ward.found("alias", keys, shown_id(alias), "a message has it, and it leads nowhere", done)
                restored.add(alias)
    return restored


def shown_id(raw: bytes) -> str:
    return str(UUID(bytes=raw)) if len(raw) == 16 else shown(raw)


def shown(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


async def entries_of(
    ward: Ward, log: bytes
) -> AsyncGenerator[list[tuple[EntryId, dict[bytes, bytes]]], None]:
    """A log's entries with their fields, a page at a time; none for a key of a wrong type."""
    start = b"-"
    while True:
        [page] = await ward.read([(log, ("XRANGE", log, start, "+", "COUNT", PAGE))])
        if not page:
            return
        yield [(EntryId.parse(raw), dict(zip(flat[::2], flat[1::2], strict=True))) for raw, flat in page]
        if len(page) < PAGE:
            return
        start = b"(%b" % page[-1][0]
