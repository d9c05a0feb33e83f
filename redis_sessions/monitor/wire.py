"""How messages look on the wire: two shapes, as Langflow 1.13 has them.

GET and PATCH answer the shape that the store splices (``MessageResponse``: id first, ``files`` a JSON
string); PUT answers another (``MessageRead``: timestamp first, ids last, ``files`` a list).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json
from starlette.responses import Response, StreamingResponse

from redis_sessions.body import join, shown_properties
from redis_sessions.clock import to_us, wire_time
from redis_sessions.projection import project_content_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from redis_sessions.models import Message

_JSON = "application/json"
_PIECE = 256 * 1024


def json_response(value: Any) -> Response:
    """A value as compact JSON."""
    return Response(to_json(value, inf_nan_mode="null"), media_type=_JSON)


def messages_response(spliced: Sequence[bytes], headers: Mapping[str, str] | None = None) -> Response:
    """A list of messages that are JSON already; a long one is sent, and compressed, piece by piece."""
    if sum(map(len, spliced)) <= _PIECE:
        return Response(join(spliced), headers=headers, media_type=_JSON)
    return StreamingResponse(_pieces(spliced), headers=headers, media_type=_JSON)


async def _pieces(spliced: Sequence[bytes]) -> AsyncIterator[bytes]:
    """What :func:`join` makes, without keeping the event loop from others."""
    waiting: list[bytes] = []
    size, opening = 0, b"["
    for message in spliced:
        waiting += (opening, message)
        size += len(message)
        opening = b","
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
            await asyncio.sleep(0)
    yield b"".join((*waiting, b"]"))


def no_content() -> Response:
    """204, with the content type that Langflow sends even then."""
    return Response(status_code=204, media_type=_JSON)


def read_shape(message: Message) -> dict[str, Any]:
    """A message as PUT answers it."""
    blocks = message.content_blocks
    return {
        "timestamp": wire_time(to_us(message.timestamp)),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "text": message.text,
        "files": message.files,
        "error": message.error,
        "edit": message.edit,
        "properties": shown_properties(message.properties),
        "category": message.category,
        "content_blocks": project_content_blocks(blocks) if blocks else blocks,
        "session_metadata": message.session_metadata,
        "id": message.id,
        "flow_id": message.flow_id,
        "run_id": message.run_id,
    }


def sorted_for_display(newest_first: list[bytes], order_by: str | None, *, descending: bool) -> list[bytes]:
    """A window in the order that was asked for; ties stay newest first (Langflow 1.13)."""
    if not order_by:
        return newest_first
    if order_by == "timestamp":
        return newest_first if descending else newest_first[::-1]
    keyed = [(from_json(message)[order_by], message) for message in newest_first]
    return [message for _, message in sorted(keyed, key=lambda pair: pair[0], reverse=descending)]
