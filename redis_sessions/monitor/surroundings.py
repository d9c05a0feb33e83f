"""What surrounds every answer: security headers, compression, CORS, and limits of the request's head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from redis_sessions.monitor.settings import MonitorSettings

COMPRESS_FROM = 1_000
"""Bytes; as Langflow 1.13."""
# Level 9 takes three times as long for one per cent.
_LEVEL = 5
_PREFLIGHT_S = 600
_HEADERS = ("authorization", "content-type", "if-none-match", "last-event-id", "x-api-key")

# Answers hold conversations: nobody in between keeps them, and no page may frame or embed them.
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class SecurityHeaders:
    """Adds headers that an answer does not have itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [header for header in SECURITY_HEADERS if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadLimits:
    """Refuses a request whose path and query, or headers, are too long: 414, 431."""

    def __init__(self, app: ASGIApp, *, max_target_bytes: int, max_header_bytes: int) -> None:
        self._app = app
        self._max_target = max_target_bytes
        self._max_header = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self._app
        if scope["type"] == "http":
            target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
            header = sum(len(name) + len(value) for name, value in scope["headers"])
            if target > self._max_target:
                answer = _refusal(414, f"Path and query are over {self._max_target:,} bytes")
            elif header > self._max_header:
                answer = _refusal(431, f"The headers are over {self._max_header:,} bytes")
        await answer(scope, receive, send)


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def middleware(settings: MonitorSettings) -> list[Middleware]:
    """What surrounds the application, outermost first."""
    around = [Middleware(SecurityHeaders)]
    if settings.cors_origins:
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "PUT", "PATCH", "DELETE"),
                allow_headers=(
                    "authorization",
                    "content-type",
                    "if-none-match",
                    "last-event-id",
                    "x-api-key",
                ),
                # Cookies are for pages that are named, never for any page.
                allow_credentials=settings.cors_origins != ("*",),
                expose_headers=("etag", "link", "retry-after", "x-next-cursor"),
                max_age=_PREFLIGHT_S,
            )
        )
    limits = {
        "max_target_bytes": settings.max_target_bytes,
        "max_header_bytes": settings.max_header_bytes,
    }
    return [
        *around,
        Middleware(HeadLimits, **limits),
        Middleware(GZipMiddleware, minimum_size=COMPRESS_FROM, compresslevel=_LEVEL),
    ]
