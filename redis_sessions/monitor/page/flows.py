"""Beyond Langflow: which flows a caller has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis_sessions.monitor.access import is_virtual
from redis_sessions.monitor.page.latest import latest_messages
from redis_sessions.monitor.wire import json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

MAX_RANKED = 500
"""Each flow that is looked into costs two small reads; of more flows than that, the rest come by id."""


class Flows:
    """``/flows``."""

    def __init__(self, store: SessionStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def read(self, _: Request, principal: Principal) -> Response:
        """The caller's flows, newest activity first, each with the time of its last message.

        Not those whose id is no UUID (the other endpoints take none), nor a shared flow's.
        """
        flows = [flow for flow in await self._access.flows(principal) if _is_nameable(flow)]
        looked_into = flows[:MAX_RANKED]
        latest = await latest_messages(self._store, [(flow, None) for flow in looked_into])
        shown: list[dict[str, Any]] = [
            {"flow_id": flow, "timestamp": message["timestamp"] if message else None}
            for flow, message in zip(looked_into, latest, strict=True)
        ]
        shown.sort(key=lambda one: one["timestamp"] or "", reverse=True)
        shown += [{"flow_id": flow, "timestamp": None} for flow in flows[MAX_RANKED:]]
        return json_response(shown)


def _is_nameable(flow: str) -> bool:
    try:
        return str(UUID(flow)) == flow and not is_virtual(flow)
    except ValueError:
        return False
