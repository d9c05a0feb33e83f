r"""The stored form of a message: five lines of JSON text, ready to be spliced into a response.

::

    3:{…}
    "<sender>"⟨,"sender_name":⟩"<sender's name>"
    "<text>"
    ⟨"[]","edit":false,…⟩…⟨…,"category":"message"⟩
    …⟨,"session_metadata":⟩…

Line one has the format and what ``GET /api/v1/monitor/messages`` does not show: ``error``, ``run_id``,
``user_id``, fields whose stored form differs from the shown one, and the ``origin`` of an imported message;
nothing if there is nothing. The others are what that endpoint shows, in its order (Langflow 1.13:
``MessageResponse``), cut where names would stand, between the lines and at their ends:

=======  =============================================================================  ====================
line     from, to                                                                       empty if
=======  =============================================================================  ====================
head     ``sender``, ``sender_name``, ``context_id`` (left out where null)              never
text     ``text``                                                                       never
middle   ``files``, ``edit``, ``duration``, ``properties``, ``category``                all have defaults
end      ``content_blocks``, ``session_metadata``                                       there are none
=======  =============================================================================  ====================

⟨…⟩ is one byte that stands for this text (``layout.py``). JSON text has no raw newline, so a reader splits
a body and splices the names and what else is missing in, and need not decode JSON.

The id, flow, session and time of a message are not in its body: they are where the entry is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import PydanticSerializationError, to_json

from redis_sessions.clock import wire_time
from redis_sessions.errors import InvalidInputError
from redis_sessions.formats import to_present
from redis_sessions.ids import to_message_id, to_uuid_text
from redis_sessions.layout import (
    MARK,
    assemble,
    expand_end,
    expand_head,
    expand_middle,
    members,
    remember,
    shorten_end,
    shorten_head,
    shorten_middle,
)
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
    from collections.abc import Callable, Iterable, Mapping, Sequence

RawEntry = tuple[bytes, bytes, bytes, bytes | None]
"""An entry id, its timestamp in µs as text, a body, and an adopted id."""

_DEFAULT_PROPERTIES = Properties().model_dump()
_CONTENT = tuple(name for name in MESSAGE_FIELDS if name not in {"id", "flow_id", "session_id", "timestamp"})
_SHOWN_AS_STORED = frozenset(
    {"sender", "sender_name", "context_id", "text", "edit", "category", "session_metadata"}
)
LINES = 5


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
    files, edit, duration, category = message.files, message.edit, message.duration, message.category
    middle = end = b""
    if (
        properties is not _DEFAULT_PROPERTIES
        or files
        or edit
        or duration is not None
        or category != "message"
    ):
        fields = {
            "files": json.dumps(_replace_surrogates(files)) if files else "[]",
            "edit": edit,
            "duration": duration,
            "properties": properties,
            "category": category,
        }
        middle = shorten_middle(_to_json(fields)[9:-1])
    if shown_blocks or message.session_metadata is not None:
        ends = {"content_blocks": shown_blocks, "session_metadata": message.session_metadata}
        end = shorten_end(_to_json(ends)[18:-1])
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
    return b"\n".join(
        (
            MARK + _to_json(rest) if rest else MARK,
            _head(message.sender, message.sender_name, message.context_id),
            _to_json(message.text),
            middle,
            end,
        )
    )


def _head(sender: str, name: str, context: str | None) -> bytes:
    fields = {"sender": sender, "sender_name": name}
    if context is not None:
        fields["context_id"] = context
    return shorten_head(_to_json(fields)[10:-1])


def revise(body: bytes, message: Message, changes: Mapping[str, Any]) -> bytes:
    """The stored form of ``message``, whose stored form is ``body``, with some fields changed.

    Byte for byte that of :func:`encode`. Fields that are shown as they are stored are replaced in the text.

    Raises:
        InvalidInputError: as :func:`encode`.
    """
    if not body.startswith(MARK) or not changes.keys() <= _SHOWN_AS_STORED:
        return encode(message, changes)
    shown = members(body)
    for name, value in changes.items():
        shown[name] = msgspec.Raw(_to_json(value))
    return assemble(body[len(MARK) : body.index(b"\n")] or b"{}", shown)


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
    """What line one of a body has."""

    error: bool = False
    run_id: str | None = None
    user_id: str | None = None
    properties: dict[str, Any] | None = None
    content_blocks: list[dict[str, Any]] | None = None
    origin: dict[str, Any] | None = None


class Head(msgspec.Struct, frozen=True):
    """What a head says."""

    sender: str
    sender_name: str
    context_id: str | None


class Middle(msgspec.Struct, frozen=True):
    """What a middle line says."""

    files: str
    edit: bool
    duration: float | None
    properties: StoredProperties
    category: str


class End(msgspec.Struct, frozen=True):
    """What a line at the end says."""

    content_blocks: list[dict[str, Any]]
    session_metadata: dict[str, Any] | None


_decode_rest = msgspec.json.Decoder(_Rest).decode
_decode_head = msgspec.json.Decoder(Head).decode
decode_text: Callable[[bytes | str], str] = msgspec.json.Decoder(str).decode
_decode_middle = msgspec.json.Decoder(Middle).decode
_decode_end = msgspec.json.Decoder(End).decode
_set = msgspec.structs.force_setattr
_heads: dict[bytes, Head] = {}
_middles: dict[bytes, Middle] = {}


def decode(body: bytes, *, flow_id: str, session_id: str, entry: RawEntry) -> Message:
    """The message that a body is. What is derived from the entry is converted when it is looked at.

    Raises:
        CorruptEntryError: it is not a body of ours.
        UnsupportedFormatError: it is one of a later version of this package.
    """
    try:
        rest, head_line, text, middle_line, end_line = body.split(b"\n")
        if rest[:2] != MARK:
            raise ValueError
        head = _heads.get(head_line) or read_head(head_line)
        middle = _middles.get(middle_line) or read_middle(middle_line)
        end = read_end(end_line) if end_line else None
        message = Message(  # by position: with names it takes twice as long
            head.sender,
            head.sender_name,
            head.context_id,
            decode_text(text),
            middle.edit,
            middle.duration,
            middle.category,
            [] if end is None else end.content_blocks,
            None if end is None else end.session_metadata,
            middle.files,
            middle.properties,
            flow_id,
            session_id,
            False,
            None,
            None,
            entry[0],
            entry[1],
            entry[3],
        )
        if len(rest) > len(MARK):
            _add_rest(message, _decode_rest(rest[2:]))
        if middle.files != "[]":
            _ = message.files  # shows now whether they can be converted
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        converted = to_present(body)
        if converted is not None:
            return decode(converted, flow_id=flow_id, session_id=session_id, entry=entry)
        raise CorruptEntryError(type(error).__name__) from None
    return message


def read_head(line: bytes) -> Head:
    """What a head says; remembered. Raises ValueError."""
    return remember(_heads, line, _decode_head(b'{"sender":%b}' % expand_head(line)))


def read_middle(line: bytes) -> Middle:
    """What a middle line says; remembered. Raises ValueError."""
    return remember(_middles, line, _decode_middle(b'{"files":%b}' % expand_middle(line)))


def read_end(line: bytes) -> End:
    """What a line at the end says. Raises ValueError."""
    return _decode_end(b'{"content_blocks":%b}' % expand_end(line))


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
    """Messages as ``GET /monitor/messages`` shows them, without decoding them; None for a corrupt one."""
    before_time = b'","flow_id":' + to_json(flow_id) + b',"timestamp":"'
    session = b',"session_id":' + to_json(session_id)
    heads: dict[bytes, bytes] = {}
    spliced: list[bytes | None] = []
    for raw_id, at, body, alias in entries:
        lines = body.split(b"\n")
        if len(lines) != LINES or lines[0][:2] != MARK:
            converted = to_present(body)
            spliced += splice(flow_id, session_id, [(raw_id, at, converted, alias)]) if converted else [None]
            continue
        us, _, seq = raw_id.partition(b"-")
        uuid = to_message_id(int(us), int(seq)) if alias is None else to_uuid_text(alias)
        moment = wire_time(int(at)).encode()
        try:
            head = heads.get(lines[1]) or heads.setdefault(lines[1], wire_head(lines[1], session))
            middle = wire_middle(lines[3])
        except (ValueError, RecursionError):
            spliced.append(None)
            continue
        shown = (head, lines[2], middle, expand_end(lines[4]), b"}")
        spliced.append(b"".join((b'{"id":"', uuid.encode(), before_time, moment, b'",', *shown)))
    return spliced


def wire_head(line: bytes, session: bytes) -> bytes:
    """From the sender to the text's name, with the session where it is shown. Raises ValueError."""
    if line not in _heads:
        read_head(line)
    long = expand_head(line)
    cut = long.index(b',"context_id":')
    return b'"sender":%b%b%b,"text":' % (long[:cut], session, long[cut:])


def wire_middle(line: bytes) -> bytes:
    """From the name of the files to that of the content blocks. Raises ValueError."""
    if line not in _middles:
        read_middle(line)
    return b',"files":%b,"content_blocks":' % expand_middle(line)


def join(messages: Iterable[bytes]) -> bytes:
    """A JSON array of spliced messages."""
    return b"[" + b",".join(messages) + b"]"
