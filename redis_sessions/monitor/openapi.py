"""``/openapi.json``: what the endpoints take and answer, from the models that parse requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from redis_sessions.models import Properties, VertexBuild
from redis_sessions.monitor.export import ExportQuery
from redis_sessions.monitor.live import StreamQuery
from redis_sessions.monitor.messages import MessagesQuery
from redis_sessions.monitor.page.sessions import ListQuery, RenameBody, SessionQuery
from redis_sessions.monitor.params import (
    FlowQuery,
    MessagePath,
    RenamePath,
    RenameQuery,
    SessionPath,
    SharedRenameQuery,
    SourceQuery,
    UpdateBody,
)
from redis_sessions.monitor.sessions import MAX_BULK, SessionsQuery
from redis_sessions.monitor.shared import SharedMessagesQuery, SharedSessionsQuery
from redis_sessions.monitor.transactions import PageQuery

_REF = "#/components/schemas/"
_FLOW = "3144eabb-7f7f-4c97-b9aa-2e8c05db8e3e"
_ID = "45880ffa-9908-492c-8f58-777840c875a5"
_TIME = Field(examples=["2026-03-01 00:00:01.250000 UTC"])


class _Said(BaseModel):
    sender: str = Field(examples=["User"])
    sender_name: str = Field(examples=["User"])
    session_id: str = Field(examples=["refund-4711"])
    context_id: str | None
    text: str = Field(examples=["Where is my refund?"])
    edit: bool
    properties: Properties
    category: str = Field(examples=["message"])
    content_blocks: list[dict[str, Any]]
    session_metadata: dict[str, Any] | None


class ShownMessage(_Said):
    """A message as GET and PATCH answer it."""

    id: str = Field(examples=[_ID])
    flow_id: str = Field(examples=[_FLOW])
    timestamp: str = _TIME
    files: str = Field(description="a JSON list", examples=["[]"])
    duration: float | None


class ReadMessage(_Said):
    """A message as PUT answers it."""

    timestamp: str = _TIME
    files: list[str]
    error: bool
    id: str = Field(examples=[_ID])
    flow_id: str = Field(examples=[_FLOW])
    run_id: str | None


class Builds(BaseModel):
    """The latest build of each vertex."""

    vertex_builds: dict[str, list[VertexBuild]]


class ShownTransaction(BaseModel):
    """A component's run."""

    id: str
    timestamp: str = Field(examples=["2026-03-01T00:00:01.250000Z"])
    vertex_id: str = Field(examples=["ChatInput-conf1"])
    target_id: str | None
    inputs: dict[str, Any] | None
    outputs: dict[str, Any] | None
    status: str = Field(examples=["success"])


class TransactionsPage(BaseModel):
    """A page, newest first."""

    items: list[ShownTransaction]
    total: int
    page: int
    size: int
    pages: int


class ShownFlow(BaseModel):
    """A flow of the caller's."""

    flow_id: str = Field(examples=[_FLOW])
    timestamp: str | None = Field(
        description="of its last message", examples=["2026-03-01 00:00:01.250000 UTC"]
    )


class LastMessage(BaseModel):
    """The beginning of a session's last message."""

    id: str = Field(examples=[_ID])
    timestamp: str = _TIME
    sender: str = Field(examples=["User"])
    sender_name: str = Field(examples=["User"])
    text: str = Field(examples=["Where is my refund?"])


class ListedSession(BaseModel):
    """A session as the page lists it."""

    session_id: str = Field(examples=["refund-4711"])
    latest: LastMessage | None


class Renamed(BaseModel):
    """What a rename did."""

    outcome: Literal["renamed", "merged", "unchanged"]
    session_id: str = Field(examples=["refund-4711"])
    messages: int = Field(examples=[12])


class Deleted(BaseModel):
    """What a bulk delete did."""

    message: str = Field(examples=["Messages deleted successfully for 2 sessions"])
    deleted_count: int = Field(examples=[2])


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    type: str = Field(examples=["uuid_parsing"])
    loc: list[str | int] = Field(examples=[["query", "flow_id"]])
    msg: str
    ctx: dict[str, Any] | None = None


