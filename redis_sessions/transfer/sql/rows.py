"""Rows of Langflow's tables and records, both ways without loss.

A row becomes the fields of a record and its *origin*: for each column that the record has no field for, or
whose raw value is not the usual form of the field, the raw value. Back again, a raw value of the origin holds
as long as it still means what the field is: a message that was edited gets its new text, and keeps the rest.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from pydantic import ValidationError

from redis_sessions import limits
from redis_sessions.body import encode_json
from redis_sessions.errors import InvalidInputError
from redis_sessions.models import Message, Properties, StoredProperties
from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import (
    MARK,
    MARK_DIGITS,
    ImportedBuild,
    ImportedMessage,
    ImportedTransaction,
    Origin,
)
from redis_sessions.transfer.sql.fields import MESSAGE_FIELDS, RUN_FIELDS, as_it_is

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis_sessions.transfer.sql.values import Column, Kind

Row = dict[str, Any]

_ABSENT = object()
_DEFAULT_PROPERTIES = Properties().model_dump()
_DEFAULT_TEXT = json.dumps(_DEFAULT_PROPERTIES)
_DEFAULT_STORED = msgspec.convert(_DEFAULT_PROPERTIES, StoredProperties)
_DIGEST_BYTES = 16
_SHORT = 1_000
_REMEMBERED = 10_000
_REPLACED = re.compile(r"NaN|Infinity|\\u[dD][89a-fA-F]")


class Rows:
    """What the three tables have in common.

    Args:
        columns: those that the table has, in its order.
        known: of them, those that Langflow 1.13 fills.
    """

    kind: ClassVar[str]
    table: ClassVar[str]
    key: ClassVar[str]
    kinds: ClassVar[Mapping[str, Kind]]
    without_field: ClassVar[frozenset[str]] = frozenset()
    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """What a column's value becomes, where it does not stay as it is."""

    def __init__(self, columns: Sequence[str], known: Mapping[str, Column]) -> None:
        self.columns = columns
        self.known = known
        self.unknown = [name for name in columns if name not in known]
        # Most rows have the same few texts in their JSON columns; nobody changes what they become.
        self._short_json = lru_cache(_REMEMBERED)(self._value)

    def digest(self, row: Row, *, whole: bool = True) -> bytes:
        """16 bytes that name a row's content: all columns, or (not ``whole``) those that are known."""
        content = repr([row.get(name) for name in (self.columns if whole else self.known)])
        return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()

    def read(self, row: Row, digest: bytes) -> Any:
        """The record that a row of this digest is.

        Raises:
            UnfitError: it cannot become one.
        """
        values: dict[str, Any] = {}
        origin: Origin = {}
        for name, column in self.known.items():
            raw = row[name]
            if column.kind == "json" and isinstance(raw, str) and len(raw) <= _SHORT:
                values[name], is_usual = self._short_json(name, raw)
            else:
                values[name], is_usual = self._value(name, raw)
            if not is_usual:
                origin[name] = _portable(name, raw)
        for name in self.unknown:
            if row[name] is not None:
                origin[name] = _portable(name, row[name])
        try:
            record = self._record(values, origin)
        except (InvalidInputError, ValidationError) as error:
            text = str(error) if isinstance(error, InvalidInputError) else "a field has the wrong type"
            raise UnfitError(text) from None
        record.origin = origin
        return record

    def _value(self, name: str, raw: Any) -> tuple[Any, bool]:
        """The field of a raw value, and whether the value is the usual one of the field."""
        column = self.known[name]
        value = self.fields.get(name, as_it_is)(column.read(raw))
        if name in self.without_field:
            return value, raw == column.usual(False)
        if column.kind == "text":
            return value, value is raw
        dumped = value.model_dump() if isinstance(value, Properties) else value
        usual = column.usual(dumped)
        changes = column.kind == "json" and _changes(raw)
        return value, raw == usual and type(raw) is type(usual) and not changes

    def write(self, record: Any) -> Row:
        """The row that a record is; without the columns that it says nothing of.

        Raises:
            UnfitError: a column cannot hold a field.
        """
        origin = record.origin or {}
        row: Row = {}
        for name in self.columns:
            raw = origin.get(name, _ABSENT)
            if raw is not _ABSENT and self._still_means(name, raw, record):
                row[name] = self.known[name].fitted(raw) if name in self.known else raw
            elif name in self.known:
                row[name] = self._usual(name, record)
        return row

    def lost(self, record: Any) -> list[str]:
        """Fields with a value that the table has no column for."""
        return []

    def _usual(self, name: str, record: Any) -> Any:
        column = self.known.get(name)
        if column is None:
            return None
        if name in self.without_field:
            return column.usual(False)
        try:
            return column.usual(self._field(name, record))
        except ValueError:
            raise UnfitError(f"{name} is not a UUID, and the table holds no other") from None

    def _still_means(self, name: str, raw: Any, record: Any) -> bool:
        column = self.known.get(name)
        if column is None or name in self.without_field:
            return True
        try:
            meant = self._meant(name, column.read(raw), record)
        except UnfitError:
            return False
        if column.kind == "json":
            if column.dialect == "postgresql" and not _is_strict_json(raw):
                return False
            return encode_json(meant) == encode_json(self._field(name, record))
        return bool(meant == self._field(name, record))

    def _record(self, values: Mapping[str, Any], origin: Origin) -> Any:
        """The record of fields by column. What that adds to the origin is added there."""
        raise NotImplementedError

    def _field(self, name: str, record: Any) -> Any:
        """The field that a column is of."""
        return getattr(record, name)

    def _meant(self, name: str, value: Any, record: Any) -> Any:
        """The field that a column's value becomes."""
        return self.fields.get(name, as_it_is)(value)


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
    without_field = frozenset({"is_output"})
    fields = MESSAGE_FIELDS

    def read(self, row: Row, digest: bytes) -> ImportedMessage:
        message: ImportedMessage = super().read(row, digest)
        cast("Origin", message.origin)[MARK] = mark(digest)
        return message

    def lost(self, record: Any) -> list[str]:
        return ["duration"] if record.duration is not None and "duration" not in self.known else []

    def _record(self, values: Mapping[str, Any], origin: Origin) -> ImportedMessage:
        if values["timestamp"] is None:
            raise UnfitError("it has no timestamp")
        fields = {name: value for name, value in values.items() if name not in self.without_field}
        if not fields["session_id"]:
            origin["session_id"] = fields["session_id"]
            fields["session_id"] = fields["flow_id"]
        limits.session_id(fields["session_id"])
        return ImportedMessage.model_construct(**fields)

    def _usual(self, name: str, record: Any) -> Any:
        if (
            name == "properties"
            and isinstance(record, Message)
            and record.extra_properties is None
            and record.stored_properties == _DEFAULT_STORED
        ):
            return _DEFAULT_TEXT
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


