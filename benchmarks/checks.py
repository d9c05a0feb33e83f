"""Does a subject do what it is measured for? Asked before anything is measured, in a small session.

What is stored in bulk must be read back as the library's own, an appended message must be the newest, a
changed one changed, a deleted one gone, and so on. An operation that lies, or fails, is not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.payloads import turn, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.subjects import Subject

_STORED = 30
_SESSION = "checked"
_RENAMED = "checked-and-renamed"
_OTHER = "another"


class LieError(Exception):
    """An operation did something else than it says."""


async def lies(subject: Subject) -> dict[str, str]:
    """Operations that do not do what they say, each with what happened; all if nothing is kept."""
    able = subject.can()
    try:
        await subject.fill_many({_SESSION: turns(_STORED), _OTHER: turns(3)})
        _expect(await subject.texts(_SESSION), [one.text for one in turns(_STORED)], "stored")
    except Exception as error:  # noqa: BLE001 - whatever a library raises, it cannot be measured
        return dict.fromkeys(able, _said(error))
    found: dict[str, str] = {}
    for operation, check in _CHECKS.items():
        if operation in able:
            try:
                await check(subject)
            except Exception as error:  # noqa: BLE001 - whatever a library raises, this one is left out
                found[operation] = _said(error)
    return found


async def _append(subject: Subject) -> None:
    before = await subject.texts(_SESSION)
    await subject.append(_SESSION, turn(_STORED))
    _expect(await subject.texts(_SESSION), [*before, turn(_STORED).text], "after it")


async def _history(subject: Subject) -> None:
    _expect(await subject.history(_SESSION, 20), 20, "messages of a history of 20")


async def _history_wire(subject: Subject) -> None:
    _expect(await subject.history_wire(_SESSION, 20), 20, "messages of a history of 20")


async def _update(subject: Subject) -> None:
    before = await subject.texts(_SESSION)
    await subject.update(_SESSION, "another text")
    after = await subject.texts(_SESSION)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    _expect(changed, ["another text"], "what changed")


async def _delete_message(subject: Subject) -> None:
    before = await subject.texts(_SESSION)
    await subject.delete_message(_SESSION)
    after = await subject.texts(_SESSION)
    _expect(len(after), len(before) - 1, "messages after it")
    if gone := set(after) - set(before):
        raise LieError(f"new texts after it: {gone}")


async def _rename(subject: Subject) -> None:
    before = await subject.texts(_SESSION)
    await subject.rename(_SESSION, _RENAMED)
    _expect(await subject.texts(_RENAMED), before, "under the new name")
    _expect(await subject.texts(_SESSION), [], "under the old name")
    await subject.rename(_RENAMED, _SESSION)
    _expect(await subject.texts(_SESSION), before, "back under the old name")


async def _list_sessions(subject: Subject) -> None:
    _expect(await subject.list_sessions(2), 2, "sessions of 2")


async def _recent(subject: Subject) -> None:
    _expect(await subject.recent(5), 5, "messages of 5")


async def _feed(subject: Subject) -> None:
    for number in range(3):
        await subject.feed(_OTHER, turn(number))


async def _delete_session(subject: Subject) -> None:
    kept = await subject.texts(_OTHER)
    await subject.delete_session(_SESSION)
    _expect(await subject.texts(_SESSION), [], "after it")
    _expect(await subject.texts(_OTHER), kept, "in another session")


_CHECKS: dict[str, Callable[[Subject], Awaitable[None]]] = {
    "append": _append,
    "history": _history,
    "history_wire": _history_wire,
    "update": _update,
    "delete_message": _delete_message,
    "rename": _rename,
    "list_sessions": _list_sessions,
    "recent": _recent,
    "feed": _feed,
    "delete_session": _delete_session,
}


def _expect(got: object, wanted: object, what: str) -> None:
    if got != wanted:
        raise LieError(f"{what}: {_short(got)} instead of {_short(wanted)}")


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{len(value)} texts"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200]
