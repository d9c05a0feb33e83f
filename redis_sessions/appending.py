"""Storing messages: bodies made, sessions grouped, and what a script finds amiss put right."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec

from redis_sessions import limits
from redis_sessions.body import CorruptEntryError, decode, encode
from redis_sessions.clock import now_us, to_us
from redis_sessions.entries import Entry, Record
from redis_sessions.errors import (
    BatchError,
    InvalidInputError,
    MessageExistsError,
    NotReplicatedError,
    RedisSessionsError,
    StoreUnavailableError,
    TooLargeError,
    WrongTypeError,
)
from redis_sessions.events import event
from redis_sessions.ids import NUMBER_MASK, address_of, draw_number, to_raw, to_uuid_text
from redis_sessions.scripting import StaleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.latest import Latest
    from redis_sessions.models import Message, NewMessage
    from redis_sessions.reader import Reader
    from redis_sessions.registry import Registry
    from redis_sessions.scripts import Scripts
    from redis_sessions.settings import Settings
    from redis_sessions.whereabouts import Whereabouts

logger: logging.Logger = logging.getLogger(__name__)

_MORE_CANDIDATES = 8
_SESSIONS_AT_ONCE = 32
_MOST_MET = 8_192
_NOT_PLAIN = 16
"""Messages that go through append after one that had to, before append_known is tried again."""
_set = msgspec.structs.force_setattr


class Prepared(NamedTuple):
    """A message ready for its script. ``alias`` is empty unless the id was made elsewhere."""

    at: int
    alias: bytes
    body: bytes


class Appender:
    """Appends, moves messages to other sessions, and forgets sessions that have expired."""

    def __init__(
        self,
        settings: Settings,
        calls: Calls,
        scripts: Scripts,
        reader: Reader,
        registry: Registry,
        whereabouts: Whereabouts,
        latest: Latest,
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._scripts = scripts
        self._reader = reader
        self._registry = registry
        self._whereabouts = whereabouts
        self._latest = latest
        self._met: dict[tuple[str, str], int] = {}

    async def append(self, keys: FlowKeys, messages: Sequence[NewMessage], owner: str) -> list[Message]:
        """Store messages; session by session all or none. Returns them in the order given."""
        if len(messages) == 1:
            [message] = messages
            return await self._append_session(
                keys, _session_of(message, keys), [self._prepare(message)], owner
            )
        by_session: dict[str, list[int]] = {}
        for place, message in enumerate(messages):
            by_session.setdefault(_session_of(message, keys), []).append(place)
        prepared = [self._prepare(message) for message in messages]
        for places in by_session.values():
            _check_size([prepared[place] for place in places], self._settings)
        aliases = [item.alias for item in prepared if item.alias]
        if len(set(aliases)) != len(aliases):
            msg = "two messages of the batch have the same id"
            raise InvalidInputError(msg)
        groups = [(session, [prepared[place] for place in places]) for session, places in by_session.items()]
        if len(groups) == 1:
            return await self._append_session(keys, *groups[0], owner)
        outcomes: list[list[Message] | BaseException] = []
        # At once, as far as there are connections: one that waits for its turn is using up its deadline.
        at_once = min(_SESSIONS_AT_ONCE, self._settings.max_connections)
        for first in range(0, len(groups), at_once):
            outcomes += await self._calls.connection.waiting.gather(
                [
                    self._append_session(keys, session, group, owner)
                    for session, group in groups[first : first + at_once]
                ]
            )
        stored: dict[int, Message] = {}
        failed: dict[str, RedisSessionsError] = {}
        for (session, places), outcome in zip(by_session.items(), outcomes, strict=True):
            if isinstance(outcome, RedisSessionsError):
                failed[session] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                stored.update(zip(places, outcome, strict=True))
        in_order = [stored[place] for place in sorted(stored)]
        if failed and not stored and len({type(error) for error in failed.values()}) == 1:
            raise next(iter(failed.values()))
        if failed:
            msg = f"{len(failed)} of {len(groups)} sessions were not stored; see .failed and .stored"
            raise BatchError(msg, stored=in_order, failed=failed)
        return in_order

    async def append_plain(self, keys: FlowKeys, body: bytes, draft: Message, owner: str) -> Message:
        """Store one message, said now, that :class:`~redis_sessions.drafts.Drafts` made."""
        settings, session = self._settings, draft.session_id
        limits.text_size(draft.text, settings.max_text_bytes)
        at = now_us()
        item = Prepared(at, b"", limits.body_size(body, settings.max_message_bytes))
        _set(draft, "raw_at", b"%d" % at)
        return (await self._append_drafts(keys, session, [item], [draft], owner))[0]

    def _prepare(self, message: NewMessage) -> Prepared:
        limits.text_size(message.text, self._settings.max_text_bytes)
        at = now_us() if message.timestamp is None else to_us(message.timestamp)
        alias = b"" if message.id is None else to_raw(message.id)
        body = limits.body_size(encode(message), self._settings.max_message_bytes)
        return Prepared(at, alias, body)

    async def _append_session(
        self, keys: FlowKeys, session: str, group: Sequence[Prepared], owner: str
    ) -> list[Message]:
        # Decoded before it is sent: what cannot be read back is not stored.
        drafts = [_readable(keys, session, item) for item in group]
        return await self._append_drafts(keys, session, group, drafts, owner)

    async def _append_drafts(
        self, keys: FlowKeys, session: str, group: Sequence[Prepared], drafts: list[Message], owner: str
    ) -> list[Message]:
        attempt = self._calls.begin()
        if len(group) > 1 or group[0].alias:
            await self._refuse_present(keys, group, attempt)
        elif not self._met.get((keys.flow_id, session), 1):
            [item] = group
            place = await self._scripts.append_known(
                keys, session, item.at, item.body, owner=owner, attempt=attempt
            )
            if place is not None:
                self._stored(keys, session, group, drafts, [place])
                return drafts
            self._met[keys.flow_id, session] = _NOT_PLAIN
        registered = False
        numbers: tuple[int, ...] = ()
        candidates = [draw_number(keys.flow_id)]
        while True:
            try:
                entries = await self._scripts.append(
                    keys,
                    session,
                    group,
                    owner=owner,
                    registered=registered,
                    numbers=numbers,
                    candidates=candidates,
                    attempt=attempt,
                )
                break
            except NotReplicatedError:
                if registered:
                    await self._registry.confirm(keys.flow_id, owner, attempt)
                raise
            except StaleError as stale:
                if stale.status == b"EXISTS":
                    if not await self.forget_if_expired(keys, stale.values[1].decode(), attempt):
                        raise _present(stale.values[0]) from None
                elif stale.status == b"UNREGISTERED":
                    await self._registry.add(keys.flow_id, owner, attempt)
                    registered = True
                elif stale.status == b"EXPIRED":
                    await self.forget(keys, session, Record.parse(stale.values[0]).numbers, attempt)
                elif stale.status == b"NUMBERS":
                    # The candidates too: should the session go meanwhile, a new one must not have its number.
                    read = map(int, stale.values[0].split(b","))
                    numbers = tuple(dict.fromkeys((*read, *candidates)))
                else:
                    candidates = [draw_number(keys.flow_id) for _ in range(_MORE_CANDIDATES)]
                attempt.settle()  # also of what was just put right: nothing of this call is under way
                attempt.check_contention("the session")
        if registered:
            await self._registry.confirm(keys.flow_id, owner, attempt)
        self._meet(keys.flow_id, session)
        self._stored(keys, session, group, drafts, entries)
        return drafts

    def _stored(
        self,
        keys: FlowKeys,
        session: str,
        group: Sequence[Prepared],
        drafts: Sequence[Message],
        entries: Sequence[bytes],
    ) -> None:
        note = self._latest.note
        for item, draft, place in zip(group, drafts, entries, strict=True):
            _set(draft, "raw_id", place)
            if not item.alias:
                note(keys, session, Entry(place, b"%d" % item.at, item.body, None))
        number = int(entries[-1].partition(b"-")[2]) & NUMBER_MASK
        self._whereabouts.note(keys.flow_id, number, session)

    def _meet(self, flow_id: str, session: str) -> None:
        """The session is there: the next message may try the shorter script."""
        met = self._met
        left = met.pop((flow_id, session), 1)
        met[flow_id, session] = max(left - 1, 0)
        if len(met) > _MOST_MET:
            del met[next(iter(met))]

    async def _refuse_present(self, keys: FlowKeys, group: Sequence[Prepared], attempt: Attempt) -> None:
        """Refuse explicit ids that are addresses of entries in this flow.

        The script sees the aliases; an address cannot come to life again, so looking before is enough.
        """
        for item in group:
            if not item.alias:
                continue
            address = address_of(to_uuid_text(item.alias))
            if address is not None and await self._reader.is_alive(keys, address, attempt):
                raise _present(item.alias)

    async def move(
        self, keys: FlowKeys, session: str, entry: Entry, target: str, at: int, body: bytes, attempt: Attempt
    ) -> EntryId:
        """Take a message to session ``target`` and the place of a time (µs), with new content; in one step.

        Raises:
            StoreUnavailableError
            StaleError: to be resolved and tried again; a target that has expired has been forgotten.
        """
        there = await self._reader.record(keys, target, attempt)
        try:
            return await self._scripts.move_message(
                keys,
                session,
                target,
                entry.place,
                expected=entry.body,
                body=body,
                message_id=to_raw(entry.message_id),
                timestamp_us=at,
                new_number=there.numbers[0] if there else draw_number(keys.flow_id),
                born=there is None,
                attempt=attempt,
            )
        except StaleError as stale:
            if stale.status == b"EXPIRED":
                await self.forget(keys, target, Record.parse(stale.values[0]).numbers, attempt)
            raise

    async def forget(
        self, keys: FlowKeys, session: str, numbers: Sequence[int], attempt: Attempt | None = None
    ) -> bool:
        """Drop the name of a session whose log has expired; False if it lives."""
        attempt = attempt or self._calls.begin()
        removed = await self._scripts.forget_session(keys, session, numbers, attempt=attempt)
        if removed is not None and removed.leaves_adopted:
            await self.drop_adopted(keys, numbers)
        if removed is not None and removed.emptied is not None:
            await self._registry.remove(keys, removed.emptied, attempt)
        return removed is not None

    async def drop_adopted(self, keys: FlowKeys, numbers: Sequence[int]) -> None:
        """Remove the adopted ids of a session that is gone, where they were too many for its own deletion.

        Nobody can find them: a failure here is logged, not raised.
        """
        for number in numbers:
            try:
                await self._scripts.drop_adopted(keys, number, attempt=self._calls.begin())
            except (StoreUnavailableError, WrongTypeError) as error:
                logger.warning(
                    "adopted ids of a deleted session left: flow=%s error=%s",
                    keys.flow_id,
                    error,
                    extra=event("adopted_ids_left", flow_id=keys.flow_id, error=error),
                )

    async def forget_if_expired(self, keys: FlowKeys, session: str, attempt: Attempt | None = None) -> bool:
        """As :meth:`forget`, with the numbers that the record has; also for a name without a record."""
        record = await self._reader.record(keys, session, attempt)
        return await self.forget(keys, session, record.numbers if record else (), attempt)


def portions(messages: Sequence[NewMessage], settings: Settings) -> Iterator[list[NewMessage]]:
    """Messages in runs that are not too large for one batch, whatever sessions they are of."""
    if len(messages) == 1:
        yield list(messages)
        return
    portion: list[NewMessage] = []
    size = 0
    for message in messages:
        length = len(encode(message))
        if portion and (len(portion) >= settings.max_batch or size + length > settings.max_batch_bytes):
            yield portion
            portion, size = [], 0
        portion.append(message)
        size += length
    if portion:
        yield portion


def _check_size(group: Sequence[Prepared], settings: Settings) -> None:
    """A batch is one step of Redis, in which nobody else is served."""
    if len(group) > settings.max_batch:
        msg = f"{len(group):,} messages of one session in a batch; max_batch is {settings.max_batch:,}"
        raise TooLargeError(msg)
    size = sum(len(item.body) for item in group)
    if len(group) > 1 and size > settings.max_batch_bytes:
        most = settings.max_batch_bytes
        msg = f"{size:,} bytes of messages of one session in a batch; max_batch_bytes is {most:,}"
        raise TooLargeError(msg)


def _session_of(message: NewMessage, keys: FlowKeys) -> str:
    return limits.session_id(keys.flow_id if message.session_id is None else message.session_id)


def _present(alias: bytes) -> MessageExistsError:
    msg = f"a message with the id {UUID(bytes=alias)} is in the flow already; nothing was stored"
    return MessageExistsError(msg)


def _readable(keys: FlowKeys, session: str, item: Prepared) -> Message:
    entry = (b"0-0", b"%d" % item.at, item.body, item.alias or None)
    try:
        return decode(item.body, flow_id=keys.flow_id, session_id=session, entry=entry)
    except CorruptEntryError:
        msg = "a field cannot be read back: it is nested too deeply, or a number is out of range"
        raise InvalidInputError(msg) from None
