"""The reads of :class:`~redis_sessions.SessionStore`: plain commands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from redis_sessions import limits
from redis_sessions.ids import canonical
from redis_sessions.parts import Opened, candidates_of, place_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from uuid import UUID

    from redis_sessions.models import Event, Message, RenameResult

    Id = str | UUID


_EXPORT_PAGE = 200


class Reading(Opened):
    """Histories, messages by id, sessions, flows, changes."""

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
            user_id: only messages that were stored for this person.
            sender: only messages that have exactly this.
            sender_name: as ``sender``.
            context_id: as ``sender``.
            include_errors: also messages that report an error.

        Raises:
            InvalidInputError: an argument is not acceptable; :class:`InvalidCursorError` for ``before``.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        return await parts.history.messages(
            parts.keys.flow(limits.flow_id(flow_id)),
            limits.session_id(session_id),
            limit,
            before=place_of(before),
            wanted=_wanted(user_id, sender, sender_name, context_id),
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
        return await parts.reader.newest_json(keys, session, limit, before=place_of(before))

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
        located = await parts.resolver.find(wanted, candidates_of(flow_id, flows))
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

    async def length(self, flow_id: Id, session_id: Id) -> int:
        """How many messages a session has; 0 when there is none."""
        parts = self._parts
        return await parts.history.length(
            parts.keys.flow(limits.flow_id(flow_id)), limits.session_id(session_id)
        )

    async def recent(
        self,
        flow_id: Id,
        *,
        limit: int = 100,
        offset: int = 0,
        user_id: Id | None = None,
        sender: str | None = None,
        sender_name: str | None = None,
        context_id: str | None = None,
        include_errors: bool = True,
    ) -> list[Message]:
        """The newest messages of all sessions of a flow, newest first, after the first ``offset``.

        The filters are those of :meth:`history`.
        """
        parts = self._parts
        limits.count("limit", limit, 1)
        limits.count("offset", offset, 0)
        return await parts.history.recent(
            parts.keys.flow(limits.flow_id(flow_id)),
            limit,
            offset,
            wanted=_wanted(user_id, sender, sender_name, context_id),
            include_errors=include_errors,
        )

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
        whole = result.outcome != "merged"
        return await parts.moved.json(keys, result.session_id, result.numbers, all_of_it=whole)

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


def _wanted(
    user_id: Id | None, sender: str | None, sender_name: str | None, context_id: str | None
) -> dict[str, str]:
    """The values that messages are chosen by."""
    values = {
        "user_id": None if user_id is None else str(user_id),
        "sender": sender,
        "sender_name": sender_name,
        "context_id": context_id,
    }
    return {name: value for name, value in values.items() if value is not None}
