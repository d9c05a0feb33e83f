"""The history of the running flow, for the person it runs for."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.chat_history import BaseChatMessageHistory
from lfx.memory.flow_context import (
    coerce_flow_id,
    get_current_flow_id,
    get_current_message_owner_id,
    has_current_flow_scope,
    should_persist_messages,
)
from lfx.schema.message import Message as LangflowMessage

from redis_sessions.errors import InvalidInputError
from redis_sessions.langchain import RedisSessionHistory, to_langchain
from redis_sessions.langchain.conversion import is_from_langchain
from redis_sessions.langflow.extension.destination import destination

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage

    from redis_sessions.langchain.history import Place
    from redis_sessions.models import Message
    from redis_sessions.settings import Settings
logger: logging.Logger = logging.getLogger(__name__)

MOST = 10_000
"""Messages that are read where nobody says how many (Langflow 1.13: ``MAX_CHAT_HISTORY_FETCH_LIMIT``)."""


class Scope(NamedTuple):
    """What messages belong to: the flow, and the person it runs for (Langflow's *message owner*)."""

    flow_id: UUID
    user_id: UUID

    @classmethod
    def running(cls) -> Scope | None:
        """That of the component that is running; None where nothing may be kept.

        As in Langflow 1.13 (``lfx/memory/flow_context.py``), that is: outside of a flow, in a flow without
        an id, for nobody in particular, or in a run that was told so (anonymous serving).
        """
        flow_id = coerce_flow_id(get_current_flow_id())
        user_id = get_current_message_owner_id()
        if flow_id is None or user_id is None or not should_persist_messages():
            return None
        return cls(flow_id, user_id)


_added: ContextVar[tuple[FlowHistory, Sequence[BaseMessage]] | None] = ContextVar("added", default=None)
"""What the running component has just added, and where."""


class FlowHistory(RedisSessionHistory):
    """A session of one flow. Whoever asks for it, it is the running person's messages that are read and
    stored; another flow than the one it was made in is refused.

    Args:
        limit: read at most this many, the newest. 0: whoever adds messages gets these and no others, so that
            Message History answers with what it has stored (and not with the session's oldest message).
    """

    def __init__(self, scope: Scope, session_id: str, *, limit: int, settings: Settings) -> None:
        super().__init__(
            session_id, flow_id=scope.flow_id, user_id=scope.user_id, limit=limit or MOST, settings=settings
        )
        self._for_storing = limit == 0

    async def aget_messages(self) -> list[BaseMessage]:
        """The newest ``limit`` messages, oldest first."""
        added = _added.get()
        if self._for_storing and added is not None and added[0] is self:
            return list(added[1])
        return await super().aget_messages()

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages at the end, in one step."""
        await super().aadd_messages(messages)
        if self._for_storing:
            _added.set((self, messages))

    def _place(self) -> Place:
        place = super()._place()
        if not has_current_flow_scope():
            return place  # a thread of LangChain's that has no context: whoever it was made for
        running = Scope.running()
        if running is None or str(running.flow_id) != self.flow_id:
            msg = "the history of one flow was handed to another, or to a run that may not keep messages"
            raise InvalidInputError(msg)
        return place._replace(user_id=str(running.user_id))

    def _to_langchain(self, message: Message) -> BaseMessage:
        if not message.files or is_from_langchain(message):
            return to_langchain(message)
        converted: BaseMessage = LangflowMessage(
            text=message.text, sender=message.sender, sender_name=message.sender_name, files=message.files
        ).to_lc_message()
        converted.id = message.id
        return converted


class RunHistory(BaseChatMessageHistory):
    """Messages of this run only, which may not keep any. As Langflow's own memory does then."""

    def __init__(self) -> None:
        self.session_id = ""
        self.context_id = ""
        self.messages: list[BaseMessage] = []

    async def aget_messages(self) -> list[BaseMessage]:
        return list(self.messages)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.messages += messages

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.add_messages(messages)

    def clear(self) -> None:
        self.messages.clear()

    async def aclear(self) -> None:
        self.clear()


async def history_of(component: Any, *, limit: int) -> FlowHistory | RunHistory:
    """The history that the inputs of a component ask for. Nothing is connected yet.

    Raises:
        ConfigurationError, SSRFProtectionError: as :func:`destination`.
    """
    settings = await asyncio.to_thread(
        destination,
        _text(component.url).strip(),
        username=_text(component.username),
        password=_text(component.password),
        prefix=_text(component.prefix).strip(),
        ttl=component.ttl or 0,
    )
    scope = Scope.running()
    if scope is None:
        logger.warning(
            "Redis Sessions keeps the messages of this run in memory only: it has no flow id or no user, or "
            "may not keep any"
        )
        return RunHistory()
    graph = component.graph
    session_id = _text(component.session_id) or getattr(graph, "session_id", None) or scope.flow_id
    return FlowHistory(scope, str(session_id), limit=limit, settings=settings)


async def rows_of(history: FlowHistory | RunHistory) -> list[dict[str, Any]]:
    """The messages with their ids, times and all fields, oldest first."""
    if isinstance(history, RunHistory):
        return []
    return [message.model_dump(mode="json") for message in await history.astored_messages()]


def asked_for(component: Any, output: str) -> int | None:
    """How many messages the Message History components at this output read; None where that is not known.

    One that stores asks for none.
    """
    vertex = component._vertex
    counts: list[int] = []
    for edge in vertex.outgoing_edges if vertex is not None else ():
        if edge.source_handle.name != output:
            continue
        asked = vertex.graph.get_vertex(edge.target_id).raw_params
        count = 0 if asked.get("mode") == "Store" else asked.get("n_messages")
        if type(count) is not int or count < 0:
            return None
        counts.append(count)
    return max(counts, default=None)


def _text(value: Any) -> str:
    """What was entered: text, a secret, or a message."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    return str(getattr(value, "text", value) or "")
