"""Histories, lists of sessions, and the newest messages of a whole flow."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from redis_sessions.body import CorruptEntryError
from redis_sessions.entries import to_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from redis_sessions.appending import Appender
    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.entries import Entry
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Message
    from redis_sessions.reader import Reader
    from redis_sessions.transport import Command, Transport


_SESSIONS = 64
"""Sessions of a flow that one trip reads."""
_NAMES = 1_000
"""Names that one command lists: a flow may have a million."""
_LISTINGS = 3


class History:
    """Reads over one or many sessions of a flow."""

    def __init__(self, calls: Calls, transport: Transport, reader: Reader, appender: Appender) -> None:
        self._calls = calls
        self._transport = transport
        self._reader = reader
        self._appender = appender

    async def messages(
        self,
        keys: FlowKeys,
        session: str,
        limit: int,
        *,
        before: tuple[int, EntryId] | None,
        wanted: Mapping[str, Any],
        include_errors: bool,
    ) -> list[Message]:
        """The newest ``limit`` that have the wanted values, oldest first."""
        if not wanted and include_errors:
            return await self._reader.newest_messages(keys, session, limit, before=before)
        decoded: dict[EntryId, Message] = {}

        def accept(entry: Entry) -> bool:
            try:
                message = to_message(keys, session, entry)
            except CorruptEntryError as error:
                self._reader.report_corrupt(keys.log(session), str(entry.place).encode(), str(error))
                return False
            if message.error and not include_errors:
                return False
            decoded[entry.place] = message
            return all(getattr(message, name) == value for name, value in wanted.items())

        window = await self._reader.newest(keys, session, limit, before=before, accept=accept)
        return [decoded[entry.place] for entry in reversed(window.entries)]

    async def length(self, keys: FlowKeys, session: str, attempt: Attempt | None = None) -> int:
        """How many messages a session has."""
        log = keys.log(session)
        (length,) = await self._calls.read(lambda: self._transport.run(log, ("XLEN", log)), attempt)
        return int(length)

    async def some_sessions(self, keys: FlowKeys, limit: int) -> list[str]:
        """Names as they are listed, expired ones among them."""
        (names,) = await self._calls.read(
            lambda: self._transport.run(keys.sessions, ("ZREVRANGE", keys.sessions, 0, limit - 1))
        )
        return [name.decode() for name in names]

    async def sessions(self, keys: FlowKeys, limit: int, offset: int) -> list[str]:
        """A page of session ids, newest activity first. Names whose log has expired are dropped first."""
        if limit > _NAMES:
            found: dict[str, None] = {}
            for first in range(0, limit, _NAMES):
                size = min(_NAMES, limit - first)
                some = await self.sessions(keys, size, offset + first)
                found.update(dict.fromkeys(some))
                if len(some) < size:
                    break
            return list(found)
        while True:
            names, expiring = await self._calls.read(
                lambda: self._transport.run(
                    keys.sessions,
                    ("ZREVRANGE", keys.sessions, 0 if offset == 0 else offset, offset + limit - 1),
                    ("HGET", keys.ids, b"ttl"),
                )
            )
            page = [name.decode() for name in names]
            if not expiring or not await self._forget_expired(keys, page, offset):
                return page

    async def _forget_expired(self, keys: FlowKeys, page: list[str], offset: int) -> bool:
        """Drop expired names in the page and before it; whether there were any."""
        dropped = False
        for first in range(0, offset, _NAMES):
            last = min(first + _NAMES, offset) - 1
            (names,) = await self._calls.read(
                lambda first=first, last=last: self._transport.run(  # type: ignore[misc]
                    keys.sessions, ("ZREVRANGE", keys.sessions, first, last)
                )
            )
            dropped = await self._forget_those(keys, [name.decode() for name in names]) or dropped
            if len(names) < _NAMES:
                break
        return await self._forget_those(keys, page) or dropped

    async def _forget_those(self, keys: FlowKeys, names: list[str]) -> bool:
        """Drop those of the names whose log has expired; whether there were any."""
        dropped = False
        for first in range(0, len(names), _NAMES):
            some = names[first : first + _NAMES]
            logs = [keys.log(name) for name in some]
            (alive,) = await self._calls.read(
                lambda logs=logs: self._transport.run(keys.sessions, ("EXISTS", *logs))  # type: ignore[misc]
            )
            if alive == len(some):
                continue
            each = await self._calls.read(
                lambda logs=logs: self._transport.run(keys.sessions, *(("EXISTS", log) for log in logs))  # type: ignore[misc]
            )
            for name, lives in zip(some, each, strict=True):
                if not lives:
                    await self._appender.forget_if_expired(keys, name)
                    dropped = True
        return dropped

    async def recent(
        self,
        keys: FlowKeys,
        limit: int,
        offset: int,
        *,
        wanted: Mapping[str, Any],
        include_errors: bool,
    ) -> list[Message]:
        """The newest messages of a flow that have the wanted values, newest first."""

        def decoded(session: str, entry: Entry) -> list[Message]:
            return self._reader.to_messages(keys, session, [entry])

        def accept(session: str, entry: Entry) -> bool:
            return any(
                (include_errors or not message.error)
                and all(getattr(message, name) == value for name, value in wanted.items())
                for message in decoded(session, entry)
            )

        chosen = accept if wanted or not include_errors else None
        found = await self.recent_entries(keys, limit + offset, accept=chosen)
        messages = [message for pair in found for message in decoded(*pair)]
        if len(messages) < len(found):  # corrupt entries count for nothing
            found = await self.recent_entries(keys, limit + offset, accept=accept)
            messages = [message for pair in found for message in decoded(*pair)]
        return messages[offset:]

    async def recent_entries(
        self,
        keys: FlowKeys,
        limit: int,
        *,
        floor_us: int = 0,
        accept: Callable[[str, Entry], bool] | None = None,
    ) -> list[tuple[str, Entry]]:
        """The newest ``limit`` entries of a flow that pass, with their sessions, newest first.

        Sessions are taken newest first until the next one's score is below the time of the last message
        found: a session's score is the µs of its last entry, and no message is later than its entry.
        Entries below ``floor_us`` need not be returned.
        """
        attempt = self._calls.begin()
        lost: set[str] = set()
        while True:
            found, restarted, vanished = await self._recent_entries(keys, limit, floor_us, accept, attempt)
            # What was renamed, or moved out of a session, may now be in one that was not looked into.
            if not (restarted or vanished - lost) or attempt.remaining <= 0:
                return found
            lost |= vanished

    async def _recent_entries(
        self,
        keys: FlowKeys,
        limit: int,
        floor_us: int,
        accept: Callable[[str, Entry], bool] | None,
        attempt: Attempt,
    ) -> tuple[list[tuple[str, Entry]], bool, set[str]]:
        """Also: did a session change between the trips to it, and which were listed but not there."""
        found: list[tuple[str, Entry]] = []
        seen: set[bytes] = set()
        vanished: set[str] = set()
        restarted = False
        size, rounds = 4, 0
        count = self._reader.first_count(limit, filtered=accept is not None)
        while True:
            # From the top each time: ranks shift when other sessions come, go, or become active.
            listed = await self._newest_sessions(keys, size, attempt)
            fresh = [(name, us) for name, us in listed if name not in seen]
            for first in range(0, len(fresh), _SESSIONS):
                floor = _floor(found, limit, floor_us)
                names = [name for name, us in fresh[first : first + _SESSIONS] if us >= floor]
                if not names:
                    break
                sessions = [name.decode() for name in names]
                commands = [
                    command
                    for session in sessions
                    for command in self._reader.trip(keys, session, count, floor_us=floor)
                ]
                replies = await self._calls.read(
                    lambda commands=commands: self._transport.run(keys.sessions, *commands),  # type: ignore[misc]
                    attempt,
                )
                for place, session in enumerate(sessions):
                    window = await self._reader.newest(
                        keys,
                        session,
                        limit,
                        floor_us=floor,
                        accept=accept and (lambda entry, session=session: accept(session, entry)),
                        attempt=attempt,
                        first_trip=replies[4 * place : 4 * place + 4],
                    )
                    found += [(session, entry) for entry in window.entries]
                    restarted = restarted or window.restarted
                    if window.record is None:
                        vanished.add(session)
                seen.update(names)
                rounds += 1
                if rounds > 1:  # of a session that was renamed, a message that was moved: as read last
                    found = list({entry.message_id: (name, entry) for name, entry in found}.values())
                found.sort(key=lambda pair: pair[1].order, reverse=True)
                del found[limit:]
            if len(listed) < size or listed[-1][1] < _floor(found, limit, floor_us):
                return found, restarted, vanished
            size = 2 * size + 4

    async def _newest_sessions(self, keys: FlowKeys, count: int, attempt: Attempt) -> list[tuple[bytes, int]]:
        """The sessions of a flow that were last written to, and when, newest first.

        Of very many, some at a time; anew if the flow was written to in between, which could have moved one
        past the reader. A flow that is never at rest gets the last of a few tries.
        """
        if count <= _NAMES:
            (scored,) = await self._calls.read(
                lambda: self._transport.run(
                    keys.sessions, ("ZREVRANGE", keys.sessions, 0, count - 1, "WITHSCORES")
                ),
                attempt,
            )
            return scored_pairs(scored)
        listed: dict[bytes, int] = {}
        for _ in range(_LISTINGS):
            listed.clear()
            states = set()
            for first in range(0, count, _NAMES):
                last = min(first + _NAMES, count) - 1
                scored, newest = await self._calls.read(
                    lambda first=first, last=last: self._transport.run(  # type: ignore[misc]
                        keys.sessions,
                        ("ZREVRANGE", keys.sessions, first, last, "WITHSCORES"),
                        ("XREVRANGE", keys.feed, "+", "-", "COUNT", 1),
                    ),
                    attempt,
                )
                states.add(newest[0][0] if newest else b"")
                page = scored_pairs(scored)
                listed.update(page)
                if len(page) < last - first + 1:
                    break
            if len(states) == 1:
                break
        return sorted(listed.items(), key=lambda pair: pair[1], reverse=True)

    async def version(self, keys: FlowKeys, session: str | None) -> bytes | None:
        """Names the state of a flow, or of one session: equal names, equal messages. None: it has no name.

        It is the feed's last event, with its token. A time to live takes messages away without an event: a
        session's log is asked for, and a flow has no name then.
        """
        commands: list[Command] = [
            ("XREVRANGE", keys.feed, "+", "-", "COUNT", 1),
            ("HGET", keys.ids, b"ttl"),
        ]
        if session is not None:
            commands.append(("EXISTS", keys.log(session)))
        newest, expiring, *alive = await self._calls.read(lambda: self._transport.run(keys.feed, *commands))
        if not newest or (expiring and not alive):
            return None
        event_id, fields = newest[0]
        token = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"t", b"")
        return b"%b %b %d" % (event_id, token, alive[0] if alive else 1)

    async def pages(self, keys: FlowKeys, session: str, size: int) -> AsyncGenerator[list[Entry], None]:
        """All entries of a session, oldest first, ``size`` or so at a time; no more are in memory.

        The way back is walked first, to find where the pages begin. What is stored meanwhile may be missing,
        what is deleted may be there; nothing is there twice.
        """
        bounds: list[tuple[int, EntryId] | None] = [None]
        while True:
            entries = (await self._reader.newest(keys, session, size, before=bounds[-1])).entries
            if entries:
                bounds.append(entries[-1].order)
            if len(entries) < size:
                break
        for upper, lower in reversed(list(pairwise(bounds))):
            page: list[Entry] = []
            while True:
                entries = (await self._reader.newest(keys, session, size, before=upper)).entries
                inside = [entry for entry in entries if lower is not None and entry.order >= lower]
                page += inside
                # More than a page is there when messages with old timestamps came meanwhile.
                if len(inside) < len(entries) or len(entries) < size:
                    break
                upper = entries[-1].order
            yield page[::-1]

    async def scored_sessions(self, keys: FlowKeys, limit: int, offset: int) -> list[tuple[str, int]]:
        """As :meth:`sessions`, each with the µs of its last entry."""
        while True:
            scored, expiring = await self._calls.read(
                lambda: self._transport.run(
                    keys.sessions,
                    ("ZREVRANGE", keys.sessions, offset, offset + limit - 1, "WITHSCORES"),
                    ("HGET", keys.ids, b"ttl"),
                )
            )
            page = [(name.decode(), us) for name, us in scored_pairs(scored)]
            if not expiring or not await self._forget_expired(keys, [name for name, _ in page], offset):
                return page


def _floor(found: Sequence[tuple[str, Entry]], limit: int, floor_us: int) -> int:
    """Below which µs no entry is needed any more."""
    return max(floor_us, found[limit - 1][1].at if len(found) >= limit else 0)


def scored_pairs(reply: Sequence[Any]) -> list[tuple[bytes, int]]:
    """(member, µs) pairs of a WITHSCORES reply: flat from RESP2 servers, paired from fakeredis."""
    if reply and isinstance(reply[0], list | tuple):
        return [(member, int(float(score))) for member, score in reply]
    return [(member, int(float(score))) for member, score in zip(reply[::2], reply[1::2], strict=True)]
