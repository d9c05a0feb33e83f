"""Rows of Langflow's table ``message``: most of what is moved, so the usual ones go a short way.

A short way is never another way: it is taken where its result is plain to see, and :class:`Rows` has it
otherwise. A test compares the two, row by row.
"""

from __future__ import annotations

import json
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from redis_sessions import limits
from redis_sessions.clock import wire_time
from redis_sessions.errors import InvalidInputError
from redis_sessions.models import Message, Properties, StoredProperties
from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import MARK, Brief, RowMessage, mark
from redis_sessions.transfer.sql.fields import MESSAGE_FIELDS
from redis_sessions.transfer.sql.rows import REPLACED, Row, Rows, digest_of
from redis_sessions.transfer.sql.values import ODD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis_sessions.transfer.records import Origin
    from redis_sessions.transfer.sql.values import Column, Kind

_DEFAULT_PROPERTIES = Properties().model_dump()
_DEFAULT_TEXT = json.dumps(_DEFAULT_PROPERTIES)
_DEFAULT_STORED = msgspec.convert(_DEFAULT_PROPERTIES, StoredProperties)
_TIME_LENGTH = len("2026-01-02 03:04:05.678901")
_REMEMBERED = 10_000
_MARKED = {MARK}
_decode_properties = msgspec.json.Decoder(StoredProperties).decode


