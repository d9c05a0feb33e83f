"""Beyond Langflow: all messages of a session, or of a flow, as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.responses import StreamingResponse

from redis_sessions.monitor.access import visible_flow
from redis_sessions.monitor.messages import could_exist
from redis_sessions.monitor.params import FlowQuery, Parser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

_SESSIONS = 1_000
_CHUNK = 64 * 1024


class ExportQuery(FlowQuery):
    """What to export: a session, or all of a flow."""

    session_id: str | None = None


class Export:
    """``/messages/export``: streamed, in constant memory whatever the length."""

    def __init__(self, store: SessionStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def read(self, request: Request, principal: Principal) -> Response:
        """Session by session, newest activity first; within a session oldest message first."""
        parser = Parser(request)
        query = parser.query(ExportQuery)
        parser.check()
        await visible_flow(self._store, self._access, principal, query.flow_id)
        sessions = [unquote(query.session_id)] if query.session_id else None
        chunks = _chunked(self._lines(query.flow_id, sessions))
        # The first chunk is read before the status is sent: a Redis that is away is 503, not a broken file.
        first = await anext(chunks, b"")

        async def content() -> AsyncIterator[bytes]:
            yield first
            async for chunk in chunks:
                yield chunk

        headers = {"content-disposition": 'attachment; filename="messages.jsonl"'}
        return StreamingResponse(content(), media_type="application/x-ndjson", headers=headers)

    async def _lines(self, flow_id: UUID, sessions: list[str] | None) -> AsyncIterator[bytes]:
        if sessions is None:
            sessions = []
            while len(sessions) % _SESSIONS == 0:
                page = await self._store.sessions(flow_id, limit=_SESSIONS, offset=len(sessions))
                sessions += page
                if not page:
                    break
        for session in dict.fromkeys(sessions):
            if could_exist(session):
                async for message in self._store.export_json(flow_id, session):
                    yield message


async def _chunked(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    async for line in lines:
        waiting += (line, b"\n")
        size += len(line) + 1
        if size >= _CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
