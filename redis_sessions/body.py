r"""The stored form of a message: three lines of JSON text, ready to be spliced into a response.

::

    "sender":…,"sender_name":…
    "context_id":…,"text":…,"files":"[…]","edit":…,"duration":…,…,"session_metadata":…
    {…}

Lines one and two are members of the object that ``GET /api/v1/monitor/messages`` shows, in its order,
with the session's id between them (Langflow 1.13: ``MessageResponse``): a reader adds id, flow, time and
session and never decodes JSON. Line three holds what that endpoint does not show: ``error``, ``run_id``,
``user_id``, and fields whose stored form differs from the shown one. JSON text has no raw newline, so the
lines are safe to split.

The id, flow, session and time of a message are not in its body: they are where the entry is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from redis_sessions.clock import from_us, wire_time
from redis_sessions.errors import InvalidInputError
from redis_sessions.ids import EntryId, to_message_id
from redis_sessions.models import Message, NewMessage, Properties, Source, Usage
from redis_sessions.projection import project_content_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_PROPERTIES = Properties()


class CorruptEntryError(Exception):
    """A stored body is not one of ours. Never leaves the package: readers skip and count it."""


def encode(message: NewMessage | Message) -> bytes:
    """The stored form of a message. Lone surrogates become U+FFFD, NaN and infinities null.

    Raises:
        InvalidInputError: a field holds what JSON cannot (the text names the problem, not the value).
    """
    properties, properties_raw = _show_properties(message.properties)
    blocks = message.content_blocks
    shown_blocks = project_content_blocks(blocks) if blocks else blocks
    head = {"sender": message.sender, "sender_name": message.sender_name}
    shown = {
        "context_id": message.context_id,
        "text": message.text,
        "files": json.dumps(_replace_surrogates(message.files)) if message.files else "[]",
        "edit": message.edit,
        "duration": message.duration,
        "properties": properties,
        "category": message.category,
        "content_blocks": shown_blocks,
        "session_metadata": message.session_metadata,
    }
    rest: dict[str, Any] = {}
    if message.error:
        rest["error"] = True
    if message.run_id is not None:
        rest["run_id"] = message.run_id
    if message.user_id is not None:
        rest["user_id"] = message.user_id
    if properties_raw is not None:
        rest["properties"] = properties_raw
    if shown_blocks != blocks:
        rest["content_blocks"] = blocks
    return b"\n".join((_to_json(head)[1:-1], _to_json(shown)[1:-1], _to_json(rest)))


def _show_properties(properties: Properties) -> tuple[Any, Any]:
    """What is shown, and the whole where that is more (unknown fields)."""
    whole = properties.model_dump()
    source = properties.source
    extras = properties.__pydantic_extra__ or source.__pydantic_extra__
    if not extras and not (properties.usage is not None and properties.usage.__pydantic_extra__):
        return whole, None
    shown = {name: whole[name] for name in Properties.model_fields}
    shown["source"] = {name: whole["source"][name] for name in Source.model_fields}
    if properties.usage is not None:
        shown["usage"] = {name: whole["usage"][name] for name in Usage.model_fields}
    return shown, whole


def _to_json(value: Any) -> bytes:
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        pass
    except ValueError:  # a circular reference
        msg = "a JSON field refers to itself, or is nested too deeply"
        raise InvalidInputError(msg) from None
    try:
        return to_json(_replace_surrogates(value), inf_nan_mode="null")
    except (PydanticSerializationError, ValueError, RecursionError):
        msg = "a field holds a value that JSON cannot hold"
        raise InvalidInputError(msg) from None


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_replace_surrogates(item) for item in value]
    return value


def decode(body: bytes, *, flow_id: str, session_id: str, us: int, seq: int, at: int, id: str) -> Message:
    """The message that a body is.

    Arguments: ``us`` and ``seq`` are the entry's place, ``at`` its timestamp in µs, ``id`` its id.

    Raises:
        CorruptEntryError: it is not a body of ours.
    """
    try:
        head, shown, rest = body.split(b"\n")
        fields = from_json(b"{" + head + b"," + shown + b"}", cache_strings="keys")
        files = fields["files"]
        fields["files"] = from_json(files) if files != "[]" else []
        if rest != b"{}":
            fields.update(from_json(rest))
        fields["id"] = id
        fields["flow_id"] = flow_id
        fields["session_id"] = session_id
        fields["timestamp"] = from_us(at)
        message = Message.model_validate(fields)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CorruptEntryError(type(error).__name__) from None
    message._entry = EntryId(us, seq)
    return message


def splice(body: bytes, *, prefix: bytes, session: bytes, at: int, id: str) -> bytes:
    """The message as ``GET /monitor/messages`` shows it, without decoding JSON.

    Arguments: ``prefix`` is ``b'","flow_id":<json>,"timestamp":"'``, ``session`` is
    ``b',"session_id":<json>,'``: both constant in a response.

    Raises:
        CorruptEntryError: the body is not one of ours.
    """
    head, _, tail = body.partition(b"\n")
    shown, separator, rest = tail.partition(b"\n")
    if not separator or head[:9] != b'"sender":' or shown[:13] != b'"context_id":' or rest[:1] != b"{":
        raise CorruptEntryError("layout")
    return b"".join(
        (b'{"id":"', id.encode(), prefix, wire_time(at).encode(), b'",', head, session, shown, b"}")
    )


def splice_frame(flow_id: str, session_id: str) -> tuple[bytes, bytes]:
    """The two constant parts of :func:`splice` for one session."""
    return (
        b'","flow_id":' + to_json(flow_id) + b',"timestamp":"',
        b',"session_id":' + to_json(session_id) + b",",
    )


def join(messages: Iterable[bytes]) -> bytes:
    """A JSON array of spliced messages."""
    return b"[" + b",".join(messages) + b"]"


__all__ = ["CorruptEntryError", "decode", "encode", "join", "splice", "splice_frame", "to_message_id"]
