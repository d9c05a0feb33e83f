"""LangChain's messages as stored ones, and back.

A stored message says in the fields of Langflow who said what, so that its Playground, the monitor and every
other reader show it. What these fields cannot say (tool calls, parts of content that are not text, an id of
the provider's, metadata) is kept beside them, in LangChain's own serialised form, under ``langchain`` of
``session_metadata``: the form of ``message_to_dict``, without what is a default or is the text.

So a plain question or answer carries nothing extra, and a text that was changed since (``PUT
/monitor/messages/{id}``) is the text that LangChain gets.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    messages_from_dict,
)

from redis_sessions.body import encode_json
from redis_sessions.errors import InvalidInputError
from redis_sessions.models import Message, NewMessage

if TYPE_CHECKING:
    from datetime import datetime

logger: logging.Logger = logging.getLogger(__name__)

METADATA_KEY = "langchain"
"""The key of ``session_metadata`` with what only LangChain knows."""

USER, AI = "User", "Machine"
_SENDERS = {
    # Langflow 1.13: lfx/schema/message.py, from_lc_message
    "human": (USER, "User"),
    "ai": (AI, "AI"),
    "system": ("System", "System"),
    "tool": ("Tool", "Tool"),
}
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


def from_langchain(
    message: BaseMessage,
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    context_id: str | None = None,
    timestamp: datetime | None = None,
) -> NewMessage:
    """The message to store for one of LangChain's.

    Tool calls are also shown as Langflow shows an agent's (``content_blocks``). Values in the message's
    metadata that JSON has no form for become text, as pydantic writes them.

    Raises:
        InvalidInputError: its type is one that LangChain itself cannot restore; it is a ``RemoveMessage``,
            which is an instruction and not a message; or a field holds what cannot be written.
    """
    if isinstance(message, RemoveMessage):
        msg = "a RemoveMessage is an instruction to LangGraph, and not a message that a history keeps"
        raise InvalidInputError(msg)
    sender, sender_name = _sender(message)
    metadata = None
    if extra := _extra(message):
        metadata = {METADATA_KEY: extra}
    return NewMessage(
        text=_text(message.content),
        sender=sender,
        sender_name=sender_name,
        session_id=session_id,
        user_id=user_id,
        context_id=context_id,
        timestamp=timestamp,
        content_blocks=_shown_tool_calls(message),
        session_metadata=metadata,
    )


def to_langchain(message: Message) -> BaseMessage:
    """LangChain's message for a stored one, whoever stored it.

    One that LangChain stored comes back as it was; without an id of its own, it has the stored one's. Where
    text or sender were changed since, the change counts: a new text takes the place of all text in the
    content, and parts that are not text stay.

    One that Langflow stored comes back as Langflow itself converts it (1.13: ``lfx/schema/message.py``,
    ``to_lc_message``), except that its attachments are not read: with ``sender`` "User" or none a
    ``HumanMessage``, else an ``AIMessage``.
    """
    extra = (message.session_metadata or {}).get(METADATA_KEY)
    if extra is not None:
        try:
            restored = _restore(extra, message.text)
        except _UNREADABLE as error:
            logger.warning(
                "message %s: what LangChain stored beside the text cannot be read (%s): "
                "the text alone is used",
                message.id,
                type(error).__name__,
            )
        else:
            if _sender(restored)[0] == message.sender:
                restored.id = restored.id or message.id
                return restored
    kind = HumanMessage if message.sender in ("", USER) else AIMessage
    return kind(content=message.text, id=message.id)


def is_from_langchain(message: Message) -> bool:
    """Whether it carries what LangChain stored beside the text."""
    return METADATA_KEY in (message.session_metadata or ())


def _sender(message: BaseMessage) -> tuple[str, str]:
    """``sender`` and ``sender_name`` of Langflow."""
    kind = message.type.removesuffix("MessageChunk").lower()
    sender, name = _SENDERS.get(kind, (kind, kind))
    if isinstance(message, ChatMessage):
        sender = name = message.role
    return sender or kind, message.name or name or kind


def _extra(message: BaseMessage) -> dict[str, Any] | None:
    """What the fields of Langflow do not say; None when they say it all."""
    data = message.model_dump(exclude_defaults=True, exclude={"type"})
    if isinstance(message.content, str):
        data.pop("content", None)
    if not data and message.type in ("human", "ai"):
        return None
    try:
        extra: dict[str, Any] = msgspec.json.decode(encode_json({"type": message.type, "data": data}))
        _restore(extra, _text(message.content))
    except InvalidInputError:
        raise
    except _UNREADABLE as error:
        msg = (
            f"LangChain could not restore this {type(message).__name__} from its own serialised form "
            f"({type(error).__name__}), so it is not stored"
        )
        raise InvalidInputError(msg) from None
    return extra


def _restore(extra: dict[str, Any], text: str) -> BaseMessage:
    data = dict(extra["data"])
    parts = data.get("content", "")
    data["content"] = _with_text(parts, text) if isinstance(parts, list) else text
    [message] = messages_from_dict([{"type": extra["type"], "data": data}])
    return message


def _text(content: str | list[str | dict[Any, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(filter(None, map(_text_of, content)))


def _text_of(part: Any) -> str | None:
    """The text of a part of content; None when it is something else."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    return None


def _with_text(parts: list[Any], text: str) -> list[Any]:
    """The parts, with this text; the same parts when they have it already."""
    if _text(parts) == text:
        return parts
    others = [part for part in parts if _text_of(part) is None]
    if not text:
        return others
    at = next((place for place, part in enumerate(parts) if _text_of(part) is not None), 0)
    return [*others[:at], {"type": "text", "text": text}, *others[at:]]


def _shown_tool_calls(message: BaseMessage) -> list[dict[str, Any]]:
    """An agent's steps, as Langflow 1.13 shows them."""
    if not isinstance(message, AIMessage) or not message.tool_calls:
        return []
    steps = [
        {
            "type": "tool_use",
            "duration": None,
            "header": {"title": f"Called **{call['name']}**", "icon": "Hammer"},
            "name": call["name"],
            "tool_input": call["args"],
            "output": None,
            "error": None,
        }
        for call in message.tool_calls
    ]
    return [{"title": "Agent Steps", "contents": steps, "allow_markdown": True, "media_url": None}]
