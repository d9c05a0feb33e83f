"""Access inside Langflow: who a caller is and what they may do is what Langflow itself says.

Nothing of its authentication or authorization is repeated here. FastAPI resolves the caller from the same
dependency as for Langflow's own endpoints: API key, bearer token, cookie, external credentials, auto-login,
and what an authorization plug-in has put in its place. A flow's permission is asked of the same functions,
with shares where they are enabled.

A request uses one session of Langflow's database, as there. Its connection is given back before Redis is
asked: a Redis that does not answer must not use up the pool of a server that is otherwise well.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from fastapi import FastAPI, Request
from langflow.api.utils import CurrentActiveUser, DbSession  # noqa: TC002 - FastAPI reads them
from langflow.services.authorization import FlowAction, ensure_flow_permission
from langflow.services.authorization.fetch import authorized_or_owner_scoped
from langflow.services.database.models.flow.model import Flow
from lfx.services.deps import session_scope_readonly
from sqlalchemy.orm import Bundle
from sqlmodel import select
from starlette.exceptions import HTTPException
from starlette.responses import Response

from redis_sessions.monitor.access import Principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from langflow.services.database.models.user.model import User, UserRead
    from sqlmodel.ext.asyncio.session import AsyncSession
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from redis_sessions.monitor.access import Action

    Endpoint = Callable[[Request, Principal], Awaitable[Response]]

_ACTIONS = {"read": FlowAction.READ, "write": FlowAction.WRITE}
_IDENTIFIED = "redis_sessions.identified"

# What authorization looks at: a flow's row also holds all of its components, often hundreds of kilobytes.
_AUTHORIZED_BY = cast("Any", Bundle("flow", Flow.id, Flow.user_id, Flow.workspace_id, Flow.folder_id))

_database: ContextVar[AsyncSession | None] = ContextVar("redis_sessions_database", default=None)
"""The session of the request that is being answered."""


@dataclass(frozen=True, slots=True)
class Caller(Principal):
    """A caller, with the user that Langflow knows them as."""

    user: User | UserRead = field(compare=False, repr=False)


class InProcessAccess:
    """Langflow's own users, flows and permissions, from inside its process.

    Args:
        overrides: the application's ``dependency_overrides``.
    """

    def __init__(self, overrides: dict[Any, Any]) -> None:
        self._identification = Inside(overrides, refused=_remember_refusal)
        self._identification.add_api_route("/", _identify, methods=["GET"])

    def guard(self, endpoint: Endpoint, *, asks_access: bool = True) -> Callable[..., Awaitable[Response]]:
        """``endpoint`` as a path operation of FastAPI, which authenticates the caller first.

        Args:
            asks_access: whether the endpoint asks about flows; the connection is kept until it has.
        """

        async def guarded(request: Request, user: CurrentActiveUser, database: DbSession) -> Response:
            if not asks_access:
                await database.commit()
            token = _database.set(database)
            try:
                return await endpoint(request, Caller(str(user.id), user))
            finally:
                _database.reset(token)

        return guarded

    async def authenticate(self, request: HTTPConnection) -> Principal:
        """The caller, asked for again while a live feed is open."""
        identified: list[Caller | HTTPException] = []
        scope = {**request.scope, "method": "GET", "path": "/", "root_path": "", _IDENTIFIED: identified}
        await self._identification(scope, _receive_nothing, _send_nowhere)
        caller = identified[0]
        if isinstance(caller, HTTPException):
            raise caller
        return caller

    async def flows(self, principal: Principal) -> list[str]:
        async with _session() as database:
            found = await database.exec(select(Flow.id).where(Flow.user_id == UUID(principal.id)))
            return [str(flow_id) for flow_id in found]

    async def may(self, principal: Principal, flow_id: str, action: Action) -> bool:
        """Whether the flow is there and is the caller's, or shared with them.

        Raises:
            HTTPException: 403, it is shared with the caller, and not for this.
        """
        user = cast("Caller", principal).user
        async with _session() as database:
            flow = await authorized_or_owner_scoped(
                database,
                _AUTHORIZED_BY,
                id_column=Flow.id,
                resource_id=UUID(flow_id),
                owner_column=Flow.user_id,
                owner_id=user.id,
            )
            if flow is None:
                return False
            await ensure_flow_permission(
                user,
                _ACTIONS[action],
                flow_id=flow.id,
                flow_user_id=flow.user_id,
                workspace_id=flow.workspace_id,
                folder_id=flow.folder_id,
            )
            return True


class Inside(FastAPI):
    """An application inside of Langflow's: ``request.app`` and the path before it stay Langflow's.

    Args:
        overrides: of dependencies.
        refused: handles an HTTPException.
    """

    def __init__(self, overrides: dict[Any, Any], *, refused: Any) -> None:
        handlers = {HTTPException: refused}
        super().__init__(openapi_url=None, redirect_slashes=False, exception_handlers=handlers)
        self.dependency_overrides = overrides
        self._stack = self.build_middleware_stack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._stack(scope, receive, send)


async def _identify(request: Request, user: CurrentActiveUser) -> Response:
    request.scope[_IDENTIFIED].append(Caller(str(user.id), user))
    return Response()


async def _remember_refusal(request: Request, error: Exception) -> Response:
    request.scope[_IDENTIFIED].append(error)
    return Response()


async def _receive_nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send_nowhere(_: Any) -> None:
    pass


@asynccontextmanager
async def _session() -> AsyncIterator[AsyncSession]:
    """The request's session, its transaction ended afterwards; outside of a request one of its own."""
    database = _database.get()
    if database is None:
        async with session_scope_readonly() as database:
            yield database
        return
    yield database
    await database.commit()
