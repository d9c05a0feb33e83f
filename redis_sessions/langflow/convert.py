"""Langflow's messages to stored ones, and back: the same values as a round trip through Langflow's SQL table.

The rules are those of Langflow 1.13's ``services/database/models/message/model.py`` (``from_message`` and the
validators of its rows); the table itself is not needed, so that bare lfx can store too.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from fastapi.encoders import jsonable_encoder
from lfx.schema.legacy_render import render_v1_content_blocks
from lfx.schema.message import Message
from lfx.schema.validators import TF_WITH_TZ_AND_MICROSECONDS, str_to_timestamp
from lfx.utils import file_path_security

from redis_sessions import limits
from redis_sessions import models as stored

if TYPE_CHECKING:
    from datetime import datetime

    from redis_sessions.langflow.scope import Scope

    Id = str | UUID

NO_FLOW = "no-flow"
"""Where messages are that were stored for no flow, which Langflow allows outside a graph."""

_UPDATABLE = frozenset(stored.MessageUpdate.model_fields)


def to_new(
    message: Any, *, flow_id: Id | None, run_id: Id | None, user_id: Id | None
) -> tuple[str, stored.NewMessage]:
    """A message as it is stored, and the flow it is stored in. Its attachments become paths, as in Langflow.

    As there, a new message is neither an error nor edited, whatever it says: an update makes it so.

    Raises:
        ValueError: text, sender or sender name is missing, or an id is not a UUID.
    """
    empty = message.data.get("text") is None and message.text_stream is None and not message.content_blocks
    if empty or not message.sender or not message.sender_name:
        msg = "The message does not have the required fields (text, sender, sender_name)."
        raise ValueError(msg)
    if paths := _paths(message):
        message.files = paths
    fields = {
        "text": message.text if isinstance(message.text, str) else "",
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "timestamp": _timestamp(message.timestamp),
        "user_id": uuid_text("User", user_id),
        "run_id": uuid_text("Run", run_id or getattr(message, "run_id", None)),
        "context_id": message.context_id,
        "files": list(message.files or []),
        "properties": plain(message.properties),
        "category": message.category or "",
        "content_blocks": plain(message.content_blocks or []),
        "session_metadata": plain(getattr(message, "session_metadata", None)),
    }
    flow = uuid_text("Flow", flow_id or message.flow_id)
    return flow or NO_FLOW, limits.validated(stored.NewMessage, fields)


def row_to_new(row: Any) -> tuple[str, stored.NewMessage]:
    """The same for a row of Langflow's ``MessageTable``; an id that was given to it is kept."""
    fields = {name: getattr(row, name) for name in stored.NewMessage.model_fields if hasattr(row, name)}
    fields["timestamp"] = _timestamp(row.timestamp)
    for name in ("properties", "content_blocks", "session_metadata"):
        fields[name] = plain(fields[name])
    for name in ("user_id", "run_id"):
        fields[name] = uuid_text(name, fields[name])
    fields |= {"category": row.category or "", "id": row.id if "id" in row.model_fields_set else None}
    return uuid_text("Flow", row.flow_id) or NO_FLOW, limits.validated(stored.NewMessage, fields)


def to_update(message: Any, *, scope: Scope | None, present: stored.Message) -> stored.MessageUpdate:
    """What storing a message again changes of ``present``: the fields that are set in it.

    The timestamp stays: it is the message's place in its session.

    Raises:
        ValueError: it names another flow; inside a graph also another owner.
    """
    given = message.model_dump(exclude_unset=True, exclude_none=True)
    flow, user = given.get("flow_id"), given.get("user_id")
    if scope is not None and (str(flow or scope.flow_id), str(user or scope.user_id)) != scope:
        msg = "Message scope does not match the executing graph."
        raise ValueError(msg)
    if flow and str(flow) != present.flow_id:
        msg = f"Message {present.id} is in another flow, and messages do not move between flows."
        raise ValueError(msg)
    fields = {name: value for name, value in given.items() if name in _UPDATABLE}
    if not isinstance(fields.get("text", ""), str):
        del fields["text"]  # a stream that nobody has read yet
    if not fields.get("session_id"):
        fields.pop("session_id", None)
    if "files" in fields:
        fields["files"] = _paths(message)
    for name in ("properties", "content_blocks", "session_metadata"):
        if name in fields:
            fields[name] = plain(fields[name])
    update: stored.MessageUpdate = limits.validated(stored.MessageUpdate, fields)
    return update


