"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.store import SessionStore


class Health:
    """``/health`` and ``/ready``: for probes, without credentials."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def alive(self, _: Request) -> Response:
        """The process answers. Asks nobody: a Redis that is away is no reason to restart this process."""
        return JSONResponse({"status": "ok"})
