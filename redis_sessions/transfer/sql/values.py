"""One column's values: as the database has them (*raw*), and as a record has them.

Raw values are what goes into and comes out of SQL untouched: in SQLite whatever is stored, in PostgreSQL the
column's text (numbers and booleans as such). The *usual* raw form of a value is the one that Langflow 1.13
writes (SQLAlchemy's ``DateTime``, ``Uuid``, ``Boolean`` and ``JSON``, with their defaults).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from redis_sessions.transfer.errors import UnfitError

if TYPE_CHECKING:
    from collections.abc import Callable

Dialect = Literal["sqlite", "postgresql"]
Kind = Literal["uuid", "time", "bool", "json", "text", "float"]
ODD = object()
"""In the place of a value: the raw one is not one of the usual."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, by what Langflow keeps in it. ``aware``: its times carry their zone."""

    name: str
    kind: Kind
    dialect: Dialect
    aware: bool = False

    def read(self, raw: Any) -> Any:
        """The value of a raw one: text, a datetime in UTC, a bool, whatever JSON holds, or None.

        Raises:
            UnfitError: Langflow cannot read it either. (JSON that cannot be parsed is None.)
        """
        if raw is None:
            return None
        if isinstance(raw, bytes):
            raise UnfitError(f"{self.name} is a BLOB")
        try:
            return _READ[self.kind](raw)
        except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError):
            raise UnfitError(f"{self.name} is not a {_NAMES[self.kind]}") from None

    def plain_reader(self) -> Callable[[Any], Any]:
        """:meth:`read` in a hurry, for raw values that are the usual ones; ``ODD`` for others."""
        if self.kind == "text":
            return _plain_text
        if self.kind == "uuid":
            return _plain_hex if self.dialect == "sqlite" else _plain_uuid
        if self.kind == "time" and self.dialect == "sqlite":
            return _plain_time
        if self.kind == "bool":
            return _plain_bit if self.dialect == "sqlite" else _plain_bool
        return _odd

    def usual(self, value: Any) -> Any:
        """The raw form that Langflow gives a value.

        Raises:
            ValueError: a UUID is none.
        """
        if self.kind == "text":
            return value
        if self.kind == "json":
            return _SHORT_JSON.get(id(value)) or ("[]" if value == [] else json.dumps(value))
        if value is None:
            return None
        if self.kind == "uuid":
            return _hex(value) if self.dialect == "sqlite" else str(UUID(value))
        if self.kind == "bool":
            return int(value) if self.dialect == "sqlite" else value
        if self.kind == "time":
            text = value.astimezone(UTC).isoformat(" ", "microseconds")[:_TIME_LENGTH]
            return text if self.dialect == "sqlite" else _postgresql_time(text, self.aware)
        return value

    def fitted(self, raw: Any) -> Any:
        """A raw value, perhaps of another database, in a form that this one stores as it is."""
        if raw is None or (self.dialect == "sqlite" and not isinstance(raw, bool)):
            return raw
        return self.usual(self.read(raw)) if self.kind in {"uuid", "time", "bool"} else raw


_NAMES = {
    "uuid": "UUID",
    "time": "time",
    "bool": "truth value",
    "text": "text",
    "float": "number",
    "json": "",
}


_TIME_LENGTH = len("2026-01-02 03:04:05.678901")
_SHORT_JSON = {id(None): "null", id(False): "false", id(True): "true"}


def _read_text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    if not raw.isascii():
        raw.encode()  # what is no UTF-8 in the database has come as lone surrogates
    return raw


def read_time(raw: Any) -> datetime:
    """A time in any of the forms that Langflow has had; without a zone it is UTC."""
    if not isinstance(raw, str):
        raise TypeError
    when = datetime.fromisoformat(raw.removesuffix(" UTC"))
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _plain_text(raw: Any) -> Any:
    if type(raw) is not str:
        return ODD
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            return ODD
    return raw


def _plain_hex(raw: Any) -> Any:
    if type(raw) is str and _HEX.fullmatch(raw):
        return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    return ODD


def _plain_uuid(raw: Any) -> Any:
    return raw if type(raw) is str and _UUID.fullmatch(raw) else ODD


def _plain_time(raw: Any) -> Any:
    if type(raw) is not str or not _TIME.fullmatch(raw):
        return ODD
    try:
        return datetime.fromisoformat(raw).replace(tzinfo=UTC)
    except ValueError:
        return ODD


def _plain_bit(raw: Any) -> Any:
    return bool(raw) if type(raw) is int and raw in {0, 1} else ODD


def _plain_bool(raw: Any) -> Any:
    return raw if type(raw) is bool else ODD


def _odd(_: Any) -> Any:
    return ODD


def _read_bool(raw: Any) -> bool:
    if isinstance(raw, str):
        return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[raw.lower()]
    return bool(raw)


def _read_json(raw: Any) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, TypeError, RecursionError):
        return None


def _read_uuid(raw: Any) -> str:
    if _HEX.fullmatch(raw):
        return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    return str(UUID(raw))


def _hex(value: str) -> str:
    text = value.replace("-", "")
    return text if _HEX.fullmatch(text) else UUID(value).hex


_HEX = re.compile("[0-9a-f]{32}", re.ASCII)
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", re.ASCII)

_READ: dict[Kind, Callable[[Any], Any]] = {
    "uuid": _read_uuid,
    "time": read_time,
    "bool": _read_bool,
    "json": _read_json,
    "text": _read_text,
    "float": float,
}


def _postgresql_time(text: str, aware: bool) -> str:
    text = text.rstrip("0").removesuffix(".") if "." in text else text
    return f"{text}+00" if aware else text
