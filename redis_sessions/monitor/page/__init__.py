"""The session page: its files, and the few endpoints that only it needs.

===============================================  =========================================================
``GET /``                                        the page
``GET /page/<digest>/<file>``                    its modules, styles and icon; never change, so are kept
``GET /api/v1/monitor/flows``                    the caller's flows, newest activity first
``GET /api/v1/monitor/page/sessions``            a flow's sessions, newest first, each with its last message
``PATCH /api/v1/monitor/page/session``           rename in one flow; a merge only if it is asked for
``DELETE /api/v1/monitor/page/session``          delete in one flow
===============================================  =========================================================

Langflow's own endpoints rename and delete in all flows of the caller, and take a session id in the path,
where it cannot have a slash. What a person sees on the page is one flow: so these act on one flow, and take
the id in the query, where it is URL-decoded twice as everywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from redis_sessions.monitor.page.files import Files
from redis_sessions.monitor.page.flows import Flows
from redis_sessions.monitor.page.sessions import PageSessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

    Endpoint = Callable[[Request, Principal], Awaitable[Response]]

__all__ = ["page_routes"]


def page_routes(
    store: SessionStore, access: Access, route: Callable[[str, str, Endpoint], Route]
) -> list[Route]:
    """All routes of the page; ``route`` makes an endpoint one that authenticates its callers."""
    files, flows, sessions = Files(), Flows(store, access), PageSessions(store, access)
    return [
        Route("/", files.read_page),
        Route("/page/{digest}/{name}", files.read),
        route("GET", "/flows", flows.read),
        route("GET", "/page/sessions", sessions.read),
        route("PATCH", "/page/session", sessions.rename),
        route("DELETE", "/page/session", sessions.delete),
    ]
