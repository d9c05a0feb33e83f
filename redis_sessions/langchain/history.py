"""RedisSessionHistory: a LangChain chat message history that is a session of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.chat_history import BaseChatMessageHistory

from redis_sessions import limits
from redis_sessions.appending import portions
from redis_sessions.errors import InvalidInputError, RedisSessionsError
from redis_sessions.langchain.conversion import from_langchain, to_langchain
from redis_sessions.langchain.pool import load_settings, shared_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage

    from redis_sessions.models import Message, NewMessage
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore

    Id = str | UUID

_PAGE = 1_000


class Place(NamedTuple):
    """Where a history reads and writes, within its flow."""

    session_id: str
    user_id: str | None
    context_id: str | None

    def wants(self, message: Message) -> bool:
        """Whether a message of the session is in scope."""
        return (
            not message.error
            and self.user_id in (None, message.user_id)
            and self.context_id in (None, message.context_id)
        )


class RedisSessionHistory(BaseChatMessageHistory):
    """The messages of one session, oldest first.

    Making one costs nothing and connects to nothing: all histories of a process that have the same settings
    share one store and its pool of connections, from any thread and any event loop. Synchronous and
    asynchronous methods may be mixed.

    A message is stored in Langflow's fields and comes back as LangChain's: see :func:`from_langchain` and
    :func:`to_langchain`. One without an id comes back with the id that it is stored under. Messages that
    are marked as errors are left out. Their times, ids and all else: :meth:`stored_messages`.

    Args:
        session_id: the conversation.
        flow_id: what the sessions belong to. On a cluster, all sessions of a flow are on one node.
        user_id: the person; messages are stored for them, and only theirs are read and cleared. None: those
            of everybody are.
        context_id: as ``user_id``, a second mark on messages.
        limit: read at most this many, the newest. None: all.
        url: where Redis is. Without it and ``settings``, from ``REDIS_SESSIONS_*``.
        settings: where Redis is, and the limits, as one value; instead of ``url`` and ``options``.
        options: further fields of :class:`~redis_sessions.Settings`: ``ttl``, ``prefix``, ``password``, …

    Attributes:
        session_id, context_id: may be set between calls; an empty ``session_id`` means the one given first.

    Raises:
        ConfigurationError: an option is unknown or cannot work.
        InvalidInputError: an argument is not acceptable.

    Every method may raise :class:`~redis_sessions.StoreUnavailableError`.
    """

    def __init__(
        self,
        session_id: Id,
        *,
        flow_id: Id = "langchain",
        user_id: Id | None = None,
        context_id: str | None = None,
        limit: int | None = None,
        url: str | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        if settings is None:
            settings = load_settings(url, **options)
        elif url is not None or options:
            msg = "either settings, or url and options"
            raise InvalidInputError(msg)
        if limit is not None:
            limits.count("limit", limit, 1)
        self.flow_id: str = limits.flow_id(flow_id)
        self.user_id: str | None = str(user_id) if user_id is not None else None
        self.context_id = context_id
        self.limit = limit
        self._first_session_id = self._session_id = limits.session_id(session_id)
        self._store = shared_store(settings)

    @property
    def session_id(self) -> str:
        """The conversation."""
        return self._session_id

    @session_id.setter
    def session_id(self, value: Id | None) -> None:
        self._session_id = limits.session_id(value) if value else self._first_session_id

    def __repr__(self) -> str:
        return f"<RedisSessionHistory session={self.session_id!r} flow={self.flow_id!r}>"

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The newest ``limit`` messages, oldest first."""
        return [self._to_langchain(message) for message in self.stored_messages()]

    async def aget_messages(self) -> list[BaseMessage]:
        """The newest ``limit`` messages, oldest first."""
        return [self._to_langchain(message) for message in await self.astored_messages()]

    def stored_messages(self) -> list[Message]:
        """What :attr:`messages` is made of: the same messages with their ids, times and all fields."""
        place = self._place()
        return self._store.run(lambda store: self._read(store, place))

    async def astored_messages(self) -> list[Message]:
        """As :meth:`stored_messages`."""
        place = self._place()
        return await self._store.arun(lambda store: self._read(store, place))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages at the end, in one round trip and one step: all or none.

        More than ``max_batch``, or ``max_batch_bytes``, go in several steps; an error then carries a note
        that tells how many were stored.

        Raises:
            InvalidInputError: one of them cannot be stored; none was.
        """
        new = _to_stored(messages, self._place())
        self._store.run(lambda store: self._append(store, new))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """As :meth:`add_messages`."""
        new = _to_stored(messages, self._place())
        await self._store.arun(lambda store: self._append(store, new))

    def clear(self) -> None:
        """Delete the session; with a ``user_id`` or ``context_id``, only those messages of it."""
        place = self._place()
        self._store.run(lambda store: self._clear(store, place))

    async def aclear(self) -> None:
        """As :meth:`clear`."""
        place = self._place()
        await self._store.arun(lambda store: self._clear(store, place))

    def _place(self) -> Place:
        """Taken when a method is called: what is set later is for the next call."""
        return Place(self.session_id, self.user_id, self.context_id or None)

    def _to_langchain(self, message: Message) -> BaseMessage:
        return to_langchain(message)

    async def _read(self, store: SessionStore, place: Place) -> list[Message]:
        where = (self.flow_id, place.session_id)
        if self.limit is not None:
            # Mostly a session is one person's and has no errors: then this reads what is asked, and no more.
            newest = await store.history(*where, limit=self.limit)
            if all(map(place.wants, newest)):
                return newest
        return await store.history(
            *where,
            limit=self.limit or limits.LARGEST_COUNT,
            user_id=place.user_id,
            context_id=place.context_id,
            include_errors=False,
        )

    async def _append(self, store: SessionStore, new: list[NewMessage]) -> None:
        stored = 0
        for portion in portions(new, self._store.settings):
            try:
                await store.append_many(self.flow_id, portion)
            except RedisSessionsError as error:
                if stored:
                    error.add_note(f"{stored:,} of {len(new):,} messages had been stored before")
                raise
            stored += len(portion)

    async def _clear(self, store: SessionStore, place: Place) -> None:
        if place.user_id is None and place.context_id is None:
            await store.delete_session(self.flow_id, place.session_id)
            return
        while mine := await store.history(
            self.flow_id, place.session_id, limit=_PAGE, user_id=place.user_id, context_id=place.context_id
        ):
            await store.delete_messages([message.id for message in mine], flow_id=self.flow_id)


def _to_stored(messages: Sequence[BaseMessage], place: Place) -> list[NewMessage]:
    return [from_langchain(message, **place._asdict()) for message in messages]
