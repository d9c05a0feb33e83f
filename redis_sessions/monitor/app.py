"""The application: which path is whose, and what surrounds every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import Route

from redis_sessions.monitor.access import OpenAccess
from redis_sessions.monitor.builds import Builds
from redis_sessions.monitor.errors import HANDLERS
from redis_sessions.monitor.export import Export
from redis_sessions.monitor.health import Health
from redis_sessions.monitor.live import Live
from redis_sessions.monitor.messages import Messages
from redis_sessions.monitor.metrics import Metrics
from redis_sessions.monitor.openapi import document
from redis_sessions.monitor.page import page_routes
from redis_sessions.monitor.sessions import Sessions
from redis_sessions.monitor.settings import MonitorSettings
from redis_sessions.monitor.shared import Shared
from redis_sessions.monitor.surroundings import middleware
from redis_sessions.monitor.transactions import Transactions
from redis_sessions.monitor.wire import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.monitor.rates import Rates
    from redis_sessions.store import SessionStore

    Endpoint = Callable[[Request, Principal], Awaitable[Response]]

PREFIX = "/api/v1/monitor"


def monitor_app(
    store: SessionStore, *, access: Access | None = None, settings: MonitorSettings | None = None
) -> ASGIApp:
    """Langflow's monitor endpoints over ``store``, which must be open while requests are answered.

    Args:
        access: who may see what. Without it :class:`OpenAccess`: callers on this machine see everything,
            others nothing.
        settings: limits, CORS and the like; without it, from ``REDIS_SESSIONS_MONITOR_*``. What they say of
            access is for :func:`configured_access`.
    """
    access = access if access is not None else OpenAccess(store)
    settings = settings if settings is not None else MonitorSettings.load()
    messages, sessions, shared = Messages(store, access), Sessions(store, access), Shared(store)
    builds, transactions = Builds(store, access), Transactions(store, access)
    health, metrics = Health(store), Metrics(store)
    live, export = Live(store, access, metrics, settings), Export(store, access)
    rates = _rates(store, settings.rate_limit)

    def route(method: str, path: str, endpoint: Endpoint) -> Route:
        async def authenticated(request: Request) -> Response:
            principal = await access.authenticate(request)
            if rates is not None:
                await rates.check(principal)
            return await endpoint(request, principal)

        made = ExactRoute(method, PREFIX + path, authenticated)
        made.app = metrics.timed(method, PREFIX + path, made.app)
        return made

    # In Langflow's order: of several paths that fit, the first one answers 405.
    routes = [
        route("GET", "/builds", builds.read),
        route("DELETE", "/builds", builds.delete),
        route("GET", "/messages/sessions", sessions.read),
        route("GET", "/messages/stream", live.read),
        route("GET", "/messages/export", export.read),
        route("GET", "/messages", messages.read),
        route("DELETE", "/messages", messages.delete),
        route("PUT", "/messages/{message_id}", messages.update),
        route("PATCH", "/messages/session/{old_session_id}", sessions.rename),
        route("DELETE", "/messages/session/{session_id}", sessions.delete),
        route("DELETE", "/messages/sessions", sessions.delete_many),
        route("GET", "/messages/shared/sessions", shared.read_sessions),
        route("GET", "/messages/shared", shared.read),
        route("DELETE", "/messages/shared/session/{session_id}", shared.delete),
        route("PUT", "/messages/shared/{message_id}", shared.update),
        route("PATCH", "/messages/shared/session/{old_session_id}", shared.rename),
        route("GET", "/transactions", transactions.read),
        *page_routes(store, access, route),
        ExactRoute("GET", "/health", health.alive),
        ExactRoute("GET", "/ready", health.ready),
        ExactRoute("GET", "/metrics", metrics.show),
        ExactRoute("GET", "/openapi.json", _describe),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS, middleware=middleware(settings))
    app.state.max_body_bytes = settings.max_body_bytes
    return app


def _rates(store: SessionStore, limit: str | None) -> Rates | None:
    if limit is None:
        return None
    from redis_sessions.monitor.rates import Rates

    return Rates(store, limit)


async def _describe(_: Request) -> Response:
    return json_response(document(PREFIX))


class ExactRoute(Route):
    """A route for one method. Starlette's would answer HEAD along with GET; Langflow answers 405."""

    def __init__(self, method: str, path: str, endpoint: Callable[[Request], Any]) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}
