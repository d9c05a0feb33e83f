"""Users of a Langflow application in this process, and looks into its database."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from langflow.services.database.models.flow.model import Flow
from langflow.services.deps import session_scope

from redis_sessions import StoreUnavailableError
from redis_sessions.langflow import runtime, seams
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx

    from tests.support.servers import Server


class Person:
    """A user of Langflow."""

    def __init__(self, client: httpx.AsyncClient, user_id: str, name: str) -> None:
        self.client = client
        self.id = user_id
        self.name = name

    async def new_flow(self, **fields: Any) -> str:
        """The id of a new flow without components."""
        body = {"name": f"flow-{uuid.uuid4()}", "data": {"nodes": [], "edges": []}} | fields
        answer = await self.client.post("/api/v1/flows/", json=body)
        return str(answer.raise_for_status().json()["id"])


@contextlib.contextmanager
def from_langflow() -> Iterator[None]:
    """Inside, the monitor endpoints are Langflow's own, with what its database has."""
    from langflow.api.v1 import monitor
    from langflow.services.database.models.vertex_builds import crud

    name = "get_vertex_builds_by_flow_id"
    with (
        patch.object(runtime, "active", lambda: False),
        patch.object(monitor, name, seams.stock(crud, name)),
    ):
        yield


@contextlib.asynccontextmanager
async def away(server: Server) -> AsyncIterator[None]:
    """Inside, Redis is away; afterwards it is back, and empty, and the plug-in has seen it."""
    server.kill()
    try:
        yield
    finally:
        server.restart()
    await wait_until(_answers)


async def _answers() -> bool:
    with contextlib.suppress(StoreUnavailableError):
        await runtime.store()
        return True
    return False


async def exists(flow_id: str) -> bool:
    """Whether Langflow's database has the flow."""
    async with session_scope() as session:
        return await session.get(Flow, uuid.UUID(flow_id)) is not None
