"""The maps of a flow: session names and numbers, adopted ids, changed contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.doctor.sessions import check_sessions, restore_aliases, shown, shown_id
from redis_sessions.mend_scripts import number_of

if TYPE_CHECKING:
    from redis_sessions.doctor.ward import Ward
    from redis_sessions.keys import FlowKeys


async def check_ids(ward: Ward, keys: FlowKeys) -> None:
    """Records whose log is not there, and numbers that lead to no session."""
    async for page in ward.members("HSCAN", keys.ids):
        names = [field[1:] for field, _ in page if field[:1] == b"s"]
        await _check_names(ward, keys, names)
        numbers = [field[1:] for field, _ in page if field[:1] == b"n"]
        if not numbers:
            continue
        answer = await ward.scripts.mend_numbers(keys, numbers)
        if answer.values and ward.mend:
            answer = await ward.scripts.mend_numbers(keys, answer.values, mend=True)
        for number in answer.values:
            text = "leads to a session that does not have it, or is not there"
            done = "dropped it" if answer.status == b"MENDED" else ""
            ward.found("number", keys, shown(number), text, done)


async def check_list(ward: Ward, keys: FlowKeys) -> None:
    """Listed sessions whose log is not there."""
    async for page in ward.members("ZSCAN", keys.sessions):
        await _check_names(ward, keys, [member for member, _ in page])


async def _check_names(ward: Ward, keys: FlowKeys, names: list[bytes]) -> None:
    """Those that have a log are checked where their log is found."""
    sessions = [name.decode(errors="surrogateescape") for name in names]
    there = await ward.read([(keys.ids, ("EXISTS", keys.log(name))) for name in _sound(sessions)])
    gone = [name for name, exists in zip(_sound(sessions), there, strict=True) if not exists]
    await check_sessions(ward, [(keys, name) for name in gone])


def _sound(names: list[str]) -> list[str]:
    """Those that are UTF-8, as all session ids are."""
    return [name for name in names if name.isprintable() or _is_utf8(name)]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


async def check_aliases(ward: Ward, keys: FlowKeys) -> None:
    """Adopted ids that no message has."""
    async for page in ward.members("HSCAN", keys.aliases):
        numbers = {entry: b"n%d" % number_of(entry) for _, entry in page}
        [names] = await ward.read([(keys.ids, ("HMGET", keys.ids, *numbers.values()))])
        if names is None:  # the id map is of a wrong type, and not mended
            return
        sessions = dict(zip(numbers, names, strict=True))
        calls = [
            (alias, entry, name.decode() if (name := sessions[entry]) is not None else None)
            for alias, entry in page
        ]
        answers = await ward.scripts.mend_alias(keys, calls)
        for call, answer in zip(calls, answers, strict=True):
            if answer.status != b"FOUND":
                continue
            if ward.mend:
                [answer] = await ward.scripts.mend_alias(keys, [call], mend=True)
            if answer.status not in (b"FOUND", b"MENDED"):
                continue
            lost = answer.values == [b"message"]
            text = "no message has it" if lost else "it is not in the set of its session"
            done = ("dropped it" if lost else "entered it") if answer.status == b"MENDED" else ""
            ward.found("alias", keys, shown_id(call[0]), text, done)


async def check_adopted(ward: Ward, keys: FlowKeys, name: str) -> None:
    """Adopted ids in the set of a session that they do not belong to."""
    if not name.isdigit():
        ward.found("unknown_key", keys, f"adopted:{name}", "not the set of a session; left alone")
        return
    number = int(name)
    with_message: set[bytes] | None = None
    async for page in ward.members("SSCAN", keys.adopted(number)):
        answer = await ward.scripts.mend_adopted(keys, number, page)
        if not answer.values:
            continue
        if with_message is None:
            [session] = await ward.read([(keys.ids, ("HGET", keys.ids, b"n%d" % number))])
            with_message = await restore_aliases(ward, keys, session.decode()) if session else set()
        wrong = [member for member in answer.values if member not in with_message]
        if wrong and ward.mend:
            answer = await ward.scripts.mend_adopted(keys, number, wrong, mend=True)
            wrong = answer.values
        for member in wrong:
            done = "took it out" if answer.status == b"MENDED" else ""
            ward.found("adopted", keys, shown_id(member), f"is in the set of session number {number}", done)


async def check_edits(ward: Ward, keys: FlowKeys, session: str) -> None:
    """Changed contents of messages that are not there."""
    async for page in ward.members("HSCAN", keys.edits(session)):
        answer = await ward.scripts.mend_edits(keys, session, [entry for entry, _ in page])
        if answer.values and ward.mend:
            answer = await ward.scripts.mend_edits(keys, session, answer.values, mend=True)
        for entry in answer.values:
            done = "dropped it" if answer.status == b"MENDED" else ""
            text = f"a changed content of entry {shown(entry)}, which is not there"
            ward.found("edit", keys, session, text, done)
