"""Beyond Langflow: pages by cursor, and answers that need not be sent again."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from redis_sessions.clock import to_us
from redis_sessions.ids import address_of, to_cursor

if TYPE_CHECKING:
    from starlette.requests import Request

    from redis_sessions.store import SessionStore

_ID = slice(7, 43)  # {"id":"…
_TIME_MARK = b',"timestamp":"'


async def cursor_of(store: SessionStore, flow_id: str, message: bytes) -> str | None:
    """The place of a message that is shown, for ``before=``; None when it has gone meanwhile.

    An id of ours is the place; only one that was made elsewhere has to be looked up. No JSON is decoded.
    """
    message_id = message[_ID].decode()
    place = address_of(message_id)
    if place is None:
        found = await store.get(message_id, flow_id=flow_id)
        return None if found is None else found.cursor
    start = message.index(_TIME_MARK) + len(_TIME_MARK)
    time = message[start : message.index(b" UTC", start)].decode()
    return to_cursor(to_us(datetime.fromisoformat(time + "+00:00")), place)


def next_page(request: Request, cursor: str) -> dict[str, str]:
    """Headers that lead to the messages before this page. Credentials in the query are not repeated."""
    kept = [pair for pair in request.query_params.multi_items() if pair[0] not in ("x-api-key", "before")]
    query = urlencode([*kept, ("before", cursor)])
    return {"x-next-cursor": cursor, "link": f'<{request.url.path}?{query}>; rel="next"'}


def entity_tag(version: bytes) -> str:
    """The ETag of a state. Weak: the same state may be answered compressed or not."""
    return f'W/"{hashlib.sha256(version).hexdigest()[:32]}"'


def is_fresh(request: Request, tag: str) -> bool:
    """Whether the caller says that they have this already (RFC 9110, 13.1.2: compared weakly)."""
    given = request.headers.get("if-none-match", "")
    opaque = tag.removeprefix("W/")
    return given.strip() == "*" or opaque in (part.strip().removeprefix("W/") for part in given.split(","))
