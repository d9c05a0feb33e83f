"""Sessions of one flow, as the page lists, renames and deletes them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import BaseModel, StrictBool, TypeAdapter
from starlette.exceptions import HTTPException

from redis_sessions.monitor.access import is_virtual, visible_flow
from redis_sessions.monitor.messages import could_exist
from redis_sessions.monitor.page.latest import latest_messages
from redis_sessions.monitor.params import FlowQuery, Parser, SessionId, Window
from redis_sessions.monitor.sessions import is_hidden
from redis_sessions.monitor.wire import json_response, no_content

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore


class ListQuery(Window, FlowQuery):
    """Which sessions: those whose id has ``filter`` in it, or the one with this id."""

    filter: str | None = None
    session_id: str | None = None


class SessionQuery(FlowQuery):
    """One session."""

    session_id: str


class RenameBody(BaseModel):
    """What it is to be called; ``merge``: also when there is such a session already."""

    new_session_id: SessionId
    merge: StrictBool = False


RENAME_BODY = TypeAdapter(RenameBody)


class PageSessions:
    """``/page/sessions`` and ``/page/session``."""

    def __init__(self, store: SessionStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def read(self, request: Request, principal: Principal) -> Response:
        """Sessions, newest activity first, each with the beginning of its last message."""
        parser = Parser(request)
        query = parser.query(ListQuery)
        parser.check()
        await visible_flow(self._store, self._access, principal, query.flow_id)
        flow = str(query.flow_id)
        if query.session_id:
            session = unquote(query.session_id)
            found = await self._store.find_sessions([session], [flow]) if could_exist(session) else []
            names = [name for _, name in found]
        else:
            wanted = (query.filter or "").casefold()

            def is_left_out(name: str) -> bool:
                return is_hidden(name) or wanted not in name.casefold()

            names = await self._store.sessions_of(
                [flow], limit=query.size, offset=query.start, hidden=is_left_out
            )
        latest = await latest_messages(self._store, [(flow, name) for name in names])
        return json_response(
            [
                {"session_id": name, "latest": message}
                for name, message in zip(names, latest, strict=True)
                if message or not query.session_id  # asked for by name, and expired: it is not there
            ]
        )

    async def rename(self, request: Request, principal: Principal) -> Response:
        """Give a session another id: 412 if that names a session already and no merge is asked for.

        It is looked up first: who starts the other session in the very moment between is merged with.
        """
        parser = Parser(request)
        query = parser.query(SessionQuery)
        body = await parser.body(RENAME_BODY)
        parser.check()
        flow, session = await self._own(principal, query.flow_id, query.session_id)
        new = body.new_session_id
        if not body.merge and new != session and await self._store.find_sessions([new], [flow]):
            raise HTTPException(412, "There is a session with this name already")
        result = await self._store.rename_session(flow, session, new)
        return json_response(
            {"outcome": result.outcome, "session_id": result.session_id, "messages": result.messages}
        )

    async def delete(self, request: Request, principal: Principal) -> Response:
        """Delete a session. That it is gone already is no error."""
        parser = Parser(request)
        query = parser.query(SessionQuery)
        parser.check()
        flow, session = await self._own(principal, query.flow_id, query.session_id)
        await self._store.delete_session(flow, session)
        return no_content()

    async def _own(self, principal: Principal, flow_id: UUID, session_id: str) -> tuple[str, str]:
        session = unquote(session_id)
        allowed = not is_virtual(flow_id) and await self._access.may(principal, str(flow_id), "write")
        if not allowed or not could_exist(session):
            raise HTTPException(404, "Session not found")
        return str(flow_id), session
