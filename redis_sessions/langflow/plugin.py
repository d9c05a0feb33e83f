"""What Langflow loads in every worker: the entry point ``langflow.plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions.langflow import startup

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
    if startup.install(_PARTS, application):
        startup.announce()
    else:
        application.user_middleware[:] = middleware
