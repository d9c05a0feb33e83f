"""From a column's value to a record's field, where Langflow tolerates more than a record does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from redis_sessions.models import Properties
from redis_sessions.transfer.records import NO_FLOW

if TYPE_CHECKING:
    from collections.abc import Callable


def as_it_is(value: Any) -> Any:
    return value


def _or_empty(value: Any) -> str:
    return value or ""


def _to_properties(value: Any) -> Properties:
    if isinstance(value, dict):
        try:
            return Properties.model_validate(value)
        except ValidationError:
            pass
    return Properties()


def _to_blocks(value: Any) -> list[dict[str, Any]]:
    blocks = [_unpacked(block) for block in value] if isinstance(value, list) else []
    return [block for block in blocks if isinstance(block, dict)]


def _unpacked(block: Any) -> Any:
    """A block that was stored as JSON within JSON."""
    try:
        return json.loads(block) if isinstance(block, str) else block
    except (ValueError, RecursionError):
        return None


def _to_files(value: Any) -> list[str]:
    return [file for file in value if isinstance(file, str)] if isinstance(value, list) else []


def _to_object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


MESSAGE_FIELDS: dict[str, Callable[[Any], Any]] = {
    "flow_id": lambda value: value or NO_FLOW,
    "sender": _or_empty,
    "sender_name": _or_empty,
    "text": _or_empty,
    "files": _to_files,
    "error": bool,
    "edit": bool,
    "properties": _to_properties,
    "category": lambda value: "message" if value is None else value,
    "content_blocks": _to_blocks,
    "session_metadata": _to_object,
}
RUN_FIELDS: dict[str, Callable[[Any], Any]] = {
    "data": _to_object,
    "artifacts": _to_object,
    "inputs": _to_object,
    "outputs": _to_object,
    "valid": bool,
    "vertex_id": _or_empty,
    "status": _or_empty,
}