class Problems(BaseModel):
    """All that is wrong with a request."""

    detail: list[Problem]


class Error(BaseModel):
    """Why not."""

    detail: str = Field(examples=["Message not found"])


class Status(BaseModel):
    """What a probe wants to know."""

    status: Literal["ok", "ready", "unavailable"]


_MODELS = (
    ShownMessage,
    ReadMessage,
    Builds,
    TransactionsPage,
    ShownFlow,
    ListedSession,
    Renamed,
    Deleted,
    Problems,
    Error,
    Status,
    UpdateBody,
    RenameBody,
)
_MESSAGES = {"type": "array", "items": {"$ref": _REF + "ShownMessage"}}
_SESSION_IDS = {"type": "array", "items": {"type": "string"}}
_SESSIONS_TO_DELETE = {**_SESSION_IDS, "maxItems": MAX_BULK}
_MESSAGE_IDS = {"type": "array", "items": {"type": "string", "format": "uuid"}}
_TEXT = {
    400: "The order, the number of sessions, an attachment or the body's encoding is not acceptable",
    404: "Not there, or not the caller's; and no path can name a session id that has a slash",
    409: "A merge over the limit, or others changed the same thing faster",
    412: "There is a session with this name already, and no merge is asked for",
    413: "The body is too long",
}


@dataclass(frozen=True, slots=True)
class _Operation:
    summary: str
    answer: dict[str, Any] | None = None
    path: type[BaseModel] | None = None
    queries: tuple[type[BaseModel], ...] = ()
    body: dict[str, Any] | None = None
    errors: tuple[int, ...] = ()
    media_type: str = "application/json"


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF + model.__name__}


_OPERATIONS: dict[tuple[str, str], _Operation] = {
    ("get", "/messages"): _Operation(
        "The newest messages, ordered for display", _MESSAGES, queries=(MessagesQuery,), errors=(400,)
    ),
    ("delete", "/messages"): _Operation("Delete messages by id", body=_MESSAGE_IDS),
    ("put", "/messages/{message_id}"): _Operation(
        "Change a message",
        _ref(ReadMessage),
        path=MessagePath,
        body=_ref(UpdateBody),
        errors=(404, 409),
    ),
    ("get", "/messages/sessions"): _Operation(
        "Session ids, newest activity first", _SESSION_IDS, queries=(SessionsQuery,)
    ),
    ("delete", "/messages/sessions"): _Operation(
        f"Delete up to {MAX_BULK} sessions", _ref(Deleted), body=_SESSIONS_TO_DELETE
    ),
    ("patch", "/messages/session/{old_session_id}"): _Operation(
        "Rename a session, or merge it; the messages that moved",
        _MESSAGES,
        path=RenamePath,
        queries=(RenameQuery,),
        errors=(404, 409),
    ),
    ("delete", "/messages/session/{session_id}"): _Operation(
        "Delete a session", path=SessionPath, errors=(404,)
    ),
    ("get", "/messages/shared"): _Operation(
        "The caller's messages to a shared flow", _MESSAGES, queries=(SharedMessagesQuery,), errors=(400,)
    ),
    ("get", "/messages/shared/sessions"): _Operation(
        "The caller's sessions with a shared flow", _SESSION_IDS, queries=(SharedSessionsQuery,)
    ),
    ("put", "/messages/shared/{message_id}"): _Operation(
        "Change a message to a shared flow",
        _ref(ReadMessage),
        path=MessagePath,
        queries=(SourceQuery,),
        body=_ref(UpdateBody),
        errors=(404, 409),
    ),
    ("patch", "/messages/shared/session/{old_session_id}"): _Operation(
        "Rename a session with a shared flow",
        _MESSAGES,
        path=RenamePath,
        queries=(SharedRenameQuery,),
        errors=(404, 409),
    ),
    ("delete", "/messages/shared/session/{session_id}"): _Operation(
        "Delete a session with a shared flow", path=SessionPath, queries=(SourceQuery,), errors=(404,)
    ),
    ("get", "/messages/stream"): _Operation(
        "A flow's changes as server-sent events",
        {"type": "string"},
        queries=(StreamQuery,),
        errors=(404,),
        media_type="text/event-stream",
    ),
    ("get", "/messages/export"): _Operation(
        "All messages as JSON lines",
        {"type": "string"},
        queries=(ExportQuery,),
        errors=(404,),
        media_type="application/x-ndjson",
    ),
    ("get", "/builds"): _Operation("The latest build of each vertex", _ref(Builds), queries=(FlowQuery,)),
    ("delete", "/builds"): _Operation("Delete a flow's builds", queries=(FlowQuery,)),
    ("get", "/transactions"): _Operation(
        "Component runs, newest first", _ref(TransactionsPage), queries=(FlowQuery, PageQuery)
    ),
}


