"""Events of the change feed as server-sent events, each rendered once however many readers get it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sse_starlette import ServerSentEvent

from redis_sessions.body import encode, splice

if TYPE_CHECKING:
    from redis_sessions.models import Event

_REMEMBERED_BYTES = 4 * 1024 * 1024


class Rendering:
    """Renders events. All readers of a flow are handed the same objects, by which they are remembered."""

    def __init__(self, most: int = _REMEMBERED_BYTES) -> None:
        self._most = most
        self._size = 0
        self._rendered: OrderedDict[int, tuple[Event, bytes]] = OrderedDict()

    def __call__(self, event: Event) -> bytes:
        known = self._rendered.get(id(event))
        if known is not None:  # kept with its event, so that no other object has its id
            return known[1]
        shown = to_sse(event)
        self._rendered[id(event)] = event, shown
        self._size += len(shown)
        while self._size > self._most:
            _, (_, dropped) = self._rendered.popitem(last=False)
            self._size -= len(dropped)
        return shown


def to_sse(event: Event) -> bytes:
    """An event with the message as GET renders it."""
    fields: dict[str, Any] = {
        "type": event.type,
        "flow_id": event.flow_id,
        "session_id": event.session_id,
        "message_id": event.message_id,
        "old_session_id": event.old_session_id,
    }
    data = to_json({name: value for name, value in fields.items() if value is not None})
    message = event.message
    if message is not None:
        entry = (message.raw_id, message.raw_at, encode(message), message.alias)
        (shown,) = splice(message.flow_id, message.session_id, [entry])
        if shown is not None:
            data = data[:-1] + b',"message":' + shown.replace(b"\n", b"") + b"}"
    return ServerSentEvent(event=event.type, data=data.decode(), id=event.id).encode()
