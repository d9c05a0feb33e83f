"""Reads: plain commands, no Lua; exact newest-n windows and pages.

Entries are in a stream by their id, whose µs is never below their timestamp; messages are ordered by
(timestamp, entry id). So the newest n of what was read from the tail are final once the n-th timestamp is
not below the µs of the last entry read: nothing further back can be newer.

Every trip reads the session's record before and after the entries. Renames, merges and removals change the
record, so equal records mean that no such thing came between: otherwise the read starts over.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from redis_sessions.entries import Entries, Entry, Record, same_place
from redis_sessions.errors import ContentionError
from redis_sessions.pages import decode_page, splice_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Message
    from redis_sessions.transport import Command, Transport

T = TypeVar("T")

_FIRST_CHUNK = 100
_LARGEST_FIRST_CHUNK = 250
_LARGEST_CHUNK = 1_000
_CHUNK_BYTES = 2 * 1024 * 1024
"""Of further chunks: their size is known from those before. One command is not to keep all others waiting."""

DOUBTS = 5
"""How often a session that does not have the number it is said to have is looked at again. It was renamed
between two looks, if it is not that the data is damaged."""


class Window(NamedTuple):
    """The end of a session's order: entries, newest first, and the record they were read under."""

    entries: list[Entry]
    record: Record | None
    restarted: bool = False
    """The session changed between two trips, so that the read started over."""


class _ChangedError(Exception):
    """The session changed between two trips: start over."""