_OPERATIONS |= {
    ("get", "/flows"): _Operation(
        "The caller's flows, newest activity first", {"type": "array", "items": _ref(ShownFlow)}
    ),
    ("get", "/page/sessions"): _Operation(
        "A flow's sessions, newest first, each with its last message",
        {"type": "array", "items": _ref(ListedSession)},
        queries=(ListQuery,),
        errors=(404,),
    ),
    ("patch", "/page/session"): _Operation(
        "Rename a session of one flow; merge it only if that is asked for",
        _ref(Renamed),
        queries=(SessionQuery,),
        body=_ref(RenameBody),
        errors=(404, 409, 412),
    ),
    ("delete", "/page/session"): _Operation(
        "Delete a session of one flow", queries=(SessionQuery,), errors=(404,)
    ),
}
"""What the session page needs beyond the others."""


def document(prefix: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document; ``prefix`` is what the endpoints' paths begin with."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template=_REF + "{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in _OPERATIONS.items():
        paths.setdefault(prefix + path, {})[method] = _describe(method, path, operation)
    for path, summary in (("/health", "The process lives"), ("/ready", "Redis answers")):
        answers: dict[str, Any] = {"200": _answer("Yes", _ref(Status))}
        if path == "/ready":
            answers["503"] = _answer("No", _ref(Status))
        paths[path] = {"get": {"summary": summary, "security": [], "responses": answers}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "redis-sessions", "version": "1", "summary": "Langflow's monitor, in Redis"},
        "security": [{"key": []}, {"key in query": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "key in query": {"type": "apiKey", "in": "query", "name": "x-api-key"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _describe(method: str, path: str, operation: _Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if operation.answer is None:
        answers["204"] = {"description": "Done"}
    else:
        answers["200"] = _answer("Done", operation.answer, operation.media_type)
    if (method, path) == ("get", "/messages"):
        answers["304"] = {"description": "Not changed since If-None-Match"}
    texts = {
        401: "A bad token",
        403: "No credentials, or a wrong key",
        414: "Path and query are too long",
        429: "Too many requests: Retry-After says when to come back",
        431: "The headers are too long",
    }
    of_body = (400, 413) if operation.body else ()
    for status in sorted({*texts, 503, *operation.errors, *of_body}):
        text = texts.get(status) or _TEXT.get(status, "The store, or Langflow, does not answer")
        answers[str(status)] = _answer(text, _ref(Error))
    answers["422"] = _answer("Parameters or body are not acceptable", _ref(Problems))
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method}{path}".replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": [
            *(_parameters("path", operation.path) if operation.path else ()),
            *(parameter for query in operation.queries for parameter in _parameters("query", query)),
        ],
        "responses": answers,
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": operation.body}},
        }
    return described


def _answer(text: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": schema}}}


def _parameters(place: str, model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    found = []
    for name, described in schema["properties"].items():
        # A parameter is left out, not null.
        choices = [choice for choice in described.get("anyOf", [described]) if choice.get("type") != "null"]
        found.append(
            {
                "name": name,
                "in": place,
                "required": place == "path" or name in required,
                "schema": {key: value for key, value in choices[0].items() if key != "title"},
            }
        )
    return found
