"""Watching a flow: its change feed turned into events, resumable, with gaps told.

The feed is a capped stream; each write leaves one entry that names what it touched. Contents are read when
an event is delivered, so an event carries the message as it is now.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from redis_sessions.body import CorruptEntryError
from redis_sessions.errors import FeedGapError, InvalidCursorError
from redis_sessions.ids import EntryId, to_message_id
from redis_sessions.models import Event
from redis_sessions.reader import to_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis_sessions.calls import Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Message
    from redis_sessions.reader import Reader
    from redis_sessions.transport import Transport

_BEGINNING = "0-0"
_EVENT_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z")
_LARGEST = 2**64 - 1
_ENTRIES = 200
_GAP = (
    "the change feed no longer reaches back to this place: read the state afresh, "
    "then watch on from resume_after"
)


class _Change(NamedTuple):
    """One message that an event of the feed touched, before its content is read."""

    type: str
    event_id: str
    session: str
    place: EntryId
    message_id: str
    old_session: str | None = None


class Feed:
    """Reads of change feeds."""

    def __init__(self, calls: Calls, transport: Transport, reader: Reader, block_ms: int) -> None:
        self._calls = calls
        self._transport = transport
        self._reader = reader
        self._block_ms = block_ms

    async def last(self, keys: FlowKeys) -> str:
        """The place after which the next event will come."""
        (newest,) = await self._calls.read(
            lambda: self._transport.run(keys.feed, ("XREVRANGE", keys.feed, "+", "-", "COUNT", 1))
        )
        return newest[0][0].decode() if newest else _BEGINNING

    async def watch(self, keys: FlowKeys, session: str | None, after: str | None) -> AsyncIterator[Event]:
        """Events behind ``after`` (None: from now on), for ever.

        Raises:
            InvalidCursorError: ``after`` is not an event's id.
            FeedGapError: the feed no longer reaches back; also when it expired in between.
            StoreUnavailableError: Redis was away for longer than the deadline. Watch again after the last
                event's id; nothing is lost while the feed reaches back.
        """
        if after is None:
            cursor = await self.last(keys)
        elif _EVENT_ID.match(after) and max(EntryId.parse(after)) <= _LARGEST:
            cursor = after
            (at_cursor,) = await self._calls.read(
                lambda: self._transport.run(keys.feed, ("XRANGE", keys.feed, after, after))
            )
            if not at_cursor and after != _BEGINNING:
                raise FeedGapError(_GAP, resume_after=await self.last(keys))
        else:
            msg = "after= is the id of an event of this flow"
            raise InvalidCursorError(msg)
        while True:
            batch = await self._next(keys, cursor)
            if not batch:
                continue
            for event in await self._events(keys, session, batch):
                yield event
            cursor = batch[-1][0].decode()

    async def _next(self, keys: FlowKeys, cursor: str) -> list[Any]:
        """The next feed entries, waiting for them a while; none of them skipped."""
        streams, at_cursor, oldest = await self._calls.read(
            lambda: self._transport.run(
                keys.feed,
                ("XREAD", "COUNT", 100, "BLOCK", self._block_ms, "STREAMS", keys.feed, cursor),
                ("XRANGE", keys.feed, cursor, cursor),
                ("XRANGE", keys.feed, "-", "+", "COUNT", 1),
            )
        )
        if not streams:
            return []
        # Trimming takes the oldest first: while the cursor's own event is there, none behind it was lost.
        # The feed's first event ever is marked `o`: while that is there, nothing was lost at all.
        complete = at_cursor or (cursor == _BEGINNING and oldest and b"o" in oldest[0][1][::2])
        if not complete:
            raise FeedGapError(_GAP, resume_after=await self.last(keys))
        return _entries_of(streams)

    async def _events(self, keys: FlowKeys, session: str | None, batch: Sequence[Any]) -> list[Event]:
        changes: list[_Change | Event] = []
        for raw_id, flat in batch:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            try:
                changes += self._changes(keys, raw_id.decode(), fields)
            except (KeyError, ValueError) as error:  # not an event of ours
                self._reader.report_corrupt(keys.feed, raw_id, type(error).__name__)
        if session is not None:
            changes = [seen for change in changes if (seen := _as_seen_by(session, change)) is not None]
        wanted = [change for change in changes if isinstance(change, _Change) and change.type != "deleted"]
        contents = await self._contents(keys, wanted)
        events = []
        for change in changes:
            if isinstance(change, Event):
                events.append(change)
                continue
            message = contents.get(change.place) if change.type != "deleted" else None
            events.append(
                Event(
                    type=change.type,  # type: ignore[arg-type]
                    id=change.event_id,
                    flow_id=keys.flow_id,
                    session_id=change.session,
                    message_id=change.message_id,
                    message=message,
                    old_session_id=change.old_session,
                )
            )
        return events

    @staticmethod
    def _changes(keys: FlowKeys, event_id: str, fields: dict[bytes, bytes]) -> list[_Change | Event]:
        verb = fields.get(b"e", b"").decode()
        session = fields.get(b"s", b"").decode()
        if verb == "append":
            created: list[_Change | Event] = [
                _Change("created", event_id, session, *_named(label)) for label in fields[b"i"].split(b",")
            ]
            trimmed = fields.get(b"x")
            if trimmed:
                created += [
                    _Change("deleted", event_id, session, *_named(label)) for label in trimmed.split(b",")
                ]
            return created
        if verb == "update":
            return [_Change("updated", event_id, session, *_named(fields[b"i"]))]
        if verb == "delete":
            return [
                _Change("deleted", event_id, session, *_named(label)) for label in fields[b"i"].split(b",")
            ]
        if verb == "move":
            return [_Change("updated", event_id, session, *_named(fields[b"j"]), fields[b"old"].decode())]
        if verb == "rename":
            old = fields[b"old"].decode()
            return [Event("renamed", event_id, keys.flow_id, session, old_session_id=old)]
        if verb == "delete_session":
            return [Event("deleted", event_id, keys.flow_id, session)]
        return []

    async def _contents(self, keys: FlowKeys, changes: Sequence[_Change]) -> dict[EntryId, Message]:
        """The present messages at the places of these changes."""
        if not changes:
            return {}
        numbers = sorted({change.place.number for change in changes})
        (names,) = await self._calls.read(
            lambda: self._transport.run(keys.ids, ("HMGET", keys.ids, *(b"n%d" % n for n in numbers)))
        )
        sessions = {n: name.decode() for n, name in zip(numbers, names, strict=True) if name is not None}
        by_session: dict[str, list[EntryId]] = {}
        for place in dict.fromkeys(change.place for change in changes):
            if place.number in sessions:
                by_session.setdefault(sessions[place.number], []).append(place)
        contents = {}
        for session, places in by_session.items():
            for first in range(0, len(places), _ENTRIES):
                for entry in await self._reader.at(keys, session, places[first : first + _ENTRIES]):
                    if entry is None:
                        continue
                    try:
                        contents[entry.place] = to_message(keys, session, entry)
                    except CorruptEntryError as error:
                        self._reader.report_corrupt(keys.log(session), str(entry.place).encode(), str(error))
        return contents


def _named(label: bytes) -> tuple[EntryId, str]:
    """The place and the message id that a label of the feed names (``lua/shared/entries.lua``)."""
    entry, _, alias = label.partition(b":")
    place = EntryId.parse(entry)
    if not alias:
        return place, to_message_id(*place)
    text = alias.decode()
    return place, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _as_seen_by(session: str, change: _Change | Event) -> _Change | Event | None:
    """A change as a watcher of one session sees it; None when it does not concern that session."""
    if isinstance(change, Event):
        return change if session in (change.session_id, change.old_session_id) else None
    if change.old_session is None:
        return change if change.session == session else None
    if change.old_session == session:
        return change._replace(type="deleted")
    return change._replace(type="created") if change.session == session else None


def _entries_of(streams: Any) -> list[Any]:
    """The entries of an XREAD reply of one stream: a list from RESP2 servers, a map from fakeredis."""
    if isinstance(streams, dict):
        (entries,) = streams.values()
        return list(entries[0]) if len(entries) == 1 and isinstance(entries[0][0], list) else list(entries)
    return list(streams[0][1])
