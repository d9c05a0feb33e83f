"""Reads of one flow's change feed: where it ends, what is behind a place, and what that shows.

Contents are read when an event is delivered, so an event carries the message as it is then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from redis_sessions.body import CorruptEntryError
from redis_sessions.changes import Change, as_seen_by, changes_of
from redis_sessions.entries import to_message
from redis_sessions.errors import FeedGapError, InvalidCursorError
from redis_sessions.ids import EntryId
from redis_sessions.models import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from redis_sessions.calls import Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Message
    from redis_sessions.reader import Reader
    from redis_sessions.transport import Command, Transport

PAGE = 100
"""Entries of a feed that are read at a time."""
_BEGINNING = EntryId(0, 0)
_EVENT_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}\Z", re.ASCII)
_LARGEST = 2**64 - 1
_ENTRIES = 200
_PORTION_BYTES = 32 * 1024
_GAP = (
    "the change feed no longer reaches back to this place: read the state afresh, "
    "then watch on from resume_after"
)


class Seen(NamedTuple):
    """Events as one kind of watcher sees them, and the bytes of their messages."""

    events: list[Event]
    size: int


class Feed:
    """Reads of change feeds."""

    def __init__(self, calls: Calls, transport: Transport, reader: Reader) -> None:
        self._calls = calls
        self._transport = transport
        self._reader = reader

    async def last(self, keys: FlowKeys) -> EntryId:
        """The place after which the next event will come."""
        (newest,) = await self._run(keys, ("XREVRANGE", keys.feed, "+", "-", "COUNT", 1))
        return EntryId.parse(newest[0][0]) if newest else _BEGINNING

    async def start(self, keys: FlowKeys, after: str | None) -> tuple[EntryId, EntryId]:
        """Where a watcher begins (None: now), and where the feed ends.

        Raises:
            InvalidCursorError: ``after`` is not an event's id.
            FeedGapError: the feed does not reach back to it.
        """
        if after is None:
            last = await self.last(keys)
            return last, last
        if not _EVENT_ID.match(after) or max(EntryId.parse(after)) > _LARGEST:
            msg = "after= is the id of an event of this flow"
            raise InvalidCursorError(msg)
        place = EntryId.parse(after)
        at_place, newest = await self._run(
            keys,
            ("XRANGE", keys.feed, str(place), str(place)),
            ("XREVRANGE", keys.feed, "+", "-", "COUNT", 1),
        )
        last = EntryId.parse(newest[0][0]) if newest else _BEGINNING
        if not at_place and place != _BEGINNING:
            raise _gap(last)
        return place, last

    async def page(self, keys: FlowKeys, place: EntryId, end: EntryId) -> list[Any]:
        """The first entries behind ``place`` and up to ``end``; none of them skipped.

        Raises:
            FeedGapError: the feed no longer reaches back to ``place``.
        """
        entries, *witnesses = await self._run(
            keys, ("XRANGE", keys.feed, f"({place}", str(end), "COUNT", PAGE), *_witnesses(keys, place)
        )
        await self._check(keys, place, witnesses)
        return list(entries)

    async def events(
        self,
        keys: FlowKeys,
        entries: Sequence[Any],
        sessions: Collection[str | None],
        *,
        behind: EntryId | None = None,
    ) -> dict[str | None, Seen]:
        """What entries of the feed show to watchers of these sessions (None: of the flow).

        Each message is read once, however many show it.

        Args:
            behind: the place that the entries were read from, where it is still to be seen whether all that
                came behind it are among them.

        Raises:
            FeedGapError: the feed no longer reaches back to ``behind``.
        """
        changes: list[Change | Event] = []
        for raw_id, flat in entries:
            try:
                changes += changes_of(keys.flow_id, raw_id, flat)
            except (KeyError, ValueError) as error:  # not an event of ours
                self._reader.report_corrupt(keys.feed, raw_id, type(error).__name__)
        seen = {session: as_seen_by(session, changes) for session in sessions}
        places = {
            change.place: None
            for some in seen.values()
            for change in some
            if isinstance(change, Change) and change.shows_content
        }
        numbers = sorted({place.number for place in places})
        commands: list[Command] = [*_witnesses(keys, behind)] if behind is not None else []
        if numbers:
            commands.append(("HMGET", keys.ids, *(b"n%d" % number for number in numbers)))
        replies = await self._run(keys, *commands) if commands else []
        if behind is not None:
            await self._check(keys, behind, replies[:2])
        contents: dict[EntryId, tuple[Message, int]] = {}
        if numbers:
            names = {n: name.decode() for n, name in zip(numbers, replies[-1], strict=True) if name}
            contents = await self._contents(keys, names, places)
        return {session: _shown(keys.flow_id, some, contents) for session, some in seen.items()}

    async def _check(self, keys: FlowKeys, place: EntryId, witnesses: Sequence[Any]) -> None:
        # Trimming takes the oldest first: while the place's own event is there, none behind it was lost.
        # The feed's first event ever is marked `o`: while that is there, nothing was lost at all.
        at_place, oldest = witnesses
        if not at_place and not (place == _BEGINNING and oldest and b"o" in oldest[0][1][::2]):
            raise _gap(await self.last(keys))

    async def _contents(
        self, keys: FlowKeys, names: dict[int, str], places: Collection[EntryId]
    ) -> dict[EntryId, tuple[Message, int]]:
        """The present messages at these places, and their bytes; ``names`` has the sessions of numbers."""
        by_session: dict[str, list[EntryId]] = {}
        for place in places:
            if place.number in names:
                by_session.setdefault(names[place.number], []).append(place)
        contents = {}
        for session, some in by_session.items():
            for first in range(0, len(some), _ENTRIES):
                for entry in await self._reader.at(keys, session, some[first : first + _ENTRIES]):
                    if entry is None:
                        continue
                    try:
                        contents[entry.place] = to_message(keys, session, entry), len(entry.body)
                    except CorruptEntryError as error:
                        self._reader.report_corrupt(keys.log(session), entry.raw_id, str(error))
        return contents

    async def _run(self, keys: FlowKeys, *commands: Command) -> list[Any]:
        return await self._calls.read(lambda: self._transport.run(keys.feed, *commands))


def in_portions(entries: Sequence[Any]) -> Iterator[list[Any]]:
    """Entries in runs that touch some thousand messages at the most: one entry may name a thousand."""
    portion: list[Any] = []
    size = 0
    for entry in entries:
        portion.append(entry)
        size += sum(map(len, entry[1]))
        if size >= _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _witnesses(keys: FlowKeys, place: EntryId) -> tuple[Command, Command]:
    """What tells whether the feed still reaches back to a place."""
    return ("XRANGE", keys.feed, str(place), str(place)), ("XRANGE", keys.feed, "-", "+", "COUNT", 1)


def _gap(last: EntryId) -> FeedGapError:
    return FeedGapError(_GAP, resume_after=str(last))


def _shown(
    flow_id: str, changes: Sequence[Change | Event], contents: dict[EntryId, tuple[Message, int]]
) -> Seen:
    events: list[Event] = []
    size = 0
    for change in changes:
        if isinstance(change, Event):
            events.append(change)
            continue
        message: Message | None = None
        if change.shows_content and change.place in contents:
            message, length = contents[change.place]
            size += length
        events.append(
            Event(
                type=change.type,  # type: ignore[arg-type]
                id=change.event_id,
                flow_id=flow_id,
                session_id=change.session,
                message_id=change.message_id,
                message=message,
                old_session_id=change.old_session,
            )
        )
    return Seen(events, size)
