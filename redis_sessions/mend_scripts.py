"""One typed coroutine for each Lua script that ``doctor`` mends with, or ``migrate`` converts with.

Each script looks and mends in one step, and without ``mend`` only looks: what is inconsistent only between
two reads is never taken for broken. All may be repeated, and come late, without harm.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoScriptError

from redis_sessions.errors import WrongTypeError
from redis_sessions.ids import EntryId, flow_hash
from redis_sessions.scripting import Runner, source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis_sessions.calls import Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.replication import Replication
    from redis_sessions.scripting import Limits
    from redis_sessions.transport import Transport

_AT_ONCE = 100
"""Scripts that are sent together: a server carries out what one client sent before it turns to others."""


class Answer(NamedTuple):
    """A script's status, and what came with it."""

    status: bytes
    values: list[bytes]


class Call(NamedTuple):
    """A script's keys and arguments."""

    keys: Sequence[bytes]
    args: Sequence[bytes | str | int]


class MendScripts(Runner):
    """The scripts of ``doctor`` and ``migrate``."""

    def __init__(self, calls: Calls, transport: Transport, replication: Replication, limits: Limits) -> None:
        super().__init__(calls, transport, replication, limits)
        self._transport = transport

    async def mend_session(
        self, calls: Sequence[tuple[FlowKeys, str]], *, mend: bool = False
    ) -> list[Answer]:
        """FINE, FOUND or MENDED (words), LOGLESS or UNREAD (record), CLASH (number, session), FOREIGN."""
        return await self._all(
            "mend_session",
            [
                Call(
                    (keys.log(session), keys.edits(session), keys.ids, keys.sessions),
                    (session, flow_hash(keys.flow_id), _flag(mend)),
                )
                for keys, session in calls
            ],
        )

    async def restore_session(
        self,
        keys: FlowKeys,
        session: str,
        record: bytes,
        first: EntryId,
        last: EntryId,
        length: int,
        lateness: int,
        numbers: Sequence[int],
        adopted: Sequence[tuple[bytes, EntryId]],
    ) -> Answer:
        """A record for a log that has none, or not all numbers: RESTORED, CHANGED, CLASH."""
        labels = [part for alias, entry in adopted for part in (alias, str(entry))]
        call = Call(
            (keys.log(session), keys.ids, keys.sessions, keys.aliases, *map(keys.adopted, numbers)),
            (
                session,
                record,
                str(first),
                str(last),
                length,
                lateness,
                ",".join(map(str, numbers)),
                *labels,
            ),
        )
        return (await self._all("restore_session", [call]))[0]

    async def mend_numbers(self, keys: FlowKeys, numbers: Sequence[bytes], *, mend: bool = False) -> Answer:
        """Numbers that lead to no session: FOUND or MENDED (numbers)."""
        return (await self._all("mend_numbers", [Call((keys.ids,), (_flag(mend), *numbers))]))[0]

    async def mend_alias(
        self, keys: FlowKeys, calls: Sequence[tuple[bytes, bytes, str | None]], *, mend: bool = False
    ) -> list[Answer]:
        """Adopted id, entry id, session: FINE, CHANGED, FOUND or MENDED (``message`` or ``set``)."""
        return await self._all(
            "mend_alias",
            [
                Call(
                    (keys.ids, keys.aliases, keys.log(session or ""), keys.adopted(number_of(entry))),
                    (alias, entry, session or "", _flag(mend)),
                )
                for alias, entry, session in calls
            ],
        )

    async def restore_alias(
        self, keys: FlowKeys, session: str, pairs: Sequence[tuple[bytes, EntryId]], *, mend: bool = False
    ) -> list[Answer]:
        """Adopted ids and the entries that have them: FINE, CHANGED, FOUND or MENDED."""
        return await self._all(
            "restore_alias",
            [
                Call(
                    (keys.ids, keys.aliases, keys.log(session), keys.adopted(entry.number)),
                    (alias, str(entry), session, _flag(mend)),
                )
                for alias, entry in pairs
            ],
        )

    async def mend_clash(
        self, keys: FlowKeys, session: str, record: bytes, last: str, length: int, number: int, keeper: str
    ) -> Answer:
        """Take a number that ``keeper`` has too from a session without messages of it: PARTED, CHANGED."""
        call = Call((keys.ids, keys.log(session)), (session, record, last, length, number, keeper))
        return (await self._all("mend_clash", [call]))[0]

    async def mend_edits(
        self, keys: FlowKeys, session: str, entries: Sequence[bytes], *, mend: bool = False
    ) -> Answer:
        """Changed contents of no message: FOUND or MENDED (entry ids)."""
        call = Call((keys.log(session), keys.edits(session)), (_flag(mend), *entries))
        return (await self._all("mend_edits", [call]))[0]

    async def mend_adopted(
        self, keys: FlowKeys, number: int, members: Sequence[bytes], *, mend: bool = False
    ) -> Answer:
        """Members that are not the number's: FOUND or MENDED (members)."""
        call = Call((keys.adopted(number), keys.ids, keys.aliases), (number, _flag(mend), *members))
        return (await self._all("mend_adopted", [call]))[0]

    async def convert_session(
        self,
        keys: FlowKeys,
        session: str,
        record: bytes,
        place: bytes,
        upto: bytes,
        bodies: Mapping[bytes, bytes],
    ) -> Answer:
        """A step of a session's conversion: MORE (place, record), CONVERTED, CHANGED, MISSING."""
        pairs = chain.from_iterable(bodies.items())
        call = Call(
            (keys.log(session), keys.ids, keys.converted(session)), (session, record, place, upto, *pairs)
        )
        return (await self._all("convert_session", [call]))[0]

    async def convert_edits(
        self, keys: FlowKeys, session: str, contents: Sequence[tuple[bytes, bytes, bytes]]
    ) -> Answer:
        """Changed contents (entry id, as read, in the present format): CONVERTED (count)."""
        call = Call((keys.edits(session),), tuple(chain.from_iterable(contents)))
        return (await self._all("convert_edits", [call]))[0]

    async def set_aside(self, key: bytes, aside: bytes, kind: str) -> Answer:
        """Give a key that is not of its ``kind`` another name: ASIDE, FINE, TAKEN."""
        return (await self._all("set_aside", [Call((key, aside), (kind,))]))[0]

    async def _all(self, name: str, calls: Sequence[Call]) -> list[Answer]:
        """The answers, in order; WRONGTYPE where a key is of a wrong type. A hundred calls go in one trip."""
        answers: list[Answer] = []
        for first in range(0, len(calls), _AT_ONCE):
            some = calls[first : first + _AT_ONCE]
            try:
                replies = await self._calls.read(lambda some=some: self._together(name, some))  # type: ignore[misc]
            except WrongTypeError:
                if len(some) > 1:
                    answers += [answer for call in some for answer in await self._all(name, [call])]
                else:
                    answers.append(Answer(b"WRONGTYPE", []))
                continue
            answers += [Answer(reply[0], reply[1:]) for reply in replies]
        return answers

    async def _together(self, name: str, calls: Sequence[Call]) -> list[list[bytes]]:
        sha = source(name).sha
        if len(calls) > 1:
            try:
                return await self._transport.scatter(
                    [
                        (call.keys[0], ("EVALSHA", sha, len(call.keys), *call.keys, *call.args))
                        for call in calls
                    ]
                )
            except NoScriptError:
                pass  # one at a time, each server learns it
        return [await self._eval(name, call.keys, call.args) for call in calls]


def number_of(entry: bytes) -> int:
    """The session number of an entry id; 0 for what is none."""
    try:
        return EntryId.parse(entry).number
    except ValueError:
        return 0


def _flag(mend: bool) -> str:
    return "1" if mend else ""
