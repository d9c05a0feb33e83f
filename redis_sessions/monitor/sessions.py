"""Listing, renaming and deleting sessions, in one flow or in all of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from redis_sessions.errors import SessionNotFoundError
from redis_sessions.monitor.access import is_virtual
from redis_sessions.monitor.host import Host
from redis_sessions.monitor.messages import could_exist
from redis_sessions.monitor.params import (
    SESSION_IDS,
    AnyFlowQuery,
    Parser,
    RenamePath,
    RenameQuery,
    SessionPath,
    Window,
)
from redis_sessions.monitor.wire import json_response, messages_response, no_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

MAX_BULK = 500
_HIDDEN = "agentic"


class SessionsQuery(Window, AnyFlowQuery):
    """Which sessions."""


class Sessions:
    """``/messages/sessions`` and ``/messages/session/{session_id}``."""

    def __init__(self, store: SessionStore, access: Access, host: Host | None = None) -> None:
        self._store = store
        self._access = access
        self._host = host if host is not None else Host()

    async def read(self, request: Request, principal: Principal) -> Response:
        """Session ids, newest activity first."""
        parser = Parser(request)
        query = parser.query(SessionsQuery)
        parser.check()
        flow_id = query.flow_id
        if flow_id is None:
            flows = await self._own_flows(principal)
        elif is_virtual(flow_id) or not await self._access.may(principal, str(flow_id), "read"):
            flows = []
        else:
            flows = [str(flow_id)]
        return json_response(
            await self._store.sessions_of(flows, limit=query.size, offset=query.start, hidden=is_hidden)
        )

    async def rename(self, request: Request, principal: Principal) -> Response:
        """Give a session another id in all of the caller's flows; the messages that moved."""
        parser = Parser(request)
        path, query = parser.path(RenamePath), parser.query(RenameQuery)
        parser.check()
        old = path.old_session_id
        flows = [flow for flow, _ in await self._find(_possible([old]), principal)]
        return messages_response(await rename(self._store, flows, old, query.new_session_id))

    async def delete(self, request: Request, principal: Principal) -> Response:
        """Delete a session in all of the caller's flows."""
        parser = Parser(request)
        path = parser.path(SessionPath)
        parser.check()
        if possible := _possible([path.session_id]):
            found = await self._find(possible, principal)
            async with self._host.deleting_sessions(principal, possible):
                for flow, session_id in found:
                    await self._store.delete_session(flow, session_id)
        return no_content()

    async def delete_many(self, request: Request, principal: Principal) -> Response:
        """Delete up to 500 sessions in all of the caller's flows; how many there were."""
        parser = Parser(request)
        session_ids = await parser.body(SESSION_IDS)
        parser.check()
        if len(session_ids) > MAX_BULK:
            raise HTTPException(
                400, f"Cannot delete more than {MAX_BULK} sessions at once. Please batch your requests."
            )
        gone: set[str] = set()
        if possible := _possible(session_ids):
            found = await self._find(possible, principal)
            async with self._host.deleting_sessions(principal, possible) as known:
                gone.update(known)
                for flow, session_id in found:
                    if await self._store.delete_session(flow, session_id):
                        gone.add(session_id)
        count = len(gone)
        text = "No sessions to delete"
        if count:
            text = f"Messages deleted successfully for {count} session{'s' if count != 1 else ''}"
        return json_response({"message": text, "deleted_count": count})

    async def _own_flows(self, principal: Principal) -> list[str]:
        return [flow for flow in await self._access.flows(principal) if not is_virtual(flow)]

    async def _find(self, session_ids: Sequence[str], principal: Principal) -> list[tuple[str, str]]:
        """(flow, session) of the caller's that have one of these ids."""
        if not session_ids:
            return []
        return await self._store.find_sessions(session_ids, await self._own_flows(principal))


def _possible(session_ids: Iterable[str]) -> list[str]:
    return [session_id for session_id in session_ids if could_exist(session_id)]


async def rename(store: SessionStore, flows: Sequence[str], old: str, new: str) -> list[bytes]:
    """Rename in each of the flows, one after the other; the messages that moved.

    Raises:
        HTTPException: 404, none of them has the session.
    """
    moved: list[bytes] = []
    for flow in flows:
        try:
            result = await store.rename_session(flow, old, new)
        except SessionNotFoundError:  # gone since the flow was chosen
            continue
        moved += await store.moved_json(flow, result)
    if not moved:
        raise HTTPException(404, "No messages found with the given session ID")
    return moved


def is_hidden(session_id: str) -> bool:
    """Langflow 1.13 hides what is LIKE ``agentic_%``, where ``_`` is any one character."""
    return session_id.startswith(_HIDDEN) and len(session_id) > len(_HIDDEN)
