"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from redis_sessions.errors import RedisSessionsError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from redis_sessions.store import SessionStore

logger: logging.Logger = logging.getLogger(__name__)

_PATIENCE_S = 2
"""A probe wants an answer before it gives up itself."""


class Health:
    """``/health`` and ``/ready``: for probes, without credentials."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def alive(self, _: Request) -> Response:
        """The process answers. Asks nobody: a Redis that is away is no reason to restart this process."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Redis answers. Scripts need no loading: each is sent with its text where it is not known."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._store.ping()
        except (RedisSessionsError, TimeoutError) as error:
            logger.warning("not ready: error=%s", type(error).__name__)
            return JSONResponse({"status": "unavailable"}, 503, headers={"Retry-After": "1"})
        return JSONResponse({"status": "ready"})
