"""Chat memory in Redis, with the semantics of Langflow 1.13: a memory service, and its seam.

Upstream is adding a pluggable memory service: :class:`MemoryService` has its shape, and is registered where
lfx has a place for it. Langflow 1.13 has none. There ``lfx.memory`` asks at each call for the module to call
(``_impl``), and some callers take ``langflow.memory``'s functions directly: both get ``functions``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from lfx.memory.flow_context import should_persist_messages
from lfx.schema.message import Message
from lfx.services.base import Service

from redis_sessions.appending import portions
from redis_sessions.errors import MessageNotFoundError
from redis_sessions.langflow import convert, owners, runtime, scope, seams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from uuid import UUID

    from redis_sessions import models as stored
    from redis_sessions.store import SessionStore

    Id = str | UUID

try:
    Base: type[Service] = importlib.import_module("lfx.services.memory.base").MemoryService
except ImportError:
    Base = Service

ORDER_FIELDS = frozenset({"timestamp", "sender", "sender_name", "session_id", "text"})
_EVERYTHING = 2**53
_PAGE = 1_000


class MemoryService(Base):  # type: ignore[misc, valid-type]
    """Chat messages in Redis. All methods may raise :class:`~redis_sessions.StoreUnavailableError`.

    Scopes are those of :mod:`redis_sessions.langflow.scope`. A message's timestamp is its place in its
    session and never changes.
    """

    name = "memory_service"

    async def astore_message(
        self,
        message: Message,
        flow_id: Id | None = None,
        run_id: Id | None = None,
        user_id: Id | None = None,
    ) -> list[Any]:
        """Store a message; one that has an id is updated. A nested flow's message is copied into the caller's
        flow.

        Raises:
            ValueError: session id, sender or sender name is missing; or, inside a graph, the message is not
                one of its flow and owner.
        """
        if not message or not should_persist_messages():
            return [message] if message else []
        if not message.session_id or not message.sender or not message.sender_name:
            msg = (
                "All of session_id, sender, and sender_name must be provided. "
                f"Session ID: {message.session_id}, "
                f"Sender: {message.sender}, Sender Name: {message.sender_name}"
            )
            raise ValueError(msg)
        flow_id, user_id = scope.of_write(flow_id, user_id)
        message_id = getattr(message, "id", None)
        if message_id:
            store = await runtime.store()
            present = await _find(store, message_id, likely=[flow_id, message.flow_id])
            copied = (
                scope.in_graph() and present is not None and _is_of_nested_flow(present, flow_id, user_id)
            )
            if not copied and (present is not None or scope.in_graph()):
                return await self.aupdate_messages([message])
        return await self.aadd_messages([message], flow_id=flow_id, run_id=run_id, user_id=user_id)

    async def aadd_messages(
        self,
        messages: Message | list[Message],
        flow_id: Id | None = None,
        run_id: Id | None = None,
        user_id: Id | None = None,
    ) -> list[Message]:
        """Store new messages. Within a session all or none are stored.

        Raises:
            ValueError: one is not a message, or lacks a required field.
        """
        several = messages if isinstance(messages, list) else [messages]
        for each in several:
            if not isinstance(each, Message) and type(each).__name__ not in ("Message", "ErrorMessage"):
                types = ", ".join(str(type(each)) for each in several)
                msg = f"The messages must be instances of Message. Found: {types}"
                raise ValueError(msg)
        flow_id, user_id = scope.of_write(flow_id, user_id)
        new = [convert.to_new(each, flow_id=flow_id, run_id=run_id, user_id=user_id) for each in several]
        return [await Message.create(**convert.to_read(one).model_dump()) for one in await _append(new)]

    async def aadd_messagetables(self, messages: Sequence[Any]) -> list[Any]:
        """Store rows of Langflow's message table; they get the ids they are stored under."""
        new = [
            convert.row_to_new(row)
            if hasattr(row, "is_output")
            else convert.to_new(row, flow_id=None, run_id=None, user_id=None)
            for row in messages
        ]
        kept = await _append(new)
        for row, one in zip(messages, kept, strict=True):
            row.id = convert.to_row(one)["id"]
        return [convert.to_read(one) for one in kept]

    async def aget_messages(
        self,
        sender: str | None = None,
        sender_name: str | None = None,
        session_id: Id | None = None,
        context_id: Id | None = None,
        order_by: str | None = "timestamp",
        order: str | None = "DESC",
        flow_id: Id | None = None,
        limit: int | None = None,
        user_id: Id | None = None,
    ) -> list[Message]:
        """The messages that have the given values, without those that report an error.

        Only exactly ``"DESC"`` descends. ``limit`` gives the first ones of the order; 0 and None give all.
        The newest by time (the default order) cost what they are; any other order reads all that have the
        values.

        Raises:
            ValueError: ``order_by`` is not a field to order by.
        """
        allowed = scope.of_read(flow_id, user_id)
        if allowed is None:
            return []
        if order_by and order_by not in ORDER_FIELDS:
            msg = f"Invalid order_by field: {order_by}"
            raise ValueError(msg)
        descending = order == "DESC"
        newest_first = order_by == "timestamp" and descending
        most = limit if limit and limit > 0 else _EVERYTHING
        filters: dict[str, Any] = {
            "user_id": allowed.user_id,
            "sender": sender or None,
            "sender_name": sender_name or None,
            "context_id": str(context_id) if context_id else None,
            "include_errors": False,
            "limit": most if newest_first else _EVERYTHING,
        }
        store = await runtime.store()
        if session_id:
            found = await store.history(allowed.flow_id, str(session_id), **filters)
        else:
            found = (await store.recent(allowed.flow_id, **filters))[::-1]
        if order_by and order_by != "timestamp":
            found.sort(key=lambda message: getattr(message, order_by), reverse=descending)
        elif newest_first:
            found.reverse()
        return [await convert.to_message(message) for message in found[:most]]

    async def aupdate_messages(self, messages: Message | list[Message]) -> list[Any]:
        """Update stored messages: the fields that are set. Their timestamps stay.

        Raises:
            ValueError: one is not there, or inside a graph not one of its flow and owner; nothing was
            changed.
        """
        several = messages if isinstance(messages, list) else [messages]
        graph = scope.of_graph()
        store = await runtime.store()
        planned = []
        for message in several:
            message_id = str(getattr(message, "id", None))
            likely = [graph.flow_id] if graph else [message.flow_id]
            present = await _find(store, message_id, likely=likely, only=graph is not None)
            if present is None or (graph is not None and present.user_id != graph.user_id):
                raise _missing(message_id)
            planned.append((present, convert.to_update(message, scope=graph, present=present)))
        updated = []
        for present, update in planned:
            try:
                now = await store.update(present.id, update, flow_id=present.flow_id, mark_edited=False)
            except MessageNotFoundError:
                raise _missing(present.id) from None
            updated.append(convert.to_read(now))
        return updated

    async def adelete_messages(
        self,
        session_id: Id | None = None,
        context_id: Id | None = None,
        *,
        flow_id: Id | None = None,
        user_id: Id | None = None,
    ) -> None:
        """Delete the owner's messages of a context, in all sessions of the flow; or else those of a session.

        Raises:
            ValueError: neither is named, or there is no flow and owner.
        """
        if not session_id and not context_id:
            msg = "Either session_id or context_id must be provided to delete messages."
            raise ValueError(msg)
        allowed = scope.of_read(flow_id, user_id)
        if allowed is None:
            msg = "A valid flow and message owner are required to delete chat history."
            raise ValueError(msg)
        store = await runtime.store()
        sessions = _sessions(store, allowed.flow_id) if context_id else _one(str(session_id))
        async for session in sessions:
            await _delete(store, allowed, session, str(context_id) if context_id else None)

    async def adelete_message(self, id_: Id) -> None:
        """Delete one message. One that is not there, or in a graph not in its scope, is ignored."""
        if not should_persist_messages():
            return
        graph = scope.of_graph()
        store = await runtime.store()
        present = await _find(store, id_, likely=[graph.flow_id] if graph else [], only=graph is not None)
        if present is not None and (graph is None or present.user_id == graph.user_id):
            await store.delete_messages([present.id], flow_id=present.flow_id)

    def store_message(
        self,
        message: Message,
        flow_id: Id | None = None,
        run_id: Id | None = None,
        user_id: Id | None = None,
    ) -> list[Any]:
        """:meth:`astore_message` for synchronous callers."""
        return runtime.blocking(self.astore_message(message, flow_id, run_id, user_id))

    def get_messages(
        self,
        sender: str | None = None,
        sender_name: str | None = None,
        session_id: Id | None = None,
        context_id: Id | None = None,
        order_by: str | None = "timestamp",
        order: str | None = "DESC",
        flow_id: Id | None = None,
        limit: int | None = None,
        user_id: Id | None = None,
    ) -> list[Message]:
        """:meth:`aget_messages` for synchronous callers."""
        return runtime.blocking(
            self.aget_messages(
                sender, sender_name, session_id, context_id, order_by, order, flow_id, limit, user_id
            )
        )

    def delete_messages(
        self,
        session_id: Id | None = None,
        context_id: Id | None = None,
        *,
        flow_id: Id | None = None,
        user_id: Id | None = None,
    ) -> None:
        """:meth:`adelete_messages` for synchronous callers."""
        runtime.blocking(self.adelete_messages(session_id, context_id, flow_id=flow_id, user_id=user_id))

    def add_messages(
        self,
        messages: Message | list[Message],
        flow_id: Id | None = None,
        run_id: Id | None = None,
        user_id: Id | None = None,
    ) -> list[Message]:
        """:meth:`aadd_messages` for synchronous callers."""
        return runtime.blocking(self.aadd_messages(messages, flow_id, run_id, user_id))

    async def teardown(self) -> None:
        """Close the connections of this loop and of synchronous callers."""
        await runtime.aclose()


