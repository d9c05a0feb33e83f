"""Rows of Langflow's tables and records, both ways without loss.

A row becomes the fields of a record and its *origin*: for each column that the record has no field for, or
whose raw value is not the usual form of the field, the raw value. Back again, a raw value of the origin holds
as long as it still means what the field is: a message that was edited gets its new text, and keeps the rest.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from redis_sessions.body import encode_json
from redis_sessions.errors import InvalidInputError
from redis_sessions.models import Properties
from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import ImportedBuild, ImportedTransaction
from redis_sessions.transfer.sql.fields import RUN_FIELDS, as_it_is
from redis_sessions.transfer.sql.values import ODD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis_sessions.transfer.records import Brief, Origin
    from redis_sessions.transfer.sql.values import Column, Kind

Row = dict[str, Any]

_ABSENT = object()
_DIGEST_BYTES = 16
_SHORT = 1_000
_REMEMBERED = 10_000
REPLACED = re.compile(r"NaN|Infinity|\\u[dD][89a-fA-F]")


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
        self.unknown: list[str] = [name for name in columns if name not in known]
        # Most rows have the same few texts in their JSON columns; nobody changes what they become.
        self._short_json = lru_cache(_REMEMBERED)(self._value)
        self._readers = [(name, self._reader(column)) for name, column in known.items()]

    def digest(self, row: Row, *, whole: bool = True) -> bytes:
        """16 bytes that name a row's content: all columns, or (not ``whole``) those that are known."""
        if whole and len(row) == len(self.columns):
            return digest_of(list(row.values()))
        return digest_of([row.get(name) for name in (self.columns if whole else self.known)])

    def digest_stored(self, record: Any, *, whole: bool) -> bytes:
        """The digest of the row that a record is; empty when it can be none."""
        try:
            return self.digest(self.write(record), whole=whole)
        except UnfitError:
            return b""

    def brief(self, row: Row) -> Brief | None:
        """What a row is found by, where it is plain to see that :meth:`read` makes a record of it."""
        return None

    def read(self, row: Row, digest: bytes) -> Any:
        """The record that a row of this digest is.

        Raises:
            UnfitError: it cannot become one.
        """
        values: dict[str, Any] = {}
        origin: Origin = {}
        for name, read in self._readers:
            raw = row[name]
            values[name], is_usual = read(raw)
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

    def _reader(self, column: Column) -> Callable[[Any], tuple[Any, bool]]:
        """:meth:`_value` of a column, with a short way for what Langflow 1.13 usually writes there."""
        name, plain = column.name, column.plain_reader()
        slowly = partial(self._value, name)
        if name in self.without_field:
            return slowly
        if column.kind == "json":

            def read_json(raw: Any) -> tuple[Any, bool]:
                return self._short_json(name, raw) if type(raw) is str and len(raw) <= _SHORT else slowly(raw)

            return read_json
        if name in self.fields:
            convert = self.fields[name]

            def read_converted(raw: Any) -> tuple[Any, bool]:
                value = plain(raw)
                return slowly(raw) if value is ODD else (convert(value), True)

            return read_converted

        def read(raw: Any) -> tuple[Any, bool]:
            if raw is None:
                return None, True
            value = plain(raw)
            return slowly(raw) if value is ODD else (value, True)

        return read

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


class BuildRows(Rows):
    """Table ``vertex_build``."""

    kind = "build"
    table = "vertex_build"
    key = "build_id"
    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = RUN_FIELDS
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
    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = RUN_FIELDS
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


def digest_of(values: Sequence[Any]) -> bytes:
    """16 bytes that name the raw values of a row, in the order of its columns."""
    return blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


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
    if not isinstance(raw, str) or not REPLACED.search(raw):
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