class MessageRows(Rows):
    """Table ``message``."""

    kind = "message"
    table = "message"
    key = "id"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "timestamp": "time",
        "sender": "text",
        "sender_name": "text",
        "session_id": "text",
        "text": "text",
        "id": "uuid",
        "flow_id": "uuid",
        "files": "json",
        "error": "bool",
        "edit": "bool",
        "properties": "json",
        "category": "text",
        "content_blocks": "json",
        "context_id": "text",
        "session_metadata": "json",
        "run_id": "uuid",
        "is_output": "bool",
        "user_id": "uuid",
        "duration": "float",
    }
    without_field: ClassVar[frozenset[str]] = frozenset({"is_output"})
    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = MESSAGE_FIELDS

    def __init__(self, columns: Sequence[str], known: Mapping[str, Column]) -> None:
        super().__init__(columns, known)
        self._checks = [(name, _check(column)) for name, column in known.items() if name not in _BRIEF]
        self._plain = {name: known[name].plain_reader() for name in _BRIEF}
        self._writers = [self._writer(name) for name in columns]

    def read(self, row: Row, digest: bytes) -> RowMessage:
        message: RowMessage = super().read(row, digest)
        message.origin[MARK] = mark(digest)
        return message

    def brief(self, row: Row) -> Brief | None:
        for name in self.unknown:
            if row[name] is not None:
                return None
        for name, is_plain in self._checks:
            if not is_plain(row[name]):
                return None
        plain, session = self._plain, row["session_id"]
        message_id = plain["id"](row["id"])
        if (
            not session
            or message_id is ODD
            or plain["session_id"](session) is ODD
            or plain["timestamp"](row["timestamp"]) is ODD
            or not _can_be_session(session)
        ):
            return None
        return Brief(message_id, session)

    def digest_stored(self, record: Any, *, whole: bool) -> bytes:
        if (
            not whole
            or not isinstance(record, Message)
            or record.origin is None
            or record.origin.keys() != _MARKED
        ):
            return super().digest_stored(record, whole=whole)
        try:
            return digest_of([write(record) for write in self._writers])
        except UnfitError:
            return b""

    def lost(self, record: Any) -> list[str]:
        return ["duration"] if record.duration is not None and "duration" not in self.known else []

    def _reader(self, column: Column) -> Callable[[Any], tuple[Any, bool]]:
        slowly = super()._reader(column)
        if column.name != "properties":
            return slowly

        def read(raw: Any) -> tuple[Any, bool]:
            if raw == _DEFAULT_TEXT:
                return _DEFAULT_STORED, True
            if type(raw) is not str or REPLACED.search(raw):
                return slowly(raw)
            try:
                stored = _decode_properties(raw)
            except (ValueError, RecursionError):
                return slowly(raw)
            # Nothing is lost when the very same text comes back.
            return (stored, True) if json.dumps(msgspec.to_builtins(stored)) == raw else slowly(raw)

        return read

    def _record(self, values: Mapping[str, Any], origin: Origin) -> RowMessage:
        if values["timestamp"] is None:
            raise UnfitError("it has no timestamp")
        if values["id"] is None:
            raise UnfitError("it has no id")
        fields = {name: value for name, value in values.items() if name not in self.without_field}
        if not fields["session_id"]:
            origin["session_id"] = fields["session_id"]
            fields["session_id"] = fields["flow_id"]
        if not _can_be_session(fields["session_id"]):
            limits.session_id(fields["session_id"])
        return RowMessage(origin=origin, **fields)

    def _writer(self, name: str) -> Callable[[Message], Any]:
        """:meth:`_usual` of a column, for what is stored."""
        column = self.known.get(name)
        if column is None:
            return lambda _: None
        if column.kind == "text":
            return attrgetter(name)
        if column.dialect == "sqlite":
            if name == "timestamp":
                return lambda message: wire_time(int(message.raw_at))[:_TIME_LENGTH]
            if name == "id":
                return lambda message: (
                    message.alias.hex() if message.alias is not None else self._usual(name, message)
                )
        if name in {"flow_id", "user_id", "run_id"}:
            usual = lru_cache(_REMEMBERED)(column.usual)
            value = attrgetter(name)

            def write_name(message: Message) -> Any:
                try:
                    return usual(value(message))
                except ValueError:
                    return self._usual(name, message)  # says what is wrong

            return write_name
        if name == "files":
            return lambda message: "[]" if message.stored_files == "[]" else self._usual(name, message)
        return lambda message: self._usual(name, message)

    def _usual(self, name: str, record: Any) -> Any:
        if name == "properties" and isinstance(record, Message) and record.extra_properties is None:
            if record.stored_properties == _DEFAULT_STORED:
                return _DEFAULT_TEXT
            return json.dumps(msgspec.to_builtins(record.stored_properties))
        return super()._usual(name, record)

    def _field(self, name: str, record: Any) -> Any:
        if name == "properties":
            return _dumped(record)
        return getattr(record, name)

    def _meant(self, name: str, value: Any, record: Any) -> Any:
        if name == "session_id":
            return value or record.flow_id
        meant = super()._meant(name, value, record)
        return meant.model_dump() if isinstance(meant, Properties) else meant


_BRIEF = ("id", "session_id", "timestamp")


def _check(column: Column) -> Callable[[Any], bool]:
    """Whether a raw value keeps no row out, whatever becomes of it."""
    if column.kind == "json":
        # Parsed or not, JSON becomes something, unless it is nested too deeply.
        return lambda raw: (
            raw is None or (type(raw) is str and raw.isascii() and raw.count("[") + raw.count("{") <= _FLAT)
        )
    plain = column.plain_reader()
    return lambda raw: raw is None or plain(raw) is not ODD


_FLAT = 200
"""Brackets in JSON that cannot be nested too deeply."""


@lru_cache(_REMEMBERED)
def _can_be_session(name: str) -> bool:
    try:
        limits.session_id(name)
    except InvalidInputError:
        return False
    return True


def _dumped(message: Any) -> dict[str, Any]:
    if isinstance(message, Message):
        if message.extra_properties is not None:
            return message.properties.model_dump()
        return msgspec.to_builtins(message.stored_properties)  # type: ignore[no-any-return]
    if isinstance(message.properties, StoredProperties):
        return msgspec.to_builtins(message.properties)  # type: ignore[no-any-return]
    return message.properties.model_dump() if message.properties is not None else _DEFAULT_PROPERTIES
