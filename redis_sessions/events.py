"""Names for what is logged: a log of this package can be searched, counted and alarmed by ``event.name``.

Each record has ``event.name`` (``redis_sessions.corrupt_entry``) and the values of its text as attributes of
their own (``redis_sessions.flow_id``), for formatters that write JSON and for OpenTelemetry's log bridge.
``docs/observability.md`` lists the events. No text of a message and no credential is ever among the values.
"""

from __future__ import annotations


def event(name: str, **values: object) -> dict[str, object]:
    """The ``extra`` of a log record."""
    return {
        "event.name": f"redis_sessions.{name}",
        **{f"redis_sessions.{key}": _text(value) for key, value in values.items()},
    }


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
