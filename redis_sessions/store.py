"""SessionStore: chat sessions in Redis.

Every write is one Lua script and atomic within its flow; every read is plain commands. All methods may raise
:class:`~redis_sessions.StoreUnavailableError` (Redis did not do it before the deadline; tells whether a write
may have happened), :class:`~redis_sessions.WrongTypeError` (a key of ours holds something else) and
:class:`~redis_sessions.StoreClosedError`; the methods name what else they raise.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from redis_sessions import limits
from redis_sessions.appending import Appender
from redis_sessions.body import CorruptEntryError, encode
from redis_sessions.calls import Calls
from redis_sessions.clock import to_ms
from redis_sessions.connection import open_connection
from redis_sessions.errors import (
    InvalidInputError,
    MessageNotFoundError,
    SessionNotFoundError,
    StoreClosedError,
    StoreUnavailableError,
)
from redis_sessions.feed import Feed
from redis_sessions.history import History
from redis_sessions.hub import Hub
from redis_sessions.ids import canonical, draw_number, from_cursor
from redis_sessions.keys import Keys
from redis_sessions.models import Message, MessageUpdate, NewMessage, RenameResult
from redis_sessions.overview import Overview
from redis_sessions.reader import Reader, Record, to_message
from redis_sessions.registry import Registry
from redis_sessions.resolver import Located, Resolver
from redis_sessions.runs import Runs
from redis_sessions.scripts import MAX_ENTRIES, Limits, Scripts, StaleError
from redis_sessions.server import check_server
from redis_sessions.settings import Settings
from redis_sessions.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from datetime import datetime

    from redis_sessions.calls import Attempt, Counters
    from redis_sessions.connection import Connection
    from redis_sessions.ids import EntryId
    from redis_sessions.models import Event, Properties, Transaction, VertexBuild

    Id = str | UUID


_EXPORT_PAGE = 200


class SessionStore:
    """Chat sessions in Redis. Use it as an async context manager; it may be shared by any number of tasks.

    Args:
        settings: where Redis is, and the limits. Without it, from ``REDIS_SESSIONS_*``.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else Settings.load()
        self._open: _Parts | None = None

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        prefix: str | None = None,
        ttl: timedelta | None = None,
        max_messages: int | None = None,
        deadline: timedelta | None = None,
        **options: Any,
    ) -> Self:
        """A store at ``url``; further options are the fields of :class:`~redis_sessions.Settings`.

        Arguments come before ``REDIS_SESSIONS_*``, which come before the defaults.

        Raises:
            ConfigurationError: an option is unknown or cannot work.
        """
        return cls(
            Settings.load(
                url, prefix=prefix, ttl=ttl, max_messages=max_messages, deadline=deadline, **options
            )
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect, and check that the server can be used. ``async with`` does it.

        Raises:
            ConfigurationError: the URL or a setting cannot work.
            UnsupportedServerError: the server is older than Redis 6.2.
        """
        if self._open is not None:
            return
        connection = await open_connection(self.settings)
        try:
            parts = _Parts(self.settings, connection)
            await check_server(parts.calls, parts.transport)
        except BaseException:
            await connection.aclose()
            raise
        self._open = parts

    async def aclose(self) -> None:
        """Close all connections. May be repeated."""
        parts, self._open = self._open, None
        if parts is not None:
            await parts.hub.aclose()
            await parts.transport.aclose()
            await parts.connection.aclose()

    def __repr__(self) -> str:
        where = self._open.connection.safe_url if self._open else "closed"
        return f"<SessionStore {where} prefix={self.settings.prefix!r}>"

    @property
    def _parts(self) -> _Parts:
        if self._open is None:
            msg = "the store is not open: use it inside `async with`, or call open() first"
            raise StoreClosedError(msg)
        return self._open

    @property
    def connection(self) -> Connection:
        """The connection to Redis, for inspection."""
        return self._parts.connection

    @property
    def counters(self) -> Counters:
        """Calls, retries, faults and corrupt entries since the store was opened."""
        return self._parts.calls.counters

    @property
    def round_trips(self) -> int:
        """Round trips to Redis since the store was opened."""
        return self._parts.transport.round_trips

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            StoreUnavailableError: it does not, within the deadline.
        """
        parts = self._parts
        await parts.calls.read(lambda: parts.transport.run(parts.keys.flows, ("EXISTS", parts.keys.flows)))

    # --- writing ---------------------------------------------------------------------------------

    async def append(
        self,
        flow_id: Id,
        *,
        text: str,
        sender: str,
        sender_name: str,
        session_id: Id | None = None,
        user_id: Id | None = None,
        owner: Id | None = None,
        timestamp: datetime | None = None,
        id: Id | None = None,
        run_id: Id | None = None,
        context_id: str | None = None,
        files: Sequence[str] = (),
        error: bool = False,
        edit: bool = False,
        properties: Properties | dict[str, Any] | None = None,
        category: str = "message",
        content_blocks: Sequence[dict[str, Any]] = (),
        session_metadata: dict[str, Any] | None = None,
        duration: float | None = None,
    ) -> Message:
        """Store a message at the end of its session, which starts with its first message.

        Args:
            flow_id: the flow; it is registered with its first message.
            session_id: the conversation; the flow's id when not given.
            owner: who the flow must belong to; the first writer to name one makes the flow theirs.
            timestamp: when it was said, with a time zone; now when not given. It may be earlier than the
                session's last message: messages are read in the order of their timestamps.
            id: an id made elsewhere (a UUID), kept as the message's id.

        Returns:
            The message as stored: lone surrogates replaced by U+FFFD, NaN and infinities in JSON by null.

        Raises:
            InvalidInputError: an argument is not acceptable; its subclasses say which limit.
            OwnerMismatchError: the flow belongs to somebody else.
            MessageExistsError: a message with this ``id`` is in the flow already.
        """
        optional = {
            "session_id": session_id,
            "user_id": user_id,
            "timestamp": timestamp,
            "id": id,
            "run_id": run_id,
            "context_id": context_id,
            "properties": properties,
            "session_metadata": session_metadata,
            "duration": duration,
        }
        fields: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        fields |= {"text": text, "sender": sender, "sender_name": sender_name, "category": category}
        if files:
            fields["files"] = list(files)
        if content_blocks:
            fields["content_blocks"] = list(content_blocks)
        if error:
            fields["error"] = error
        if edit:
            fields["edit"] = edit
        message = limits.validated(NewMessage, fields)
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        whose = limits.owner(owner) if owner is not None else ""
        return (await parts.appender.append(keys, [message], whose))[0]

    async def append_many(
        self, flow_id: Id, messages: Iterable[NewMessage], *, owner: Id | None = None
    ) -> list[Message]:
        """Store messages of one flow, in the order given, in one round trip.

        Within a session they are stored all or none. Messages of equal timestamp keep the order given.

        Returns:
            The messages as stored, in the order given.

        Raises:
            InvalidInputError, OwnerMismatchError, MessageExistsError: as for :meth:`append`.
            BatchError: some sessions were stored and others were not.
        """
        parts = self._parts
        flow = limits.flow_id(flow_id)
        whose = limits.owner(owner) if owner is not None else ""
        return await parts.appender.append(parts.keys.flow(flow), list(messages), whose)

    async def update(
        self,
        message_id: Id,
        update: MessageUpdate,
        *,
        flow_id: Id | None = None,
        flows: Iterable[Id] | None = None,
    ) -> Message:
        """Change a message; its timestamp and place stay. Compare-and-set: no concurrent change is lost.

        Fields that are not given, or None, stay as they are. ``edit`` becomes True when the text changes.
        ``session_id`` moves the message to another session of its flow, under the same id.

        Args:
            flow_id: the flow that the message is in. Without it, ``flows`` are looked through; without
                either, all registered flows.

        Returns:
            The message as it is now.

        Raises:
            MessageNotFoundError: it is not there. An update never brings a deleted message back.
            InvalidInputError: an argument is not acceptable.
            ContentionError: others changed the message or its session all the time until the deadline.
        """
        parts = self._parts
        wanted = canonical(message_id)
        if update.session_id is not None:
            limits.session_id(update.session_id)
        if update.text is not None:
            limits.text_size(update.text, self.settings.max_text_bytes)
        candidates = _candidates(flow_id, flows)
        attempt = parts.calls.begin()
        while True:
            located = (await parts.resolver.find([wanted], candidates, attempt)).get(wanted)
            if located is None:
                msg = f"no message has the id {wanted}"
                raise MessageNotFoundError(msg)
            candidates = [located.keys.flow_id]
            try:
                return await self._apply(located, update, attempt)
            except StaleError:
                attempt.check_contention("the message")

    async def _apply(self, located: Located, update: MessageUpdate, attempt: Any) -> Message:
        """One try at an update. Raises StaleError when what was read is not there any more."""
        parts = self._parts
        keys, session, entry = located
        try:
            before = to_message(keys, session, entry)
        except CorruptEntryError as error:
            parts.reader.report_corrupt(keys.log(session), str(entry.place).encode(), str(error))
            msg = f"the stored content of message {entry.message_id} cannot be read; it was not changed"
            raise MessageNotFoundError(msg) from None
        changes = update.model_dump(exclude_none=True, exclude={"properties", "session_id"})
        if update.properties is not None:
            changes["properties"] = update.properties
        if update.text is not None and update.text != before.text:
            changes["edit"] = True
        body = limits.body_size(encode(before, changes), self.settings.max_message_bytes)
        target = update.session_id if update.session_id not in (None, session) else None
        after = entry._replace(body=body)
        result = to_message(keys, target or session, after)
        if target is None:
            if body != entry.body:
                await parts.scripts.update(
                    keys, session, entry.place, expected=entry.body, body=body, attempt=attempt
                )
            return result
        record = await parts.reader.record(keys, target, attempt)
        try:
            place = await parts.scripts.move_message(
                keys,
                session,
                target,
                entry.place,
                expected=entry.body,
                body=body,
                message_id=UUID(entry.message_id).bytes,
                timestamp_us=entry.at,
                new_number=record.numbers[0] if record else draw_number(keys.flow_id),
                attempt=attempt,
            )
        except StaleError as stale:
            if stale.status == b"EXPIRED":
                await parts.appender.forget(keys, target, Record.parse(stale.values[0]).numbers, attempt)
            raise
        alias = UUID(entry.message_id).bytes
        return to_message(keys, target, after._replace(raw_id=str(place).encode(), alias=alias))

    async def delete_messages(
        self,
        message_ids: Iterable[Id],
        *,
        flow_id: Id | None = None,
        flows: Iterable[Id] | None = None,
    ) -> list[str]:
        """Delete messages by id. A session goes with its last message.

        All messages of one session go in one step (up to 1,000).

        Args:
            flow_id, flows: as for :meth:`update`.

        Returns:
            The ids that were there, in the order given. Unknown ids are ignored.
        """
        parts = self._parts
        wanted = list(dict.fromkeys(canonical(message_id) for message_id in message_ids))
        candidates = _candidates(flow_id, flows)
        deleted: set[str] = set()
        waiting = wanted
        attempt = parts.calls.begin()
        while waiting:
            located = await parts.resolver.find(waiting, candidates, attempt)
            waiting = []
            groups: dict[tuple[str, str], list[Located]] = {}
            for place in located.values():
                groups.setdefault((place.keys.flow_id, place.session), []).append(place)
            for group in groups.values():
                for first in range(0, len(group), MAX_ENTRIES):
                    some = group[first : first + MAX_ENTRIES]
                    try:
                        gone = await self._delete_some(some, attempt)
                    except StoreUnavailableError as error:
                        if not deleted:
                            raise
                        msg = f"{len(deleted)} messages were deleted, others may not have been: {error}"
                        raise type(error)(msg, write_may_have_happened=True) from error
                    if gone is None:
                        waiting += [place.entry.message_id for place in some]
                    else:
                        deleted |= gone
            if waiting:
                attempt.check_contention("a session of these messages")
        return [message_id for message_id in wanted if message_id in deleted]

    async def _delete_some(self, some: Sequence[Located], attempt: Attempt) -> set[str] | None:
        """Delete messages of one session; None when it has moved."""
        parts = self._parts
        keys, session, _ = some[0]
        by_place: dict[EntryId, str] = {place.entry.place: place.entry.message_id for place in some}
        attempt.settle()  # of the session before: each has its own token in the feed
        try:
            removed = await parts.scripts.delete_messages(keys, session, list(by_place), attempt=attempt)
        except StaleError:
            return None
        if removed.emptied is not None:
            await parts.registry.remove(keys, removed.emptied, attempt)
        return {by_place[place] for place in removed.entries}

    async def delete_session(self, flow_id: Id, session_id: Id) -> int:
        """Delete a session with everything in it, in one step, whatever its length.

        Returns:
            How many messages were in it; 0 when there is no such session.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        session = limits.session_id(session_id)
        attempt = parts.calls.begin()
        while True:
            record = await parts.reader.record(keys, session, attempt)
            if record is None:
                return 0
            try:
                removed = await parts.scripts.delete_session(keys, session, record.numbers, attempt=attempt)
            except StaleError as stale:
                if stale.status == b"MISSING":
                    return 0
                attempt.check_contention("the session")
                continue
            if removed.emptied is not None:
                await parts.registry.remove(keys, removed.emptied, attempt)
            return removed.count

    async def rename_session(self, flow_id: Id, old: Id, new: Id) -> RenameResult:
        """Give a session another id, in one step, whatever its length.

        If ``new`` is a session already, the two are **merged**: messages keep their ids and are in the
        order of their timestamps. A merge takes time in proportion to both; over ``max_merge`` entries it is
        refused. Renaming to the same id changes nothing.

        Raises:
            SessionNotFoundError: the flow has no session ``old``.
            MergeTooLargeError: the merge is over the limit.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        source, target = limits.session_id(old), limits.session_id(new)
        attempt = parts.calls.begin()
        while True:
            record = await parts.reader.record(keys, source, attempt)
            if record is None:
                raise SessionNotFoundError(_no_session(flow_id, source))
            if source == target:
                length = await parts.history.length(keys, source, attempt)
                if not length:
                    raise SessionNotFoundError(_no_session(flow_id, source))
                return RenameResult("unchanged", length, source, frozenset(record.numbers))
            try:
                status, count, numbers = await parts.scripts.rename_session(
                    keys, source, target, record.numbers[0], attempt=attempt
                )
            except StaleError as stale:
                if stale.status == b"MISSING":
                    raise SessionNotFoundError(_no_session(flow_id, source)) from None
                if stale.status == b"EXPIRED":
                    await parts.appender.forget(keys, target, Record.parse(stale.values[0]).numbers, attempt)
                attempt.check_contention("the session")
                continue
            return RenameResult("renamed" if status == b"RENAMED" else "merged", count, target, numbers)

    async def delete_flow(self, flow_id: Id) -> int:
        """Delete everything of a flow, session by session; may be run again after a failure.

        Returns:
            How many sessions were deleted.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        count = 0
        while True:
            attempt = parts.calls.begin()
            names = await parts.history.some_sessions(keys, MAX_ENTRIES)
            for name in names:
                await self.delete_session(flow_id, name)
                await parts.appender.forget_if_expired(keys, name)
            count += len(names)
            try:
                owner = await parts.scripts.drop_flow(keys, attempt=attempt)
            except StaleError:
                continue
            await parts.registry.remove(keys, owner, attempt)
            return count

    async def set_owner(self, flow_id: Id, owner: Id | None) -> None:
        """Give a flow to another owner, or to none. A flow that is not there yet is registered."""
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        wanted = limits.owner(owner) if owner is not None else ""
        attempt = parts.calls.begin()
        while True:
            present = await parts.registry.owner_of(keys, attempt) or ""
            # Before the flow's first write, which this may be. Listing goes by the owner in the shard: what
            # a crash leaves in the set of another shows the flow to nobody.
            await parts.registry.add(keys.flow_id, wanted, attempt)
            try:
                await parts.scripts.set_owner(keys, present, wanted, attempt=attempt)
            except StaleError:
                attempt.check_contention("the flow's owner")
                continue
            if present != wanted:
                await parts.registry.release(keys, present, attempt)
                await parts.registry.confirm(keys.flow_id, wanted, attempt)
            return

    # --- reading ---------------------------------------------------------------------------------

    async def history(
        self,
        flow_id: Id,
        session_id: Id,
        *,
        limit: int = 100,
        before: Message | str | None = None,
        user_id: Id | None = None,
        sender: str | None = None,
        sender_name: str | None = None,
        context_id: str | None = None,
        include_errors: bool = True,
    ) -> list[Message]:
        """The newest ``limit`` messages of a session, oldest first.

        Args:
            before: a message, or its ``cursor``: the page that ends just before it. Exact at any depth,
                also when that message is gone.
            user_id, sender, sender_name, context_id: only messages that have exactly this.
            include_errors: also messages that report an error.

        Raises:
            InvalidInputError: an argument is not acceptable; :class:`InvalidCursorError` for ``before``.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        wanted = {
            "user_id": None if user_id is None else str(user_id),
            "sender": sender,
            "sender_name": sender_name,
            "context_id": context_id,
        }
        return await parts.history.messages(
            parts.keys.flow(limits.flow_id(flow_id)),
            limits.session_id(session_id),
            limit,
            before=_place(before),
            wanted={name: value for name, value in wanted.items() if value is not None},
            include_errors=include_errors,
        )

    async def history_json(
        self, flow_id: Id, session_id: Id, *, limit: int = 100, before: Message | str | None = None
    ) -> list[bytes]:
        """As :meth:`history`, each message as a JSON object of ``GET /api/v1/monitor/messages``.

        No JSON is decoded: stored bodies are spliced with their id, flow, time and session.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        keys = parts.keys.flow(limits.flow_id(flow_id))
        session = limits.session_id(session_id)
        return await parts.reader.newest_json(keys, session, limit, before=_place(before))

    async def get(
        self, message_id: Id, *, flow_id: Id | None = None, flows: Iterable[Id] | None = None
    ) -> Message | None:
        """The message of this id, or None. ``flow_id`` and ``flows`` are as for :meth:`update`."""
        return (await self.get_many([message_id], flow_id=flow_id, flows=flows))[0]

    async def get_many(
        self,
        message_ids: Iterable[Id],
        *,
        flow_id: Id | None = None,
        flows: Iterable[Id] | None = None,
    ) -> list[Message | None]:
        """The messages of these ids, in their order; None for one that is not there."""
        parts = self._parts
        wanted = [canonical(message_id) for message_id in message_ids]
        if not wanted:
            return []
        located = await parts.resolver.find(wanted, _candidates(flow_id, flows))
        found = {}
        for message_id, (keys, session, entry) in located.items():
            for message in parts.reader.to_messages(keys, session, [entry]):
                found[message_id] = message
        return [found.get(message_id) for message_id in wanted]

    async def sessions(self, flow_id: Id, *, limit: int = 100, offset: int = 0) -> list[str]:
        """Session ids of a flow, newest activity first; those of equal time by id, descending."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.history.sessions(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)

    async def recent(self, flow_id: Id, *, limit: int = 100, offset: int = 0) -> list[Message]:
        """The newest messages of all sessions of a flow, newest first, after the first ``offset``."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.history.recent(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)

    async def recent_json(
        self,
        flows: Iterable[Id],
        *,
        session_id: Id | None = None,
        user_id: Id | None = None,
        sender: str | None = None,
        sender_name: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[bytes]:
        """The newest messages of several flows, or of one session id in them, as in :meth:`history_json`.

        Newest first, after the first ``offset`` of those that have the given values. No JSON is decoded
        unless messages are chosen by a value.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        shards = [parts.keys.flow(limits.flow_id(flow)) for flow in dict.fromkeys(map(str, flows))]
        session = limits.session_id(session_id) if session_id is not None else None
        values = {
            "user_id": None if user_id is None else str(user_id),
            "sender": sender,
            "sender_name": sender_name,
        }
        wanted = {name: value for name, value in values.items() if value is not None}
        if session is not None and len(shards) == 1 and not wanted:
            shown = await self.history_json(shards[0].flow_id, session, limit=limit + offset)
            return shown[::-1][offset:]
        found = await parts.overview.newest(shards, session, limit + offset, wanted)
        return parts.overview.to_wire(found[offset:])

    async def moved_json(self, flow_id: Id, result: RenameResult) -> list[bytes]:
        """The messages that :meth:`rename_session` moved, oldest first, as in :meth:`history_json`.

        They are recognised by their session's numbers: also those count that were appended to the moved
        session since.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        session, numbers = result.session_id, result.numbers
        accept = (lambda entry: entry.place.number in numbers) if result.outcome == "merged" else None
        window = await parts.reader.newest(keys, session, sys.maxsize, accept=accept)
        return parts.reader.to_wire(keys, session, window.entries[::-1])

    async def export_json(self, flow_id: Id, session_id: Id) -> AsyncGenerator[bytes, None]:
        """All messages of a session, oldest first, as in :meth:`history_json`; some hundred are in memory.

        What is stored while it runs may be missing.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        session = limits.session_id(session_id)
        async for page in parts.history.pages(keys, session, _EXPORT_PAGE):
            for shown in parts.reader.to_wire(keys, session, page):
                yield shown

    async def version(self, flow_id: Id, session_id: Id | None = None) -> bytes | None:
        """Names the state of a flow, or of one session: while it is the same, so are all their messages.

        One small command. None when the state has no name, as after a day without writes.
        """
        parts = self._parts
        session = limits.session_id(session_id) if session_id is not None else None
        return await parts.history.version(parts.keys.flow(limits.flow_id(flow_id)), session)

    async def sessions_of(
        self,
        flows: Iterable[Id],
        *,
        limit: int = 100,
        offset: int = 0,
        hidden: Callable[[str], bool] | None = None,
    ) -> list[str]:
        """Session ids of several flows, each once, in the order of :meth:`sessions`.

        Args:
            hidden: leaves out the ids that it is True for; they do not count for ``offset``.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        shards = [parts.keys.flow(limits.flow_id(flow)) for flow in dict.fromkeys(map(str, flows))]
        return await parts.overview.sessions(shards, limit, offset, hidden)

    async def find_sessions(self, session_ids: Iterable[Id], flows: Iterable[Id]) -> list[tuple[str, str]]:
        """Which of the flows have sessions of these ids: (flow id, session id), newest activity first."""
        parts = self._parts
        shards = [parts.keys.flow(limits.flow_id(flow)) for flow in dict.fromkeys(map(str, flows))]
        sessions = [limits.session_id(session) for session in dict.fromkeys(map(str, session_ids))]
        if not shards or not sessions:
            return []
        having = await parts.overview.having(shards, sessions)
        return [(keys.flow_id, session) for keys, session, _ in having]

    async def has_flow(self, flow_id: Id) -> bool:
        """Whether the flow is registered."""
        return await self._parts.registry.has(limits.flow_id(flow_id))

    async def watch(
        self, flow_id: Id, *, session_id: Id | None = None, after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Changes of a flow, or of one session, as they happen; ends only when the caller stops.

        Args:
            after: an event's ``id``, to go on behind it. Without it, from now on.

        Raises:
            FeedGapError: the feed no longer reaches back to ``after``, or the caller was too slow: read the
                state afresh and watch on from the error's ``resume_after``.
            StoreUnavailableError: Redis was away for longer than the deadline. Watch again, after the last
                event's id.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        session = limits.session_id(session_id) if session_id is not None else None
        async with contextlib.aclosing(parts.hub.watch(keys, session, after)) as events:
            async for event in events:
                yield event

    async def flows(self, *, owner: Id | None = None) -> list[str]:
        """All flow ids, or those of an owner, in the order of their text."""
        return await self._parts.registry.flows(limits.owner(owner) if owner is not None else None)

    async def owner(self, flow_id: Id) -> str | None:
        """The flow's owner; None when it has none, or is not there."""
        parts = self._parts
        return await parts.registry.owner_of(parts.keys.flow(limits.flow_id(flow_id)))

    # --- counting --------------------------------------------------------------------------------

    async def count(self, name: str, *, window: timedelta, amount: int = 1) -> tuple[int, timedelta]:
        """Count an occurrence, for all processes on this Redis together; what rate limits are made of.

        A window begins with its first occurrence. One during which the connection failed may count twice.

        Returns:
            How many there were in this window, and how long it still lasts.
        """
        parts = self._parts
        key, window_ms = parts.keys.count(name), to_ms(window)

        async def add() -> list[Any]:
            replies = await parts.transport.run(
                key,
                ("SET", key, 0, "PX", window_ms, "NX"),
                ("INCRBY", key, amount),
                ("PTTL", key),
            )
            if replies[2] < 0:  # it expired between the commands
                await parts.transport.run(key, ("PEXPIRE", key, window_ms))
                replies[2] = window_ms
            return replies

        _, count, left_ms = await parts.calls.read(add)
        return count, timedelta(milliseconds=left_ms)

    async def counted(self, name: str) -> tuple[int, timedelta]:
        """What :meth:`count` would answer, without an occurrence; no window: (0, 0)."""
        parts = self._parts
        key = parts.keys.count(name)
        count, left_ms = await parts.calls.read(lambda: parts.transport.run(key, ("GET", key), ("PTTL", key)))
        return int(count or 0), timedelta(milliseconds=max(left_ms, 0))

    # --- builds and transactions -----------------------------------------------------------------

    async def put_build(self, build: VertexBuild, *, owner: Id | None = None) -> bool:
        """Keep a vertex's latest build. May be repeated: the same build again changes nothing.

        Returns:
            False when a later build of the vertex is there; then nothing was changed.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(build.flow_id))
        return await parts.runs.put_build(keys, build, limits.owner(owner) if owner is not None else "")

    async def builds(self, flow_id: Id) -> list[VertexBuild]:
        """The latest build of each vertex, oldest first."""
        parts = self._parts
        return await parts.runs.builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def builds_json(self, flow_id: Id) -> list[tuple[str, bytes]]:
        """As :meth:`builds`: (vertex, JSON object of ``GET /monitor/builds``), undecoded."""
        parts = self._parts
        return await parts.runs.builds_json(parts.keys.flow(limits.flow_id(flow_id)))

    async def delete_builds(self, flow_id: Id) -> int:
        """Remove all builds of a flow; how many there were."""
        parts = self._parts
        return await parts.runs.delete_builds(parts.keys.flow(limits.flow_id(flow_id)))

    async def add_transaction(self, transaction: Transaction, *, owner: Id | None = None) -> None:
        """Note a component's run. The flow keeps the newest ``max_transactions``.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(transaction.flow_id))
        await parts.runs.add_transaction(keys, transaction, limits.owner(owner) if owner is not None else "")

    async def transactions(self, flow_id: Id, *, limit: int = 50, offset: int = 0) -> list[Transaction]:
        """The newest transactions of a flow, newest first, after the first ``offset``."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.runs.transactions(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)

    async def transactions_json(
        self, flow_id: Id, *, limit: int = 50, offset: int = 0
    ) -> tuple[list[bytes], int]:
        """As :meth:`transactions`, JSON objects of ``GET /monitor/transactions``, and how many there are."""
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.runs.transactions_json(parts.keys.flow(limits.flow_id(flow_id)), limit, offset)


class _Parts:
    """What an open store is made of."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        us = 1_000
        deadline = settings.deadline.total_seconds()
        self.connection = connection
        self.keys = Keys(settings.prefix)
        self.calls = Calls(connection, deadline)
        self.transport = Transport(connection)
        self.scripts = Scripts(
            self.calls,
            self.transport,
            Limits(
                ttl_ms=to_ms(settings.ttl) if settings.ttl else 0,
                max_messages=settings.max_messages or 0,
                max_ahead_us=to_ms(settings.max_ahead) * us,
                max_merge=settings.max_merge,
                max_events=settings.feed_max_events,
                feed_ttl_ms=to_ms(max(settings.feed_ttl, 2 * settings.deadline)),  # for retries
                max_transactions=settings.max_transactions,
            ),
        )
        self.reader = Reader(self.calls, self.transport)
        self.registry = Registry(self.keys, self.calls, self.transport)
        self.resolver = Resolver(self.keys, self.calls, self.transport, self.reader, self.registry)
        self.appender = Appender(settings, self.calls, self.scripts, self.reader, self.registry)
        self.history = History(self.calls, self.transport, self.reader, self.appender)
        self.overview = Overview(self.calls, self.transport, self.reader, self.history)
        self.runs = Runs(self.calls, self.transport, self.scripts, self.registry, self.reader)
        feed = Feed(self.calls, self.transport, self.reader)
        self.hub = Hub(feed, self.calls, self.transport, block_ms=int(min(1.0, deadline / 4) * 1_000))


def _candidates(flow_id: UUID | str | None, flows: Iterable[UUID | str] | None) -> list[str] | None:
    if flow_id is not None:
        if flows is not None:
            msg = "give flow_id or flows, not both"
            raise InvalidInputError(msg)
        return [limits.flow_id(flow_id)]
    return None if flows is None else [limits.flow_id(flow) for flow in flows]


def _place(before: Message | str | None) -> tuple[int, EntryId] | None:
    if before is None:
        return None
    if isinstance(before, Message):
        return int(before.raw_at), before.entry
    return from_cursor(before)


def _no_session(flow_id: UUID | str, session: str) -> str:
    return f"flow {str(flow_id)!r} has no session {session!r}"
