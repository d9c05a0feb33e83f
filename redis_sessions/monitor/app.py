"""The application: which path is whose, and what surrounds every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
from redis_sessions.monitor.params import MAX_BODY_BYTES
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
    from redis_sessions.monitor.host import Host
    from redis_sessions.monitor.rates import Rates
    from redis_sessions.store import SessionStore

    Endpoint = Callable[[Request, Principal], Awaitable[Response]]

PREFIX = "/api/v1/monitor"


class Operation(NamedTuple):
    """One thing that can be asked for below :data:`PREFIX`."""

    method: str
    path: str
    endpoint: Endpoint


def operations(
    store: SessionStore,
    access: Access,
    *,
    settings: MonitorSettings,
    metrics: Metrics,
    host: Host | None = None,
) -> list[Operation]:
    """Langflow's endpoints, and the two beyond it that are about messages too.

    In Langflow's order: of several paths that fit, the first one answers 405.
    """
    messages, sessions = Messages(store, access, host), Sessions(store, access, host)
    shared, builds = Shared(store, host), Builds(store, access)
    transactions = Transactions(store, access, host)
    live, export = Live(store, access, metrics, settings), Export(store, access)
    return [
        Operation("GET", "/builds", builds.read),
        Operation("DELETE", "/builds", builds.delete),
        Operation("GET", "/messages/sessions", sessions.read),
        Operation("GET", "/messages/stream", live.read),
        Operation("GET", "/messages/export", export.read),
        Operation("GET", "/messages", messages.read),
        Operation("DELETE", "/messages", messages.delete),
        Operation("PUT", "/messages/{message_id}", messages.update),
        Operation("PATCH", "/messages/session/{old_session_id}", sessions.rename),
        Operation("DELETE", "/messages/session/{session_id}", sessions.delete),
        Operation("DELETE", "/messages/sessions", sessions.delete_many),
        Operation("GET", "/messages/shared/sessions", shared.read_sessions),
        Operation("GET", "/messages/shared", shared.read),
        Operation("DELETE", "/messages/shared/session/{session_id}", shared.delete),
        Operation("PUT", "/messages/shared/{message_id}", shared.update),
        Operation("PATCH", "/messages/shared/session/{old_session_id}", shared.rename),
        Operation("GET", "/transactions", transactions.read),
    ]


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
    health, metrics = Health(store), Metrics(store)
    rates = rates_of(store, settings.rate_limit)

    def route(method: str, path: str, endpoint: Endpoint) -> Route:
        async def authenticated(request: Request) -> Response:
            request.scope[MAX_BODY_BYTES] = settings.max_body_bytes
            principal = await access.authenticate(request)
            if rates is not None:
                await rates.check(principal)
            return await endpoint(request, principal)

        made = ExactRoute(method, PREFIX + path, authenticated)
        made.app = metrics.timed(method, PREFIX + path, made.app)
        return made

    routes = [
        *(route(*operation) for operation in operations(store, access, settings=settings, metrics=metrics)),
        *page_routes(store, access, route),
        ExactRoute("GET", "/health", health.alive),
        ExactRoute("GET", "/ready", health.ready),
        ExactRoute("GET", "/metrics", metrics.show),
        ExactRoute("GET", "/openapi.json", _describe),
    ]
    return Starlette(routes=routes, exception_handlers=HANDLERS, middleware=middleware(settings))


def rates_of(store: SessionStore, limit: str | None) -> Rates | None:
    """The limit of requests that the settings name; None for none."""
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
        self.methods: set[str] = {method}