class BuildRows(Rows):
    """Table ``vertex_build``."""

    kind = "build"
    table = "vertex_build"
    key = "build_id"
    fields = RUN_FIELDS
    kinds: ClassVar[Mapping[str, Kind]] = {
        "timestamp": "time",
        "id": "text",
        "data": "json",
        "artifacts": "json",
        "params": "text",
        "build_id": "uuid",
        "flow_id": "uuid",
        "valid": "bool",
        "job_id": "uuid",
    }

    def _record(self, values: Mapping[str, Any], origin: Origin) -> ImportedBuild:
        if values["timestamp"] is None or values["id"] is None:
            raise UnfitError("it has no timestamp, or names no vertex")
        return ImportedBuild(**values)


class TransactionRows(Rows):
    """Table ``transaction``."""

    kind = "transaction"
    table = "transaction"
    key = "id"
    fields = RUN_FIELDS
    kinds: ClassVar[Mapping[str, Kind]] = {
        "timestamp": "time",
        "vertex_id": "text",
        "target_id": "text",
        "inputs": "json",
        "outputs": "json",
        "status": "text",
        "id": "uuid",
        "flow_id": "uuid",
        "error": "text",
        "user_id": "uuid",
        "session_id": "text",
    }

    def _record(self, values: Mapping[str, Any], origin: Origin) -> ImportedTransaction:
        if values["timestamp"] is None:
            raise UnfitError("it has no timestamp")
        return ImportedTransaction(**values)


def mark(digest: bytes) -> str:
    """What an imported message keeps of the digest of its row."""
    return digest.hex()[:MARK_DIGITS]


def _dumped(message: Any) -> dict[str, Any]:
    if isinstance(message, Message):
        if message.extra_properties is not None:
            return message.properties.model_dump()
        return msgspec.to_builtins(message.stored_properties)  # type: ignore[no-any-return]
    return message.properties.model_dump() if message.properties is not None else _DEFAULT_PROPERTIES


def _portable(name: str, raw: Any) -> Any:
    if isinstance(raw, bytes):
        raise UnfitError(f"{name} is a BLOB")
    if isinstance(raw, float) and not math.isfinite(raw):
        raise UnfitError(f"{name} is no finite number")
    if isinstance(raw, str):
        try:
            raw.encode()
        except UnicodeEncodeError:
            raise UnfitError(f"{name} is not UTF-8") from None
    return raw


def _changes(raw: Any) -> bool:
    """Whether JSON holds what the store replaces: NaN, infinities, lone surrogates.

    SQLite keeps JSON that is only a number as a number.
    """
    if not isinstance(raw, str) or not _REPLACED.search(raw):
        return False
    try:
        value = json.loads(raw)
        return json.dumps(json.loads(encode_json(value))) != json.dumps(value)
    except (ValueError, RecursionError):
        return True


def _is_strict_json(raw: Any) -> bool:
    """Whether PostgreSQL takes it for JSON, or NULL."""
    if not isinstance(raw, str):
        return raw is None

    def refuse(_: str) -> Any:
        raise ValueError

    try:
        json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return not _changes(raw)
