"""Langflow's monitor endpoints, answered from Redis inside Langflow's process.

Langflow refuses a plug-in's routes where it has some itself, so this is a middleware: the innermost one. A
request has passed all of Langflow's (CORS, compression, size limits, telemetry) before it gets here, and the
answer passes them on its way out. What has no endpoint of ours goes on to Langflow's router: it also answers
405, redirects, ``/monitor/job_queue`` and ``/monitor/traces``. Langflow's routes and its ``/docs`` stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from langflow.api.v1 import monitor as stock
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Match

from redis_sessions.errors import RedisSessionsError
from redis_sessions.langflow import runtime
from redis_sessions.langflow.access import InProcessAccess, Inside
from redis_sessions.langflow.host import LangflowHost
from redis_sessions.langflow.seams import SeamError
from redis_sessions.monitor.app import PREFIX, Operation, operations, rates_of
from redis_sessions.monitor.errors import InvalidRequestError, http_error, invalid_request, store_error
from redis_sessions.monitor.metrics import Metrics
from redis_sessions.monitor.openapi import document
from redis_sessions.monitor.params import MAX_BODY_BYTES
from redis_sessions.monitor.settings import MonitorSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from redis_sessions.monitor.access import Principal
    from redis_sessions.store import SessionStore

_OURS = re.compile(re.escape(PREFIX) + r"/(?:messages|builds|transactions)(?:/|\Z)")
_SHARED = "/messages/shared"


def install(app: FastAPI) -> None:
    """Put the endpoints in front of the application's own. Once: installing again changes nothing.

    Raises:
        SeamError: this Langflow has endpoints for messages, builds or transactions that we have not.
        ConfigurationError: a setting ``REDIS_SESSIONS_MONITOR_*`` cannot work.
    """
    settings = MonitorSettings.load()
    check(stock.router.routes)
    if not any(middleware.cls is MonitorMiddleware for middleware in app.user_middleware):
        # add_middleware would put it outside of all others.
        overrides = app.dependency_overrides
        app.user_middleware.append(Middleware(MonitorMiddleware, overrides=overrides, settings=settings))


def check(routes: list[Any]) -> None:
    """Raises SeamError when one of Langflow's monitor routes would still read or write its SQL tables."""
    answered = {(method.upper(), path) for path, item in document(PREFIX)["paths"].items() for method in item}
    missing = [
        f"{method} {path}"
        for route in routes
        if isinstance(route, APIRoute) and _OURS.match(path := PREFIX + route.path.removeprefix("/monitor"))
        for method in sorted(route.methods)
        if (method, path) not in answered
    ]
    if missing:
        msg = f"this Langflow has endpoints that redis-sessions does not know: {', '.join(missing)}"
        raise SeamError(msg)


class MonitorMiddleware:
    """Answers what :mod:`redis_sessions.monitor` answers; hands on the rest untouched.

    Args:
        overrides: the application's ``dependency_overrides``.
        settings: limits of requests and of live feeds; what they say of access and CORS is Langflow's here.
    """

    def __init__(self, app: ASGIApp, overrides: dict[Any, Any], settings: MonitorSettings) -> None:
        self._app = app
        self._overrides = overrides
        self._settings = settings
        self._monitor: tuple[SessionStore, FastAPI] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http" and _OURS.search(scope["path"]) and runtime.active():
            try:
                monitor = self._monitor_of(await runtime.store())
            except RedisSessionsError as error:
                answer = store_error(Request(scope), error)
            else:
                if any(route.matches(scope)[0] is Match.FULL for route in monitor.routes):
                    answer = monitor
        await answer(scope, receive, send)

    def _monitor_of(self, store: SessionStore) -> FastAPI:
        if self._monitor is None or self._monitor[0] is not store:
            self._monitor = store, monitor_of(store, self._overrides, self._settings)
        return self._monitor[1]


def monitor_of(store: SessionStore, overrides: dict[Any, Any], settings: MonitorSettings) -> FastAPI:
    """The endpoints over ``store``, with Langflow's access."""
    access = InProcessAccess(overrides)
    rates = rates_of(store, settings.rate_limit)
    app = Inside(overrides, refused=http_error)

    def add(operation: Operation) -> None:
        async def answer(request: Request, principal: Principal) -> Response:
            request.scope[MAX_BODY_BYTES] = settings.max_body_bytes
            try:
                if rates is not None:
                    await rates.check(principal)
                return await operation.endpoint(request, principal)
            # Here, so that Langflow does not log a fault of its database session.
            except InvalidRequestError as error:
                return invalid_request(request, error)
            except RedisSessionsError as error:
                return store_error(request, error)

        guarded = access.guard(answer, asks_access=not operation.path.startswith(_SHARED))
        app.add_api_route(PREFIX + operation.path, guarded, methods=[operation.method], response_model=None)

    for operation in operations(
        store, access, settings=settings, metrics=Metrics(store), host=LangflowHost()
    ):
        add(operation)
    return app
