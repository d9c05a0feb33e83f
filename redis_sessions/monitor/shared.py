"""A caller's own conversations with somebody's shared flow.

They are kept under a virtual flow id, made of the caller's id and the flow's: nobody else can name it, and
no other endpoint serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from redis_sessions.errors import MessageNotFoundError
from redis_sessions.monitor.access import virtual_flow_id
from redis_sessions.monitor.host import Host
from redis_sessions.monitor.messages import HistoryQuery, could_exist, newest
from redis_sessions.monitor.params import (
    UPDATE_BODY,
    MessagePath,
    Parser,
    RenamePath,
    SessionPath,
    SharedRenameQuery,
    SourceQuery,
    Window,
)
from redis_sessions.monitor.sessions import rename
from redis_sessions.monitor.wire import (
    json_response,
    messages_response,
    no_content,
    read_shape,
    sorted_for_display,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Principal
    from redis_sessions.store import SessionStore


class SharedMessagesQuery(HistoryQuery, SourceQuery):
    """Which messages."""


class SharedSessionsQuery(Window, SourceQuery):
    """Which sessions."""


class Shared:
    """``/messages/shared…``: what the caller said to the flow ``source_flow_id``."""

    def __init__(self, store: SessionStore, host: Host | None = None) -> None:
        self._store = store
        self._host = host if host is not None else Host()

    async def read(self, request: Request, principal: Principal) -> Response:
        """The newest messages, ordered for display."""
        parser = Parser(request)
        query = parser.query(SharedMessagesQuery)
        parser.check()
        if problem := query.problem():
            raise HTTPException(400, problem)
        flow = virtual_flow_id(principal, query.source_flow_id)
        window = await newest(self._store, [flow], query)
        return messages_response(sorted_for_display(window, query.order_by, descending=query.descending))

    async def read_sessions(self, request: Request, principal: Principal) -> Response:
        """Session ids, newest activity first; here none is hidden."""
        parser = Parser(request)
        query = parser.query(SharedSessionsQuery)
        parser.check()
        flow = virtual_flow_id(principal, query.source_flow_id)
        return json_response(await self._store.sessions_of([flow], limit=query.size, offset=query.start))

    async def update(self, request: Request, principal: Principal) -> Response:
        """Change a message."""
        parser = Parser(request)
        path, query = parser.path(MessagePath), parser.query(SourceQuery)
        body = await parser.body(UPDATE_BODY)
        parser.check()
        flow = virtual_flow_id(principal, query.source_flow_id)
        if await self._store.get(path.message_id, flow_id=flow) is None:
            raise HTTPException(404, "Message not found")
        self._host.check_attachments(body.files, (principal.id, flow, str(query.source_flow_id)))
        try:
            message = await self._store.update(path.message_id, body.to_update(), flow_id=flow)
        except MessageNotFoundError:  # deleted meanwhile
            raise HTTPException(404, "Message not found") from None
        return json_response(read_shape(message))

    async def rename(self, request: Request, principal: Principal) -> Response:
        """Give a session another id; the messages that moved."""
        parser = Parser(request)
        path, query = parser.path(RenamePath), parser.query(SharedRenameQuery)
        parser.check()
        flow = virtual_flow_id(principal, query.source_flow_id)
        flows = [flow] if could_exist(path.old_session_id) else []
        return messages_response(await rename(self._store, flows, path.old_session_id, query.new_session_id))

    async def delete(self, request: Request, principal: Principal) -> Response:
        """Delete a session."""
        parser = Parser(request)
        path, query = parser.path(SessionPath), parser.query(SourceQuery)
        parser.check()
        if could_exist(path.session_id):
            flow = virtual_flow_id(principal, query.source_flow_id)
            await self._store.delete_session(flow, path.session_id)
        return no_content()
