r"""The stored form of a message: three lines of JSON text, ready to be spliced into a response.

::

    {…}
    {"sender":…,"sender_name":…
    ,"context_id":…,"text":…,"files":"[…]","edit":…,"duration":…,…,"session_metadata":…}

Lines two and three together are the object that ``GET /api/v1/monitor/messages`` shows, in its order
(Langflow 1.13: ``MessageResponse``), without id, flow and time, which come first there, and without the
session id, which stands where the line breaks: a reader splices these in and never decodes JSON. JSON text
has no raw newline, and a line break between members is white space, so the two lines are a JSON object too.
Line one holds what that endpoint does not show: ``error``, ``run_id``, ``user_id``, fields whose stored form
differs from the shown one, and the ``origin`` of an imported message.

The id, flow, session and time of a message are not in its body: they are where the entry is.
"""

from __future__ import annotations

import json
import struct
from binascii import hexlify
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import PydanticSerializationError, to_json

from redis_sessions.clock import wire_second, wire_time
from redis_sessions.errors import InvalidInputError
from redis_sessions.formats import to_present
from redis_sessions.ids import NUMBER_MASK, id_tail, to_message_id, to_uuid_text
from redis_sessions.models import (
    MESSAGE_FIELDS,
    Message,
    NewMessage,
    Properties,
    Source,
    StoredProperties,
    Usage,
)
from redis_sessions.projection import project_content_blocks

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

RawEntry = tuple[bytes, bytes, bytes, bytes | None]
"""An entry id, its timestamp in µs as text, a body, and an adopted id."""

_OBJECT = b'\n{"sender":'
_SEAM = b'\n,"context_id":'
_DEFAULT_PROPERTIES = Properties().model_dump()
_CONTENT = tuple(name for name in MESSAGE_FIELDS if name not in {"id", "flow_id", "session_id", "timestamp"})

_SHOWN_AS_STORED = frozenset(
    {"sender", "sender_name", "context_id", "text", "edit", "category", "session_metadata"}
)


class CorruptEntryError(Exception):
    """A stored body is not one of ours. Never leaves the package: readers skip and count it."""


