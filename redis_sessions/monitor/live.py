"""Beyond Langflow: a flow's changes as they happen, as server-sent events.

==============  =====================================================================================
event           data
==============  =====================================================================================
``created``     a message, as GET renders it
``updated``     a message, as it is now; ``old_session_id`` where it moved
``deleted``     a message, or a whole session
``renamed``     a session: ``old_session_id`` became ``session_id``
``reset``       the feed does not reach back to where the reader was: read the state afresh
``end``         the flow is gone, or no longer the reader's
==============  =====================================================================================

``Last-Event-ID`` (or ``after=``) goes on behind an event. Comments keep the connection alive.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic_core import to_json
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from redis_sessions.body import encode, splice
from redis_sessions.errors import FeedGapError, InvalidCursorError, StoreUnavailableError
from redis_sessions.monitor.access import may_see, visible_flow
from redis_sessions.monitor.messages import could_exist
from redis_sessions.monitor.params import FlowQuery, Parser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.models import Event
    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.monitor.metrics import Metrics
    from redis_sessions.store import SessionStore

MAX_STREAMS = 32
"""Each holds a connection to Redis while it waits."""
_KEEP_ALIVE_S = 15
_CHECK_S = 15
"""How often it is looked whether the reader may still see the flow."""
_SEND_TIMEOUT_S = 10
"""A reader that does not take an event for so long is cut off: it can resume."""


class StreamQuery(FlowQuery):
    """What to watch."""

    session_id: str | None = None
    after: str | None = None


class Live:
    """``/messages/stream``."""

    def __init__(
        self, store: SessionStore, access: Access, metrics: Metrics, *, max_streams: int = MAX_STREAMS
    ) -> None:
        self._store = store
        self._access = access
        self._metrics = metrics
        self._max_streams = max_streams
        self._open = 0

    async def read(self, request: Request, principal: Principal) -> Response:
        """Events from now on, or from behind the one that is named."""
        parser = Parser(request)
        query = parser.query(StreamQuery)
        parser.check()
        await visible_flow(self._store, self._access, principal, query.flow_id)
        session = unquote(query.session_id) if query.session_id else None
        if session is not None and not could_exist(session):
            raise HTTPException(404, "Session not found")
        if self._open >= self._max_streams:
            raise HTTPException(503, "Too many live feeds are open", {"Retry-After": "5"})
        after = request.headers.get("last-event-id") or query.after
        return EventSourceResponse(
            self._events(principal, query.flow_id, session, after),
            ping=_KEEP_ALIVE_S,
            send_timeout=_SEND_TIMEOUT_S,
            # Nginx would hold events back.
            headers={"x-accel-buffering": "no", "cache-control": "no-store"},
        )

    async def _events(
        self, principal: Principal, flow_id: UUID, session: str | None, after: str | None
    ) -> AsyncIterator[ServerSentEvent]:
        self._open += 1
        self._metrics.open_streams.inc()
        try:
            while True:
                changes = self._store.watch(flow_id, session_id=session, after=after)
                try:
                    async with contextlib.aclosing(_or_silence(changes, _CHECK_S)) as heard:
                        async for event in heard:
                            gone = event is None or (event.type == "deleted" and event.message_id is None)
                            if event is not None:
                                yield _to_sse(event)
                            if gone and not await self._still_visible(principal, flow_id):
                                yield ServerSentEvent(event="end", data="{}")
                                return
                except FeedGapError as gap:
                    after = gap.resume_after
                    yield ServerSentEvent(event="reset", data="{}", id=after)
                except InvalidCursorError:
                    after = None
                    yield ServerSentEvent(event="reset", data="{}")
        except StoreUnavailableError:
            return  # the reader connects again, behind its last event, and is told 503 until Redis is back
        finally:
            self._open -= 1
            self._metrics.open_streams.dec()

    async def _still_visible(self, principal: Principal, flow_id: UUID) -> bool:
        return await may_see(self._store, self._access, principal, flow_id)


async def _or_silence(
    changes: AsyncGenerator[Event, None], seconds: float
) -> AsyncGenerator[Event | None, None]:
    """The events, and None whenever there was none for some seconds."""
    waiting: asyncio.Task[Any] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            event, waiting = waiting.result(), None
            yield event
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await waiting
        await changes.aclose()


def _to_sse(event: Event) -> ServerSentEvent:
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
    return ServerSentEvent(event=event.type, data=data.decode(), id=event.id)