async def _append(new: Sequence[tuple[str, stored.NewMessage]]) -> list[stored.Message]:
    """Store messages, flow by flow; returns them in the order given."""
    store = await runtime.store()
    by_flow: dict[str, list[int]] = {}
    for place, (flow, _) in enumerate(new):
        by_flow.setdefault(flow, []).append(place)
    kept: dict[int, stored.Message] = {}
    for flow, places in by_flow.items():
        several: list[stored.Message] = []
        for portion in portions([new[place][1] for place in places], store.settings):
            several += await owners.append_many(store, flow, portion)
        kept.update(zip(places, several, strict=True))
    return [kept[place] for place in range(len(new))]


async def _find(
    store: SessionStore, message_id: Id, *, likely: Sequence[Id | None], only: bool = False
) -> stored.Message | None:
    """A message by its id: in the likely flows; then, unless ``only`` there, in all."""
    flows = list(dict.fromkeys(str(flow) for flow in likely if flow))
    found = await store.get(message_id, flows=flows) if flows else None
    return found if found is not None or only else await store.get(message_id)


def _is_of_nested_flow(present: stored.Message, flow_id: Id | None, user_id: Id | None) -> bool:
    elsewhere = present.flow_id not in (convert.NO_FLOW, str(flow_id))
    return elsewhere and present.user_id == str(user_id)


