"""The blocking store. Made from the asynchronous one: ``make blocking``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions.blocking.base import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from redis_sessions.models import (
        Event,
        Message,
        MessageUpdate,
        NewMessage,
        Properties,
        RenameResult,
        Transaction,
        VertexBuild,
    )

    Id = str | UUID


class SessionStore(Opened):
    """Chat sessions in Redis, for synchronous code. Use it as a context manager; any threads may share it.

    The methods are those of :class:`redis_sessions.SessionStore`, and so is what they guarantee. With one
    server it is the calling thread that talks to it; a cluster, Sentinels, ``memory://`` and iterators have
    an event loop in a background thread. Methods may be called where an event loop runs, which then stands
    still for as long as they take. A process that was forked from one with an open store connects anew at
    its first call. Ctrl-C ends a call; a write that it ends may have happened.

    Args:
        settings: where Redis is, and the limits. Without it, from ``REDIS_SESSIONS_*``.
    """

    def append(
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
        return self._run(
            lambda store: store.append(
                flow_id,
                text=text,
                sender=sender,
                sender_name=sender_name,
                session_id=session_id,
                user_id=user_id,
                owner=owner,
                timestamp=timestamp,
                id=id,
                run_id=run_id,
                context_id=context_id,
                files=files,
                error=error,
                edit=edit,
                properties=properties,
                category=category,
                content_blocks=content_blocks,
                session_metadata=session_metadata,
                duration=duration,
            )
        )

    def append_many(
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
        return self._run(lambda store: store.append_many(flow_id, messages, owner=owner))

    def update(
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
        return self._run(
            lambda store: store.update(
                message_id, update, flow_id=flow_id, flows=flows, mark_edited=mark_edited
            )
        )

    def delete_messages(
        self, message_ids: Iterable[Id], *, flow_id: Id | None = None, flows: Iterable[Id] | None = None
    ) -> list[str]:
        """Delete messages by id. A session goes with its last message.

        All messages of one session go in one step (up to 500).

        Args:
            flow_id: as for :meth:`update`.
            flows: as for :meth:`update`.

        Returns:
            The ids that were there, in the order given. Unknown ids are ignored.
        """
        return self._run(lambda store: store.delete_messages(message_ids, flow_id=flow_id, flows=flows))

    def delete_session(self, flow_id: Id, session_id: Id) -> int:
        """Delete a session with everything in it, in one step, whatever its length.

        Returns:
            How many messages were in it; 0 when there is no such session.
        """
        return self._run(lambda store: store.delete_session(flow_id, session_id))

    def rename_session(self, flow_id: Id, old: Id, new: Id) -> RenameResult:
        """Give a session another id, in one step, whatever its length.

        If ``new`` is a session already, the two are **merged**: messages keep their ids and are in the
        order of their timestamps. A merge takes time in proportion to both; over ``max_merge`` entries, or
        over 1,000 changed messages or 2 MiB of them in both, it is refused. Renaming to the same id changes
        nothing.

        Raises:
            SessionNotFoundError: the flow has no session ``old``.
            MergeTooLargeError: the merge is over the limit.
        """
        return self._run(lambda store: store.rename_session(flow_id, old, new))

    def delete_flow(self, flow_id: Id) -> int:
        """Delete everything of a flow, session by session; may be run again after a failure.

        Returns:
            How many sessions were deleted.
        """
        return self._run(lambda store: store.delete_flow(flow_id))

    def set_owner(self, flow_id: Id, owner: Id | None) -> None:
        """Give a flow to another owner, or to none. A flow that is not there yet is registered."""
        self._run(lambda store: store.set_owner(flow_id, owner))

    def history(
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
        return self._run(
            lambda store: store.history(
                flow_id,
                session_id,
                limit=limit,
                before=before,
                user_id=user_id,
                sender=sender,
                sender_name=sender_name,
                context_id=context_id,
                include_errors=include_errors,
            )
        )

    def history_json(
        self, flow_id: Id, session_id: Id, *, limit: int = 100, before: Message | str | None = None
    ) -> list[bytes]:
        """As :meth:`history`, each message as a JSON object of ``GET /api/v1/monitor/messages``.

        No JSON is decoded: stored bodies are spliced with their id, flow, time and session.
        """
        return self._run(lambda store: store.history_json(flow_id, session_id, limit=limit, before=before))

    def get(
        self, message_id: Id, *, flow_id: Id | None = None, flows: Iterable[Id] | None = None
    ) -> Message | None:
        """The message of this id, or None. ``flow_id`` and ``flows`` are as for :meth:`update`."""
        return self._run(lambda store: store.get(message_id, flow_id=flow_id, flows=flows))

    def get_many(
        self, message_ids: Iterable[Id], *, flow_id: Id | None = None, flows: Iterable[Id] | None = None
    ) -> list[Message | None]:
        """The messages of these ids, in their order; None for one that is not there."""
        return self._run(lambda store: store.get_many(message_ids, flow_id=flow_id, flows=flows))

    def sessions(self, flow_id: Id, *, limit: int = 100, offset: int = 0) -> list[str]:
        """Session ids of a flow, newest activity first; those of equal time by id, descending."""
        return self._run(lambda store: store.sessions(flow_id, limit=limit, offset=offset))

    def length(self, flow_id: Id, session_id: Id) -> int:
        """How many messages a session has; 0 when there is none."""
        return self._run(lambda store: store.length(flow_id, session_id))

    def recent(
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
        return self._run(
            lambda store: store.recent(
                flow_id,
                limit=limit,
                offset=offset,
                user_id=user_id,
                sender=sender,
                sender_name=sender_name,
                context_id=context_id,
                include_errors=include_errors,
            )
        )

    def recent_json(
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
        return self._run(
            lambda store: store.recent_json(
                flows,
                session_id=session_id,
                user_id=user_id,
                sender=sender,
                sender_name=sender_name,
                limit=limit,
                offset=offset,
            )
        )

    def moved_json(self, flow_id: Id, result: RenameResult) -> list[bytes]:
        """The messages that :meth:`rename_session` moved, oldest first, as in :meth:`history_json`.

        They are recognised by their session's numbers: also those count that were appended to the moved
        session since.
        """
        return self._run(lambda store: store.moved_json(flow_id, result))

    def export_json(self, flow_id: Id, session_id: Id) -> Generator[bytes, None, None]:
        """All messages of a session, oldest first, as in :meth:`history_json`; some hundred are in memory.

        What is stored while it runs may be missing.
        """
        return self._iterate(lambda store: store.export_json(flow_id, session_id), at_once=100)

    def version(self, flow_id: Id, session_id: Id | None = None) -> bytes | None:
        """Names the state of a flow, or of one session: while it is the same, so are all their messages.

        One small command. None when the state has no name, as after a day without writes.
        """
        return self._run(lambda store: store.version(flow_id, session_id))

    def sessions_of(
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
        return self._run(lambda store: store.sessions_of(flows, limit=limit, offset=offset, hidden=hidden))

    def find_sessions(self, session_ids: Iterable[Id], flows: Iterable[Id]) -> list[tuple[str, str]]:
        """Which of the flows have sessions of these ids: (flow id, session id), newest activity first."""
        return self._run(lambda store: store.find_sessions(session_ids, flows))

    def has_flow(self, flow_id: Id) -> bool:
        """Whether the flow is registered."""
        return self._run(lambda store: store.has_flow(flow_id))

    def watch(
        self, flow_id: Id, *, session_id: Id | None = None, after: str | None = None
    ) -> Generator[Event, None, None]:
        """Changes of a flow, or of one session, as they happen; ends only when the caller stops.

        Args:
            after: an event's ``id``, to go on behind it. Without it, from now on.

        Raises:
            FeedGapError: the feed no longer reaches back to ``after``, or the caller was too slow: read the
                state afresh and watch on from the error's ``resume_after``.
            StoreUnavailableError: Redis was away for longer than the deadline. Watch again, after the last
                event's id.
        """
        return self._iterate(lambda store: store.watch(flow_id, session_id=session_id, after=after))

    def flows(self, *, owner: Id | None = None) -> list[str]:
        """All flow ids, or those of an owner, in the order of their text."""
        return self._run(lambda store: store.flows(owner=owner))

    def owner(self, flow_id: Id) -> str | None:
        """The flow's owner; None when it has none, or is not there."""
        return self._run(lambda store: store.owner(flow_id))

    def put_build(
        self, build: VertexBuild, *, owner: Id | None = None, max_builds: int = 3000, per_vertex: int = 50
    ) -> bool:
        """Keep a vertex's latest build, and the one it takes the place of, if another job made that.

        May be repeated: the same build again changes nothing.

        Args:
            max_builds: builds that the flow keeps; above it the oldest goes, a vertex's latest one last.
            per_vertex: builds that it keeps of one vertex.

        Returns:
            False when a later build of the vertex is there; then this one is kept for its job only.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        return self._run(
            lambda store: store.put_build(build, owner=owner, max_builds=max_builds, per_vertex=per_vertex)
        )

    def builds(self, flow_id: Id) -> list[VertexBuild]:
        """The latest build of each vertex, oldest first."""
        return self._run(lambda store: store.builds(flow_id))

    def builds_json(self, flow_id: Id) -> list[tuple[str, bytes]]:
        """As :meth:`builds`: (vertex, JSON object of ``GET /monitor/builds``), undecoded."""
        return self._run(lambda store: store.builds_json(flow_id))

    def job_builds(self, flow_id: Id, job_id: Id) -> list[VertexBuild]:
        """What a job built: the latest build of each vertex that is still kept, oldest first."""
        return self._run(lambda store: store.job_builds(flow_id, job_id))

    def delete_job_builds(self, flow_id: Id, job_ids: Iterable[Id]) -> int:
        """Remove what some jobs built; how many builds there were.

        Of a vertex whose latest build goes, the one before it is the latest again.
        """
        return self._run(lambda store: store.delete_job_builds(flow_id, job_ids))

    def trim_builds(self, most: int) -> int:
        """Keep about ``most`` builds in all flows together: those that last built longest ago lose theirs.

        The flow that built last keeps its own. Every flow is asked: not for every call, but once a minute.

        Returns:
            How many vertices lost their builds.
        """
        return self._run(lambda store: store.trim_builds(most))

    def delete_builds(self, flow_id: Id) -> int:
        """Remove all builds of a flow; how many vertices had some."""
        return self._run(lambda store: store.delete_builds(flow_id))

    def add_transaction(
        self, transaction: Transaction, *, owner: Id | None = None, max_transactions: int | None = None
    ) -> None:
        """Note a component's run. The flow keeps the newest ``max_transactions``.

        Args:
            max_transactions: the store's setting when not given.

        Raises:
            InvalidInputError, OwnerMismatchError: as for :meth:`append`.
        """
        self._run(
            lambda store: store.add_transaction(transaction, owner=owner, max_transactions=max_transactions)
        )

    def delete_transactions(self, flow_id: Id, chosen: Callable[[Transaction], bool]) -> int:
        """Remove the transactions that ``chosen`` is True for; how many there were."""
        return self._run(lambda store: store.delete_transactions(flow_id, chosen))

    def transactions(self, flow_id: Id, *, limit: int = 50, offset: int = 0) -> list[Transaction]:
        """The newest transactions of a flow, newest first, after the first ``offset``."""
        return self._run(lambda store: store.transactions(flow_id, limit=limit, offset=offset))

    def transactions_json(self, flow_id: Id, *, limit: int = 50, offset: int = 0) -> tuple[list[bytes], int]:
        """As :meth:`transactions`, JSON objects of ``GET /monitor/transactions``, and how many there are."""
        return self._run(lambda store: store.transactions_json(flow_id, limit=limit, offset=offset))

    def begin_deletion(self, flow_id: Id) -> None:
        """Note that a flow is about to be deleted where it is kept, as in Langflow's database.

        Nothing else happens to it. The note stays until :meth:`end_deletion`: who finds it asks there whether
        the flow is gone, and if so deletes it here too. So a deletion is not forgotten when a process dies
        half way, and not done when it was taken back there.
        """
        self._run(lambda store: store.begin_deletion(flow_id))

    def end_deletion(self, flow_id: Id) -> None:
        """Remove the note of :meth:`begin_deletion`."""
        self._run(lambda store: store.end_deletion(flow_id))

    def deletions(self) -> list[tuple[str, datetime]]:
        """The flows that :meth:`begin_deletion` noted and when, the latest first."""
        return self._run(lambda store: store.deletions())

    def count(self, name: str, *, window: timedelta, amount: int = 1) -> tuple[int, timedelta]:
        """Count an occurrence, for all processes on this Redis together; what rate limits are made of.

        A window begins with its first occurrence. One during which the connection failed may count twice.

        Returns:
            How many there were in this window, and how long it still lasts.
        """
        return self._run(lambda store: store.count(name, window=window, amount=amount))

    def counted(self, name: str) -> tuple[int, timedelta]:
        """What :meth:`count` would answer, without an occurrence; no window: (0, 0)."""
        return self._run(lambda store: store.counted(name))

    def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            StoreUnavailableError: it does not, within the deadline.
        """
        self._run(lambda store: store.ping())