class Reader(Entries):
    """Reads of sessions and messages."""

    def __init__(self, calls: Calls, transport: Transport) -> None:
        super().__init__(calls.counters)
        self._calls = calls
        self._transport = transport

    async def newest(
        self,
        keys: FlowKeys,
        session: str,
        limit: int,
        *,
        before: tuple[int, EntryId] | None = None,
        floor_us: int = 0,
        accept: Callable[[Entry], bool] | None = None,
        attempt: Attempt | None = None,
        first_trip: Sequence[Any] | None = None,
    ) -> Window:
        """The newest ``limit`` messages before a place that ``accept`` (given current content) lets pass.

        Entries below ``floor_us`` need not be returned. One round trip when nothing was late, edited or
        refused; exact in any case. ``first_trip`` is the replies to :meth:`trip` with this limit and floor,
        where the caller has them already.
        """
        attempt = attempt or self._calls.begin()
        restarted = False
        while True:
            try:
                window = await self._newest(
                    keys, session, limit, before, floor_us, accept, attempt, first_trip
                )
                return window._replace(restarted=True) if restarted else window
            except _ChangedError:
                first_trip = None
                restarted = True
                if attempt.remaining <= 0:
                    msg = "the session kept changing during the read, until the deadline: try again"
                    raise ContentionError(msg) from None

    async def _newest(
        self,
        keys: FlowKeys,
        session: str,
        limit: int,
        before: tuple[int, EntryId] | None,
        floor_us: int,
        accept: Callable[[Entry], bool] | None,
        attempt: Attempt,
        first_trip: Sequence[Any] | None,
    ) -> Window:
        log, edits = keys.log(session), keys.edits(session)
        name = b"s" + session.encode()
        upper = b"%d" % before[0] if before else b"+"
        # One more for the message that the cursor was taken from.
        chunk = self.first_count(limit, filtered=accept is not None) + (before is not None)
        found: list[Entry] = []
        record_text: bytes | None = None
        first = True
        while True:
            chunk = min(chunk, _LARGEST_CHUNK)
            replies: Any = first_trip
            if replies is None:
                commands = self.trip(keys, session, chunk, upper=upper, floor_us=floor_us)
                replies = await self._calls.read(
                    lambda commands=commands: self._transport.run(log, *commands),  # type: ignore[misc]
                    attempt,
                )
            prior, raw, edited, record_now = replies
            first_trip = None
            if not first and prior != record_text and not same_place(prior, record_text):
                raise _ChangedError
            if prior != record_now and not same_place(prior, record_now):
                raise _ChangedError
            record_text = record_now
            if record_now is None:
                return Window([], None)
            record = Record.parse(record_now)
            if first and before and record.lateness:
                # Late entries lie above their timestamp: start again from where the latest of them can be.
                first = False
                upper = b"%d" % (before[0] + record.lateness)
                continue
            first = False
            page = self.ours(raw, record, log)
            if edited:
                page = await self._with_edits(keys, edits, name, page, record_text, attempt)
            if before:
                page = [entry for entry in page if entry.order < before]
            if accept:
                page = [entry for entry in page if accept(entry)]
            found += page
            if record.lateness:
                found.sort(key=_order, reverse=True)
            exhausted = len(raw) < chunk
            if exhausted:
                return Window(found[:limit], record)
            if len(found) >= limit and found[limit - 1].at >= int(raw[-1][0].partition(b"-")[0]):
                return Window(found[:limit], record)
            upper = b"(%b" % raw[-1][0]
            average = sum(len(value) for _, fields in raw for value in fields) // len(raw) + 1
            chunk = max(min(max(chunk, _FIRST_CHUNK) * 2, _CHUNK_BYTES // average), 1)

    @staticmethod
    def first_count(limit: int, *, filtered: bool) -> int:
        """How many entries the first :meth:`trip` asks for."""
        return min(max(limit, _FIRST_CHUNK) if filtered else limit, _LARGEST_FIRST_CHUNK)

    @staticmethod
    def trip(
        keys: FlowKeys, session: str, count: int, *, upper: bytes = b"+", floor_us: int = 0
    ) -> tuple[Command, ...]:
        """The commands of one trip: four replies."""
        log, name = keys.log(session), b"s" + session.encode()
        floor = b"%d" % floor_us if floor_us else b"-"
        return (
            ("HGET", keys.ids, name),
            ("XREVRANGE", log, upper, floor, "COUNT", count),
            ("EXISTS", keys.edits(session)),
            ("HGET", keys.ids, name),
        )

    async def _with_edits(
        self,
        keys: FlowKeys,
        edits: bytes,
        name: bytes,
        page: list[Entry],
        record_text: bytes,
        attempt: Attempt,
    ) -> list[Entry]:
        """The page with the current content of changed messages: the second trip."""
        if not page:
            return page
        places = [entry.raw_id for entry in page]
        current, record_now = await self._calls.read(
            lambda: self._transport.run(edits, ("HMGET", edits, *places), ("HGET", keys.ids, name)), attempt
        )
        if record_now != record_text and not same_place(record_now, record_text):
            raise _ChangedError
        return [
            entry if body is None else entry._replace(body=body)
            for entry, body in zip(page, current, strict=True)
        ]

    async def at(
        self, keys: FlowKeys, session: str, places: Sequence[EntryId], attempt: Attempt | None = None
    ) -> list[Entry | None]:
        """The entries at these places of one session; None for one that is not there."""
        return (await self.look(keys, session, places, attempt))[1]

    async def look(
        self, keys: FlowKeys, session: str, places: Sequence[EntryId], attempt: Attempt | None = None
    ) -> tuple[Sequence[int], list[Entry | None]]:
        """As :meth:`at`, with the numbers that the session had then.

        At a place with one of these numbers where nothing was found, there never will be anything again.
        """
        log, edits = keys.log(session), keys.edits(session)
        name = b"s" + session.encode()
        attempt = attempt or self._calls.begin()
        texts = [str(place) for place in places]
        while True:
            prior, current, *raws, record_now = await self._calls.read(
                lambda: self._transport.run(
                    log,
                    ("HGET", keys.ids, name),
                    # Content before entries: an entry that is there has had no other content since.
                    ("HMGET", edits, *texts),
                    *(("XRANGE", log, text, text) for text in texts),
                    ("HGET", keys.ids, name),
                ),
                attempt,
            )
            if prior == record_now or same_place(prior, record_now):
                break
            if attempt.remaining <= 0:
                msg = "the session kept changing during the read, until the deadline: try again"
                raise ContentionError(msg)
        if record_now is None:
            return (), [None] * len(places)
        record = Record.parse(record_now)
        found: list[Entry | None] = []
        for raw, body in zip(raws, current, strict=True):
            entries = self.ours(raw, record, log)
            entry = entries[0] if entries else None
            found.append(entry._replace(body=body) if entry and body is not None else entry)
        return record.numbers, found

    async def is_alive(self, keys: FlowKeys, place: EntryId, attempt: Attempt) -> bool:
        """Whether there is an entry at this place of the flow."""
        for _ in range(DOUBTS):
            (name,) = await self._calls.read(
                lambda: self._transport.run(keys.ids, ("HGET", keys.ids, b"n%d" % place.number)), attempt
            )
            if name is None:
                return False
            numbers, (entry,) = await self.look(keys, name.decode(), [place], attempt)
            if entry is not None:
                return entry.alias is None
            if place.number in numbers:
                return False
        return False

    async def record(self, keys: FlowKeys, session: str, attempt: Attempt | None = None) -> Record | None:
        """The session's record, or None when there is no such session."""
        (text,) = await self._calls.read(
            lambda: self._transport.run(keys.ids, ("HGET", keys.ids, b"s" + session.encode())), attempt
        )
        return None if text is None else Record.parse(text)

    async def newest_as(
        self,
        convert: Callable[[FlowKeys, str, Sequence[Entry]], list[T]],
        keys: FlowKeys,
        session: str,
        limit: int,
        *,
        before: tuple[int, EntryId] | None = None,
        first_trip: Sequence[Any] | None = None,
    ) -> list[T]:
        """:meth:`newest` through :meth:`to_messages` or :meth:`to_wire`, oldest first.

        A corrupt entry is left out and the window filled up behind it.
        """
        attempt = self._calls.begin()
        window = await self.newest(
            keys, session, limit, before=before, attempt=attempt, first_trip=first_trip
        )
        entries = window.entries
        converted = convert(keys, session, entries[::-1])
        if len(converted) < len(entries):
            window = await self.newest(
                keys,
                session,
                limit,
                before=before,
                accept=lambda entry: bool(self.to_messages(keys, session, [entry])),
                attempt=attempt,
            )
            converted = convert(keys, session, window.entries[::-1])
        return converted

    async def newest_messages(
        self, keys: FlowKeys, session: str, limit: int, *, before: tuple[int, EntryId] | None = None
    ) -> list[Message]:
        """The newest ``limit`` before a place, oldest first."""
        return await self._newest_page(decode_page, self.to_messages, keys, session, limit, before)

    async def newest_json(
        self, keys: FlowKeys, session: str, limit: int, *, before: tuple[int, EntryId] | None = None
    ) -> list[bytes]:
        """The newest ``limit`` before a place as JSON objects of ``GET /monitor/messages``, oldest first."""
        return await self._newest_page(splice_page, self.to_wire, keys, session, limit, before)

    async def _newest_page(
        self,
        convert_page: Callable[[str, str, Sequence[Any], Sequence[int]], list[T] | None],
        convert: Callable[[FlowKeys, str, Sequence[Entry]], list[T]],
        keys: FlowKeys,
        session: str,
        limit: int,
        before: tuple[int, EntryId] | None,
    ) -> list[T]:
        """:meth:`newest_as`; a page with nothing late, edited or adopted in it is converted as a whole."""
        first_trip = None
        if before is None and limit <= _LARGEST_FIRST_CHUNK:
            commands = self.trip(keys, session, limit)
            first_trip = await self._calls.read(lambda: self._transport.run(keys.ids, *commands))
            prior, raw, edited, record_now = first_trip
            if prior == record_now and not edited and record_now is not None:
                record = Record.parse(record_now)
                page = None if record.lateness else convert_page(keys.flow_id, session, raw, record.numbers)
                if page is not None:
                    return page
        return await self.newest_as(convert, keys, session, limit, before=before, first_trip=first_trip)


_order = attrgetter("order")
