"""The latest build of each of a flow's vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json
from starlette.responses import Response

from redis_sessions.monitor.access import is_virtual
from redis_sessions.monitor.params import FlowQuery, Parser
from redis_sessions.monitor.wire import no_content

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.requests import Request

    from redis_sessions.monitor.access import Access, Action, Principal
    from redis_sessions.store import SessionStore


class Builds:
    """``/builds``. A flow that is not the caller's has none."""

    def __init__(self, store: SessionStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def read(self, request: Request, principal: Principal) -> Response:
        """The builds, by vertex, oldest first."""
        flow_id = self._flow_id(request)
        builds = await self._store.builds_json(flow_id) if await self._may(principal, flow_id, "read") else []
        # Langflow answers a list for each vertex; it holds the latest build only.
        members = b",".join(to_json(vertex) + b":[" + build + b"]" for vertex, build in builds)
        return Response(b'{"vertex_builds":{' + members + b"}}", media_type="application/json")

    async def delete(self, request: Request, principal: Principal) -> Response:
        """Delete all builds of a flow."""
        flow_id = self._flow_id(request)
        if await self._may(principal, flow_id, "write"):
            await self._store.delete_builds(flow_id)
        return no_content()

    @staticmethod
    def _flow_id(request: Request) -> UUID:
        parser = Parser(request)
        query = parser.query(FlowQuery)
        parser.check()
        return query.flow_id

    async def _may(self, principal: Principal, flow_id: UUID, action: Action) -> bool:
        return not is_virtual(flow_id) and await self._access.may(principal, str(flow_id), action)
