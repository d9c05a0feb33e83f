"""What Langflow loads in every worker: the entry point ``langflow.plugins``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from redis_sessions.errors import RedisSessionsError
from redis_sessions.langflow import runtime, seams, startup

if TYPE_CHECKING:
    from fastapi import FastAPI

_PARTS = ("memory", "monitor", "builds", "cleanup", "elsewhere")
"""Modules of this folder, in the order in which they are installed: each has ``install(app)``."""


def register(app: Any) -> None:
    """Take over a Langflow application that is being made. Without a URL: nothing.

    Raises:
        SystemExit: the plug-in cannot run, and ``REDIS_SESSIONS_STRICT`` does not allow a stock Langflow.
    """
    if not startup.ready():
        return
    application: FastAPI = app.openapi.__self__
    middleware = list(application.user_middleware)
    try:
        for part in _PARTS:
            importlib.import_module(f"redis_sessions.langflow.{part}").install(application)
    except (RedisSessionsError, ImportError) as error:
        seams.restore()
        application.user_middleware[:] = middleware
        startup.refuse(str(error))
        return
    if runtime.active():
        startup.announce()
