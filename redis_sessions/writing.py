"""The writes of :class:`~redis_sessions.SessionStore`: each is one Lua script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis_sessions import limits
from redis_sessions.body import CorruptEntryError, revise
from redis_sessions.entries import Record, to_message
from redis_sessions.errors import (
    MessageNotFoundError,
    SessionNotFoundError,
    StoreUnavailableError,
)
from redis_sessions.ids import canonical
from redis_sessions.models import Message, MessageUpdate, NewMessage, RenameResult
from redis_sessions.parts import Opened, candidates_of, no_session
from redis_sessions.scripting import StaleError
from redis_sessions.scripts import MAX_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from redis_sessions.calls import Attempt
    from redis_sessions.ids import EntryId
    from redis_sessions.models import Properties
    from redis_sessions.resolver import Located

    Id = str | UUID

_NOT_GIVEN = (None,) * 7
_SESSIONS = 1_000
"""Sessions of a flow that is deleted that are listed at a time."""


class Writing(Opened):
    """Appends, updates, deletions, renames, owners."""

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
        parts = self._parts
        given = (user_id, timestamp, id, run_id, context_id, session_metadata, duration)
        if (
            type(text) is type(sender) is type(sender_name) is str
            and (properties is None or type(properties) is dict)
            and category == "message"
            and given == _NOT_GIVEN
            and not (files or content_blocks or error or edit)
            and (session_id is None or type(session_id) is str)
        ):
            keys = parts.keys.flow(limits.flow_id(flow_id))
            whose = limits.owner(owner) if owner is not None else ""
            session = limits.session_id(keys.flow_id if session_id is None else session_id)
            made = parts.drafts.plain(
                keys.flow_id,
                session,
                text=text,
                sender=sender,
                sender_name=sender_name,
                properties=properties,
            )
            if made is not None:
                return await parts.appender.append_plain(keys, *made, whose)
        fields: dict[str, Any] = {
            "text": text,
            "sender": sender,
            "sender_name": sender_name,
            "category": category,
        }
        optional = (
            ("session_id", session_id),
            ("user_id", user_id),
            ("timestamp", timestamp),
            ("id", id),
            ("run_id", run_id),
            ("context_id", context_id),
            ("properties", properties),
            ("session_metadata", session_metadata),
            ("duration", duration),
        )
        fields |= {name: value for name, value in optional if value is not None}
        if files:
            fields["files"] = list(files)
        if content_blocks:
            fields["content_blocks"] = list(content_blocks)
        if error:
            fields["error"] = error
        if edit:
            fields["edit"] = edit
        message = limits.validated(NewMessage, fields)
        keys = parts.keys.flow(limits.flow_id(flow_id))
        whose = limits.owner(owner) if owner is not None else ""
        return (await parts.appender.append(keys, [message], whose))[0]

    async def append_many(
        self, flow_id: Id, messages: Iterable[NewMessage], *, owner: Id | None = None
    ) -> list[Message]:
        """Store messages of one flow, in the order given, in one round trip.

        Within a session they are stored all or none; so there may be no more of one than ``max_batch`` and
        ``max_batch_bytes`` allow. Messages of equal timestamp keep the order given.

        Returns:
            The messages as stored, in the order given.

        Raises:
            InvalidInputError, OwnerMismatchError, MessageExistsError: as for :meth:`append`.
            TooLargeError: too many messages of one session, or too long; nothing was stored.
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
        mark_edited: bool = True,
    ) -> Message:
        """Change a message; its timestamp and place stay. Compare-and-set: no concurrent change is lost.

        Fields that are not given, or None, stay as they are. ``edit`` becomes True when the text changes.
        ``session_id`` moves the message to another session of its flow, under the same id.

        Args:
            flow_id: the flow that the message is in. Without it, ``flows`` are looked through; without
                either, all registered flows.
            mark_edited: False for a message that is still being written: ``edit`` stays as it is unless
                given.

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
        candidates = candidates_of(flow_id, flows)
        attempt = parts.calls.begin()
        known = parts.latest.find(wanted, candidates) if update.session_id is None else None
        while True:
            located = known or (await parts.resolver.find([wanted], candidates, attempt)).get(wanted)
            if located is None:
                msg = f"no message has the id {wanted}"
                raise MessageNotFoundError(msg)
            try:
                return await self._apply(
                    located, update, attempt, mark_edited=mark_edited, certain=known is None
                )
            except StaleError:
                attempt.check_contention("the message")
            if known is None:
                candidates = [located.keys.flow_id]
            known = None

    async def _apply(
        self, located: Located, update: MessageUpdate, attempt: Attempt, *, mark_edited: bool, certain: bool
    ) -> Message:
        """One try at an update, of what was read just now (``certain``) or was there once.

        Raises StaleError when it is not there any more, or may not be.
        """
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
        if mark_edited and update.text is not None and update.text != before.text:
            changes["edit"] = True
        body = limits.body_size(revise(entry.body, before, changes), self.settings.max_message_bytes)
        target = update.session_id if update.session_id not in (None, session) else None
        after = entry._replace(body=body)
        result = to_message(keys, target or session, after)
        if target is None:
            if body != entry.body:
                await parts.scripts.update(
                    keys, session, entry.place, expected=entry.body, body=body, attempt=attempt
                )
                parts.latest.note(keys, session, after)
            elif not certain:
                raise StaleError(b"UNCHANGED")  # nobody has looked
            return result
        place = await parts.appender.move(keys, session, entry, target, entry.at, body, attempt)
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

        All messages of one session go in one step (up to 500).

        Args:
            flow_id: as for :meth:`update`.
            flows: as for :meth:`update`.

        Returns:
            The ids that were there, in the order given. Unknown ids are ignored.
        """
        parts = self._parts
        wanted = list(dict.fromkeys(canonical(message_id) for message_id in message_ids))
        candidates = candidates_of(flow_id, flows)
        deleted: set[str] = set()
        waiting = wanted
        attempt = parts.calls.begin()
        # Messages of one session go in one step: so what is known must be all, and of one session.
        found = {message_id: parts.latest.find(message_id, candidates) for message_id in wanted}
        known = {message_id: place for message_id, place in found.items() if place is not None}
        if len(known) < len(wanted) or len({(one.keys.flow_id, one.session) for one in known.values()}) > 1:
            known = {}
        while waiting:
            located = known or await parts.resolver.find(waiting, candidates, attempt)
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
                    ids = [place.entry.message_id for place in some]
                    deleted |= gone or set()
                    # To be looked for again: their session has another name, they have moved to another, or
                    # they were only thought to be there.
                    waiting += [one for one in ids if gone is None or one not in gone]
            known = {}
            if waiting:
                attempt.check_contention("a session of these messages")
        return [message_id for message_id in wanted if message_id in deleted]

    async def _delete_some(self, some: Sequence[Located], attempt: Attempt) -> set[str] | None:
        """Delete messages of one session; None when it has moved."""
        parts = self._parts
        keys, session, _ = some[0]
        by_place: dict[EntryId, str] = {place.entry.place: place.entry.message_id for place in some}
        entries = [(place.entry.place, place.entry.alias) for place in some]
        attempt.settle()  # of the session before: each has its own token in the feed
        try:
            removed = await parts.scripts.delete_messages(keys, session, entries, attempt=attempt)
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
        guessed = parts.whereabouts.number(keys.flow_id, session)
        numbers: tuple[int, ...] = () if guessed is None else (guessed,)
        while True:
            if not numbers:
                record = await parts.reader.record(keys, session, attempt)
                if record is None:
                    return 0
                numbers = record.numbers
            try:
                removed = await parts.scripts.delete_session(keys, session, numbers, attempt=attempt)
            except StaleError as stale:
                if stale.status == b"MISSING":
                    return 0
                attempt.check_contention("the session")
                numbers = ()
                continue
            if removed.leaves_adopted:
                await parts.appender.drop_adopted(keys, numbers)
            if removed.emptied is not None:
                await parts.registry.remove(keys, removed.emptied, attempt)
            return removed.count

    async def rename_session(self, flow_id: Id, old: Id, new: Id) -> RenameResult:
        """Give a session another id, in one step, whatever its length.

        If ``new`` is a session already, the two are **merged**: messages keep their ids and are in the
        order of their timestamps. A merge takes time in proportion to both; over ``max_merge`` entries, or
        over 1,000 changed messages or 2 MiB of them in both, it is refused. Renaming to the same id changes
        nothing.

        Raises:
            SessionNotFoundError: the flow has no session ``old``.
            MergeTooLargeError: the merge is over the limit.
        """
        parts = self._parts
        keys = parts.keys.flow(limits.flow_id(flow_id))
        source, target = limits.session_id(old), limits.session_id(new)
        attempt = parts.calls.begin()
        number = parts.whereabouts.number(keys.flow_id, source)
        while True:
            if number is None or source == target:
                record = await parts.reader.record(keys, source, attempt)
                if record is None:
                    raise SessionNotFoundError(no_session(flow_id, source))
                if source == target:
                    length = await parts.history.length(keys, source, attempt)
                    if not length:
                        raise SessionNotFoundError(no_session(flow_id, source))
                    return RenameResult("unchanged", length, source, frozenset(record.numbers))
                number = record.numbers[0]
            try:
                status, count, numbers = await parts.scripts.rename_session(
                    keys, source, target, number, attempt=attempt
                )
            except StaleError as stale:
                if stale.status == b"MISSING":
                    raise SessionNotFoundError(no_session(flow_id, source)) from None
                if stale.status == b"EXPIRED":
                    await parts.appender.forget(keys, target, Record.parse(stale.values[0]).numbers, attempt)
                attempt.check_contention("the session")
                number = None
                continue
            for moved in numbers:
                parts.whereabouts.note(keys.flow_id, moved, target)
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
            names = await parts.history.some_sessions(keys, _SESSIONS)
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
