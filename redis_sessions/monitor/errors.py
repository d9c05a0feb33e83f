"""Errors as HTTP answers, all of the form ``{"detail": …}`` as FastAPI's are.

=============================  ====================================================================
error                          answer
=============================  ====================================================================
InvalidRequestError            422, a list of {type, loc, msg[, ctx]} without what was sent
InvalidInputError              422, likewise, its text as the msg
NotFoundError                  404
ConflictError                  409: a merge over the limit, others were faster
NotReplicatedError             503: the change was made, and is not safe yet
StoreUnavailableError          503 with Retry-After; says whether the write may have happened
any other                      500 ``Internal Server Error``, and a log entry
=============================  ====================================================================
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import to_json
from pydantic_core.core_schema import ErrorType
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from redis_sessions.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotReplicatedError,
    RedisSessionsError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from starlette.requests import Request

logger: logging.Logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1
_FROM_SCHEMA = frozenset(
    {"expected", "ge", "gt", "le", "lt", "max_length", "min_length", "class_name", "pattern"}
)
_BUILTIN = frozenset(get_args(ErrorType))
_REDACTED = "[redacted]"
_REDACT_FROM = 8


class InvalidRequestError(Exception):
    """A request's parameters or body are not acceptable: pydantic's errors, ``loc`` from the request down."""

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def public_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    """What of a pydantic error is answered (Langflow 1.13: ``api/validation_errors.py``).

    Not the input, nor context that comes from it; a message that may quote the input has it redacted.
    """
    context = problem.get("ctx", {})
    builtin = problem["type"] in _BUILTIN
    shown = {name: value for name, value in context.items() if builtin and name in _FROM_SCHEMA}
    text = problem["msg"]
    if not builtin or len(shown) < len(context):
        quotable = {part for part in _texts(problem.get("input")) if len(part) >= _REDACT_FROM}
        for part in sorted(quotable, key=len, reverse=True):
            text = text.replace(part, _REDACTED)
    public = {"type": problem["type"], "loc": problem["loc"], "msg": text}
    return {**public, "ctx": shown} if shown else public


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, str):
            yield item
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield str(item)


def invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRequestError)  # noqa: S101 - registered for it
    detail = [public_problem(problem) for problem in error.problems]
    # to_json replaces what JSON cannot hold: a path may contain any text.
    return Response(to_json({"detail": detail}), 422, media_type="application/json")


def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


def store_error(request: Request, error: Exception) -> Response:
    """The store's errors say what happened and what to do, and hold no text and no credential."""
    match error:
        case NotReplicatedError():
            logger.warning("change not replicated: error=%s", error)
            detail = "The change was made, but too few replicas have it so far; do not repeat it."
            return JSONResponse({"detail": detail}, 503)
        case StoreUnavailableError(write_may_have_happened=maybe):
            logger.warning("store unavailable: error=%s", error)
            detail = "The session store is unavailable; nothing was changed."
            if maybe:
                detail = "The session store did not answer in time; the change may have been made."
            return JSONResponse({"detail": detail}, 503, headers={"Retry-After": str(RETRY_AFTER_S)})
        case InvalidInputError():  # a message over its limits; what else can be wrong, params.py has seen
            return invalid_request(
                request, InvalidRequestError([{"type": "value_error", "loc": ("body",), "msg": str(error)}])
            )
        case NotFoundError():
            status = 404
        case ConflictError():
            status = 409
        case _:
            return server_error(request, error)
    return JSONResponse({"detail": str(error)}, status)


def server_error(_: Request, error: Exception) -> Response:
    logger.error("request failed: error=%s", type(error).__name__, exc_info=error)
    return JSONResponse({"detail": "Internal Server Error"}, 500)


HANDLERS: Mapping[Any, Callable[[Request, Exception], Response | Awaitable[Response]]] = {
    HTTPException: http_error,
    InvalidRequestError: invalid_request,
    RedisSessionsError: store_error,
    Exception: server_error,
}