def to_row(message: stored.Message) -> dict[str, Any]:
    """What Langflow's ``MessageTable.model_dump`` gives for it."""
    properties = message.extra_properties
    if properties is None:
        properties = msgspec.to_builtins(message.stored_properties)
    return {
        "timestamp": message.timestamp.strftime(TF_WITH_TZ_AND_MICROSECONDS),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "text": message.text,
        "files": list(message.files),
        "error": message.error,
        "edit": message.edit,
        "properties": properties,
        "category": message.category,
        "content_blocks": message.content_blocks,
        "session_metadata": message.session_metadata,
        "id": UUID(message.id),
        "flow_id": _flow(message.flow_id),
        "run_id": UUID(message.run_id) if message.run_id else None,
        "user_id": _uuid_or_text(message.user_id),
        "is_output": False,
    }


def to_read(message: stored.Message) -> Any:
    """What Langflow's writes return: a ``MessageRead``; without Langflow a :class:`Message`."""
    fields = to_row(message)
    fields["content_blocks"] = render_v1_content_blocks(fields["content_blocks"]) or []
    del fields["user_id"], fields["is_output"]
    try:
        from langflow.services.database.models.message.model import MessageRead
    except ImportError:
        return Message(**fields)
    return MessageRead.model_validate(fields)


async def to_message(message: stored.Message) -> Message:
    """A message as chat memory gives it to components."""
    return await Message.create(**to_row(message))


def plain(value: Any) -> Any:
    """``value`` as JSON has it: models, data frames and numpy's numbers are what they hold; NaN is null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(json.loads(item) if _is_json_object(item) else item) for item in value]
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if hasattr(value, "iloc") and hasattr(value, "to_dict"):
        return plain(value.to_dict(orient="records"))
    if hasattr(value, "item") and hasattr(value, "dtype"):
        return plain(value.item())
    try:
        encoded = jsonable_encoder(value)
    except (TypeError, ValueError):
        return str(value)
    return str(value) if encoded is value else plain(encoded)


def uuid_text(what: str, value: Id | None) -> str | None:
    """The id as text; None when there is none.

    Raises:
        ValueError: it is not a UUID.
    """
    if not value:
        return None
    try:
        return str(value if isinstance(value, UUID) else UUID(str(value)))
    except ValueError:
        msg = f"{what} ID {value} is not a valid UUID"
        raise ValueError(msg) from None


def _is_json_object(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{")


def _paths(message: Any) -> list[str]:
    """Attachments as paths; one that lies in the session's folder begins with the session id."""
    paths = []
    for file in message.files or []:
        path = getattr(file, "path", None) if hasattr(file, "url") else file
        if not isinstance(path, str) or not path:
            continue
        session = str(message.session_id or "")
        folder = _folder(session, path)
        inside = path.split(folder)[1:] if session and path is not file else []
        paths.append(f"{folder}{inside[0]}" if inside else path)
    return paths


def _folder(session: str, path: str) -> str:
    """A session's folder. From Langflow 1.13.1 on that of a flow is ``flow-<id>``, of older files its id."""
    scope = getattr(file_path_security, "flow_storage_scope", None)
    typed = "" if scope is None else str(scope(session))
    return typed if typed and f"{typed}/" in path else session


def _timestamp(value: datetime | str) -> datetime:
    from datetime import UTC, datetime

    if isinstance(value, str):
        try:
            return datetime.strptime(value, TF_WITH_TZ_AND_MICROSECONDS).replace(tzinfo=UTC)
        except ValueError:
            value = datetime.fromisoformat(value)
    return str_to_timestamp(value)


def _flow(flow_id: str) -> UUID | str | None:
    return None if flow_id == NO_FLOW else _uuid_or_text(flow_id)


def _uuid_or_text(value: str | None) -> UUID | str | None:
    try:
        return None if value is None else UUID(value)
    except ValueError:
        return value
