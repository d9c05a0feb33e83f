"""The format of an export: JSON lines, version 1. ``docs/import-export.md`` documents it.

One JSON object a line, told apart by ``type``: a ``header`` first, then each ``flow`` followed by what it has
(``message``, ``transaction``, ``build``), an ``end`` with counts last.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from redis_sessions import __version__, limits
from redis_sessions.body import encode_json
from redis_sessions.errors import InvalidInputError
from redis_sessions.ids import canonical
from redis_sessions.models import MESSAGE_FIELDS, Name, Properties
from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import ImportedBuild, ImportedMessage, ImportedTransaction

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "redis-sessions"
VERSION = 1
RECORDS: dict[str, type[BaseModel]] = {
    "message": ImportedMessage,
    "build": ImportedBuild,
    "transaction": ImportedTransaction,
}
_FIELDS = {
    "message": (*MESSAGE_FIELDS, "origin"),
    "build": tuple(ImportedBuild.model_fields),
    "transaction": tuple(ImportedTransaction.model_fields),
}
_DIGEST_BYTES = 16


class Flow(BaseModel):
    """Line ``flow``: what follows belongs to it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: Name
    owner: Name | None = None


class End(BaseModel):
    """Line ``end``: how many lines there are of each type."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    flows: int
    messages: int
    transactions: int
    builds: int


def header() -> dict[str, Any]:
    """Line ``header``."""
    return {
        "type": "header",
        "format": FORMAT,
        "version": VERSION,
        "exported_at": _time(datetime.now(UTC)),
        "exported_by": f"redis-sessions {__version__}",
    }


def to_line(kind: str, record: Any) -> dict[str, Any]:
    """A message, build or transaction, stored or not, as the object of its line."""
    line: dict[str, Any] = {"type": kind}
    for name in _FIELDS[kind]:
        value = getattr(record, name)
        if isinstance(value, datetime):
            value = _time(value)
        elif isinstance(value, BaseModel):
            value = value.model_dump()
        if name != "origin" or value is not None:
            line[name] = value
    if kind == "message" and line["properties"] is None:
        line["properties"] = Properties().model_dump()
    return line


def encode_line(line: Mapping[str, Any]) -> bytes:
    """A line, with its end."""
    return encode_json(line) + b"\n"


def digest(line: Mapping[str, Any]) -> bytes:
    """16 bytes that name the content of a line, whatever the order and spacing of its members."""
    text = json.dumps(json.loads(encode_json(line)), sort_keys=True)
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def decode_line(raw: bytes) -> dict[str, Any]:
    """The object of a line.

    Raises:
        UnfitError: it is none.
    """
    try:
        line = json.loads(raw, parse_constant=_refuse)
    except RecursionError:
        raise UnfitError("not JSON: nested too deeply") from None
    except ValueError as error:
        place = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnfitError(f"not JSON{place}") from None
    if not isinstance(line, dict):
        raise UnfitError("not a JSON object")
    if not isinstance(line.get("type", ""), str):
        raise UnfitError("its type is not text")
    if "type" not in line and {"id", "flow_id", "session_id", "timestamp", "text"} <= set(line):
        return _from_monitor(line)
    return line


def to_record(kind: str, fields: Mapping[str, Any]) -> Any:
    """The record of a line without its ``type``.

    Raises:
        UnfitError: a field is unknown, is missing or has the wrong type; the text names it, not its value.
    """
    try:
        record: Any = limits.validated(RECORDS[kind], fields)
        flow_id = limits.flow_id(record.flow_id)
        if kind == "message":
            if record.id is None or record.timestamp is None:
                raise UnfitError("a message needs its id and its timestamp")
            record.id = canonical(record.id)
            record.session_id = limits.session_id(record.session_id or flow_id)
        elif kind == "transaction":
            canonical(record.id)
        if record.timestamp.utcoffset() is None:
            raise UnfitError("its timestamp has no time zone")
        encode_json(to_line(kind, record))
    except InvalidInputError as error:
        raise UnfitError(str(error)) from None
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    return record


def parsed(model: type[Any], fields: Mapping[str, Any]) -> Any:
    """A line ``flow`` or ``end``.

    Raises:
        UnfitError: it is not one.
    """
    try:
        return model.model_validate({name: value for name, value in fields.items() if name != "type"})
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        raise UnfitError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None


def _from_monitor(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the monitor's ``/messages/export``: a message without what is not shown there."""
    fields = {**line, "type": "message"}
    if isinstance(fields.get("files"), str):
        try:
            fields["files"] = json.loads(fields["files"])
        except ValueError:
            raise UnfitError("files is not JSON") from None
    if isinstance(fields["timestamp"], str):
        fields["timestamp"] = fields["timestamp"].removesuffix(" UTC") + "Z"
    return fields


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _refuse(name: str) -> Any:
    raise ValueError(name)
