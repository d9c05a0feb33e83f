"""What the entries of a change feed say.

A flow's feed is a capped stream; each write leaves one entry that names what it touched
(``lua/shared/feed.lua``). Contents are not in it: they are read when a change is delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis_sessions.ids import EntryId, to_message_id, to_uuid_text
from redis_sessions.models import Event

if TYPE_CHECKING:
    from collections.abc import Iterable


class Change(NamedTuple):
    """One message that an entry of the feed touched, before its content is read."""

    type: str
    event_id: str
    session: str
    place: EntryId
    message_id: str
    old_session: str | None = None

    @property
    def shows_content(self) -> bool:
        return self.type != "deleted"


def changes_of(flow_id: str, raw_id: bytes, flat: list[bytes]) -> list[Change | Event]:
    """The changes that an entry of a flow's feed names, in order.

    Raises:
        KeyError, ValueError: it is not an entry of ours.
    """
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    event_id = raw_id.decode()
    session = fields.get(b"s", b"").decode()
    match fields.get(b"e", b"").decode():
        case "append":
            created = _each("created", event_id, session, fields[b"i"])
            return created + _each("deleted", event_id, session, fields.get(b"x"))
        case "update":
            return _each("updated", event_id, session, fields[b"i"])
        case "delete":
            return _each("deleted", event_id, session, fields[b"i"])
        case "move":
            old = fields[b"old"].decode()
            elsewhere = old if old != session else None  # the same session: only the time is another
            return [Change("updated", event_id, session, *_named(fields[b"j"]), elsewhere)]
        case "rename":
            return [Event("renamed", event_id, flow_id, session, old_session_id=fields[b"old"].decode())]
        case "delete_session":
            return [Event("deleted", event_id, flow_id, session)]
        case _:
            return []


def as_seen_by(session: str | None, changes: Iterable[Change | Event]) -> list[Change | Event]:
    """The changes that concern a watcher of one session (None: of the flow), as that watcher sees them."""
    if session is None:
        return list(changes)
    return [seen for change in changes if (seen := _as_seen_by(session, change)) is not None]


def _as_seen_by(session: str, change: Change | Event) -> Change | Event | None:
    if isinstance(change, Event):
        return change if session in (change.session_id, change.old_session_id) else None
    if change.old_session is None:
        return change if change.session == session else None
    if change.old_session == session:
        return change._replace(type="deleted")
    return change._replace(type="created") if change.session == session else None


def _each(kind: str, event_id: str, session: str, labels: bytes | None) -> list[Change | Event]:
    return [Change(kind, event_id, session, *_named(label)) for label in labels.split(b",")] if labels else []


def _named(label: bytes) -> tuple[EntryId, str]:
    """The place and the message id that a label of the feed names (``lua/shared/entries.lua``)."""
    entry, _, alias = label.partition(b":")
    place = EntryId.parse(entry)
    if not alias:
        return place, to_message_id(*place)
    return place, to_uuid_text(bytes.fromhex(alias.decode()))


def entries_by_stream(reply: Any) -> dict[bytes, list[Any]]:
    """The entries of an XREAD reply by stream: a list from RESP2 servers, a map from fakeredis."""
    if not reply:
        return {}
    if not isinstance(reply, dict):
        return {name: list(entries) for name, entries in reply}
    # fakeredis wraps the entries of a stream once more.
    return {
        name: list(found[0]) if len(found) == 1 and isinstance(found[0][0], list) else list(found)
        for name, found in reply.items()
    }