def _missing(message_id: str) -> ValueError:
    return ValueError(f"Message with id {message_id} not found")


async def _one(session: str) -> AsyncIterator[str]:
    yield session


async def _sessions(store: SessionStore, flow_id: str) -> AsyncIterator[str]:
    """The flow's sessions, as they were at the start: deletions shift the pages."""
    names: list[str] = []
    while page := await store.sessions(flow_id, limit=_PAGE, offset=len(names)):
        names += page
    for name in names:
        yield name


async def _delete(store: SessionStore, whose: scope.Scope, session: str, context_id: str | None) -> None:
    """Delete the owner's messages of a session, or those of a context in it, newest first."""
    before: stored.Message | None = None
    while True:
        page = await store.history(
            whose.flow_id, session, limit=_PAGE, before=before, user_id=whose.user_id, context_id=context_id
        )
        if page:
            await store.delete_messages([message.id for message in page], flow_id=whose.flow_id)
        if len(page) < _PAGE:
            return
        before = page[0]


service: MemoryService = MemoryService()


def install(app: object = None) -> None:
    """Put chat memory in Redis, for every caller in this process. May be repeated.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from redis_sessions.langflow import functions

    lfx_memory = importlib.import_module("lfx.memory")
    seams.replace(lfx_memory, "_impl", functions.implementation)
    if importlib.util.find_spec("langflow") is None:
        from redis_sessions.langflow import standalone

        standalone.install()
    else:
        langflow_memory = importlib.import_module("langflow.memory")
        for name in functions.NAMES:
            seams.replace(langflow_memory, name, getattr(functions, name))
    _register()


def _register() -> None:
    """As lfx's memory service, in an lfx that has a place for one."""
    from lfx.services.manager import get_service_manager
    from lfx.services.schema import ServiceType

    kind = getattr(ServiceType, "MEMORY_SERVICE", None)
    if kind is not None and "lfx.services.memory.base" in sys.modules:
        get_service_manager().register_service_class(kind, MemoryService, override=True)