def encode(message: NewMessage | Message, changes: Mapping[str, Any] | None = None) -> bytes:
    """The stored form of a message, with some fields changed.

    Lone surrogates become U+FFFD, NaN and infinities null.

    Raises:
        InvalidInputError: a field holds what JSON cannot (the text names the problem, not the value).
    """
    # Not getattr: pydantic takes its time to find out that a model has no such attribute.
    origin = message.__dict__.get("origin") if isinstance(message, NewMessage) else message.origin
    if changes:
        origin = changes.get("origin", origin)
        message = NewMessage.model_construct(
            **{name: getattr(message, name) for name in _CONTENT} | dict(changes)
        )
    properties, properties_raw = _show_properties(message.properties)
    blocks = message.content_blocks
    shown_blocks = project_content_blocks(blocks) if blocks else blocks
    shown = {
        "sender": message.sender,
        "sender_name": message.sender_name,
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
    if origin is not None:
        rest["origin"] = origin
    # The seam's text stands nowhere earlier: inside of a string its quotes would be escaped.
    body = _to_json(shown).replace(_SEAM[1:], _SEAM, 1)
    return (_to_json(rest) if rest else b"{}") + b"\n" + body


def revise(body: bytes, message: Message, changes: Mapping[str, Any]) -> bytes:
    """The stored form of ``message``, whose stored form is ``body``, with some fields changed.

    Byte for byte that of :func:`encode`. Fields that are shown as they are stored are replaced in the text.

    Raises:
        InvalidInputError: as :func:`encode`.
    """
    if not body.startswith(b"{") or not changes.keys() <= _SHOWN_AS_STORED:  # "{": of the present format
        return encode(message, changes)
    rest, _, shown = body.partition(b"\n")
    fields = _decode_raw(shown)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(_to_json(value))
    return rest + b"\n" + _encode_raw(fields).replace(_SEAM[1:], _SEAM, 1)


def _show_properties(properties: Properties | StoredProperties | None) -> tuple[Any, Any]:
    """What is shown, and the whole where that is more (unknown fields)."""
    if properties is None:
        return _DEFAULT_PROPERTIES, None
    if isinstance(properties, StoredProperties):
        return msgspec.to_builtins(properties), None
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


def shown_properties(properties: Properties) -> Any:
    """Properties as they are shown: without unknown fields."""
    return _show_properties(properties)[0]


def encode_json(value: Any) -> bytes:
    """Compact JSON. Lone surrogates become U+FFFD, NaN and infinities null.

    Raises:
        InvalidInputError: it holds what JSON cannot.
    """
    return _to_json(value)


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


class _Rest(msgspec.Struct):
    """Line one of a body."""

    error: bool = False
    run_id: str | None = None
    user_id: str | None = None
    properties: dict[str, Any] | None = None
    content_blocks: list[dict[str, Any]] | None = None
    origin: dict[str, Any] | None = None


_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode_raw = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_rest = msgspec.json.Decoder(_Rest).decode
_set = msgspec.structs.force_setattr


def decode(body: bytes, *, flow_id: str, session_id: str, entry: RawEntry) -> Message:
    """The message that a body is. What is derived from the entry is converted when it is looked at.

    Raises:
        CorruptEntryError: it is not a body of ours.
        UnsupportedFormatError: it is one of a later version of this package.
    """
    start = body.find(b"\n")
    try:
        message = _decode_message(body[start + 1 :])
        if start != 2:
            _add_rest(message, _decode_rest(body[:start]))
        if message.stored_files != "[]":
            _ = message.files  # shows now whether they can be converted
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        converted = to_present(body)
        if converted is not None:
            return decode(converted, flow_id=flow_id, session_id=session_id, entry=entry)
        raise CorruptEntryError(type(error).__name__) from None
    _set(message, "flow_id", flow_id)
    _set(message, "session_id", session_id)
    _set(message, "raw_id", entry[0])
    _set(message, "raw_at", entry[1])
    _set(message, "alias", entry[3])
    return message


def _add_rest(message: Message, rest: _Rest) -> None:
    _set(message, "error", rest.error)
    _set(message, "run_id", rest.run_id)
    _set(message, "user_id", rest.user_id)
    _set(message, "extra_properties", rest.properties)
    _set(message, "origin", rest.origin)
    if rest.properties is not None:
        _ = message.properties  # shows now whether they can be converted
    if rest.content_blocks is not None:
        _set(message, "content_blocks", rest.content_blocks)


def splice(flow_id: str, session_id: str, entries: Sequence[RawEntry]) -> list[bytes | None]:
    """Messages as ``GET /monitor/messages`` shows them, without decoding JSON; None for a corrupt one."""
    before_time = b'","flow_id":' + to_json(flow_id) + b',"timestamp":"'
    seam = _session_seam(session_id)
    spliced: list[bytes | None] = []
    for raw_id, at, body, alias in entries:
        start = body.find(_OBJECT) + 2
        head, cut, tail = body[start:].partition(_SEAM)
        if start == 1 or not cut:
            converted = to_present(body)
            spliced += splice(flow_id, session_id, [(raw_id, at, converted, alias)]) if converted else [None]
            continue
        us, _, seq = raw_id.partition(b"-")
        uuid = to_message_id(int(us), int(seq)) if alias is None else to_uuid_text(alias)
        moment = wire_time(int(at)).encode()
        spliced.append(b"".join((b'{"id":"', uuid.encode(), before_time, moment, b'",', head, seam, tail)))
    return spliced


def splice_page(
    flow_id: str, session_id: str, page: Sequence[Any], numbers: Container[int]
) -> list[bytes] | None:
    """:func:`splice` for stream entries as Redis sends them, all of them plain; in reverse order.

    None when any is not: late, adopted, foreign, corrupt, before 2001, or months away from another. The
    hottest loop of the package: what can be done once, or for all entries at once, is.
    """
    if not page:
        return []
    before_time = b'","flow_id":' + to_json(flow_id) + b',"timestamp":"'
    session = b',"session_id":' + to_json(session_id)
    seconds: dict[bytes, bytes] = {}
    last_seq, tail = b"", b""
    spliced: list[bytes] = []
    add, join = spliced.append, b"".join
    entries = page[::-1]
    try:
        times = [int(entry[0][:16]) for entry in entries]
        if times[0] >> 44 != times[-1] >> 44:
            return None
        # The first three groups of each id, version included; the first 16 bits are the same in all.
        halves = [(time & ~0xFFF) << 4 | 0x8000 | time & 0xFFF for time in times]
        digits = hexlify(struct.pack(f">{len(halves)}Q", *halves), "-", 2)
        opening = b'{"id":"' + digits[:4]
        at = 5
        for raw_id, (name, body) in entries:
            dashed_seq = raw_id[16:]
            if dashed_seq != last_seq:
                seq = int(dashed_seq[1:])
                if dashed_seq[:1] != b"-" or seq & NUMBER_MASK not in numbers:
                    return None
                last_seq, tail = dashed_seq, id_tail(seq).encode() + before_time
            second = seconds.get(raw_id[:10])
            if second is None:
                second = seconds[raw_id[:10]] = wire_second(int(raw_id[:10])).encode()
            _, head, shown = body.split(b"\n", 2)
            if head[:10] != b'{"sender":' or name != b"b":
                return None
            add(
                join(
                    (
                        opening,
                        digits[at : at + 14],
                        tail,
                        second,
                        raw_id[10:16],
                        b' UTC",',
                        head[1:],
                        session,
                        shown,
                    )
                )
            )
            at += 20
    except ValueError:
        return None
    return spliced


def _session_seam(session_id: str) -> bytes:
    return b',"session_id":' + to_json(session_id) + _SEAM[1:]


def join(messages: Iterable[bytes]) -> bytes:
    """A JSON array of spliced messages."""
    return b"[" + b",".join(messages) + b"]"
