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

``Last-Event-ID`` (or ``after=``) goes on behind an event. Comments keep the connection alive. A reader that
takes nothing for some seconds is cut off: it can resume. All readers of a process share one connection to
Redis (``redis_sessions/hub.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.exceptions import HTTPException

from redis_sessions.errors import FeedGapError, InvalidCursorError, RedisSessionsError
from redis_sessions.monitor.access import may_see, visible_flow
from redis_sessions.monitor.messages import could_exist
from redis_sessions.monitor.params import FlowQuery, Parser
from redis_sessions.monitor.rendering import Rendering
from redis_sessions.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from redis_sessions.models import Event
    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.monitor.metrics import Metrics
    from redis_sessions.monitor.settings import MonitorSettings
    from redis_sessions.store import SessionStore

logger: logging.Logger = logging.getLogger(__name__)

_OPENING = 1
"""Feeds that are opened at the same time: thousands that come back at once are not to starve all others."""
_REST = 1.5
"""Of the time that the opening of a feed took, until the next one of a crowd: most of it is for others."""
_PATIENCE = 10.0


class StreamQuery(FlowQuery):
    """What to watch."""

    session_id: str | None = None
    after: str | None = None


class Live:
    """``/messages/stream``."""

    def __init__(
        self, store: SessionStore, access: Access, metrics: Metrics, settings: MonitorSettings
    ) -> None:
        self._store = store
        self._access = access
        self._metrics = metrics
        self._settings = settings
        self._open = 0
        self._opening = Turns(_OPENING, _PATIENCE, rest=_REST)
        self._render = Rendering()

    async def read(self, request: Request, principal: Principal) -> Response:
        """Events from now on, or from behind the one that is named."""
        parser = Parser(request)
        query = parser.query(StreamQuery)
        parser.check()
        async with self._opening.one():
            await visible_flow(self._store, self._access, principal, query.flow_id)
        session = unquote(query.session_id) if query.session_id else None
        if session is not None and not could_exist(session):
            raise HTTPException(404, "Session not found")
        if self._open >= self._settings.max_streams:
            raise HTTPException(503, "Too many live feeds are open", {"Retry-After": "5"})
        after = request.headers.get("last-event-id") or query.after
        return _Stream(
            self._events(request, principal, query.flow_id, session, after),
            ping=self._settings.stream_keep_alive,
            ping_message_factory=lambda: ServerSentEvent(comment="keep-alive"),
            send_timeout=self._settings.stream_patience,
            # Nginx would hold events back.
            headers={"x-accel-buffering": "no", "cache-control": "no-store"},
        )

    async def _events(
        self, request: Request, principal: Principal, flow_id: UUID, session: str | None, after: str | None
    ) -> AsyncIterator[bytes]:
        self._open += 1
        self._metrics.open_streams.inc()
        try:
            while True:
                changes = self._store.watch(flow_id, session_id=session, after=after)
                try:
                    async with contextlib.aclosing(
                        _with_pauses(changes, self._settings.stream_check)
                    ) as heard:
                        async for event in heard:
                            if event is not None:
                                yield self._render(event)
                            doubtful = event is None or (event.type == "deleted" and event.message_id is None)
                            if doubtful and not await self._still_visible(request, principal, flow_id):
                                yield _said("end")
                                return
                except FeedGapError as gap:
                    after = gap.resume_after
                    yield _said("reset", after)
                except InvalidCursorError:
                    after = None
                    yield _said("reset")
        except (RedisSessionsError, HTTPException) as error:
            # The reader connects again, behind its last event, and is told 503 until all answer again.
            logger.info("live feed closed: error=%s", type(error).__name__)
        finally:
            self._open -= 1
            self._metrics.open_streams.dec()

    async def _still_visible(self, request: Request, principal: Principal, flow_id: UUID) -> bool:
        """Whether the reader is still who it was, and may still see the flow.

        Raises:
            HTTPException: 503, that could not be found out.
        """
        try:
            if await self._access.authenticate(request) != principal:
                return False
        except HTTPException as error:
            if error.status_code not in (401, 403):
                raise
            return False
        return await may_see(self._store, self._access, principal, flow_id)


class _Stream(EventSourceResponse):
    """A reader that takes nothing is no error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("live feed closed: its reader is too slow")


async def _with_pauses(
    changes: AsyncGenerator[Event, None], seconds: float
) -> AsyncGenerator[Event | None, None]:
    """The events, and None whenever some seconds have passed."""
    waiting: asyncio.Task[Any] | None = None
    loop = asyncio.get_running_loop()
    pause_at = loop.time() + seconds * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all look at once
    try:
        while True:
            if loop.time() >= pause_at:
                pause_at = loop.time() + seconds
                yield None
            if waiting is None:
                waiting = asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait({waiting}, timeout=max(pause_at - loop.time(), 0))
            if done:
                event, waiting = waiting.result(), None
                yield event
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await waiting
        await changes.aclose()


def _said(event: str, place: str | None = None) -> bytes:
    return ServerSentEvent(event=event, data="{}", id=place).encode()
