"""What a request says: path, query and body, validated by pydantic.

Models have the parameters of Langflow's endpoints (1.13: ``api/v1/monitor.py``) in their order, so that
pydantic finds the same problems and words them alike. All problems of a request are answered together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast
from uuid import NAMESPACE_DNS, UUID, uuid5

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from redis_sessions import limits
from redis_sessions.errors import InvalidInputError
from redis_sessions.ids import from_cursor
from redis_sessions.models import MessageUpdate, Properties, Source, Usage
from redis_sessions.monitor.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

DEFAULT_LIMIT = 100
MAX_LIMIT = 200
MAX_OFFSET = 2**31
"""An offset beyond it finds nothing: no session is that long."""
MAX_BODY_BYTES = "redis_sessions.max_body_bytes"
"""In a request's scope: how long its body may be."""
_END_USERS = uuid5(NAMESPACE_DNS, "end-user.serving.langflow.ai")


def _session_id(value: str) -> str:
    try:
        return limits.session_id(value)
    except InvalidInputError as error:
        kind = "session_id"
        raise PydanticCustomError(kind, "{problem}", {"problem": str(error)}) from None


SessionId = Annotated[
    str,
    AfterValidator(_session_id),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": limits.SESSION_ID_MAX_BYTES}),
]
"""A session id that is to be stored. One that is only looked for may be anything."""


def _cursor(value: str) -> str:
    try:
        if value:
            from_cursor(value)
    except InvalidInputError as error:
        kind = "cursor"
        raise PydanticCustomError(kind, "{problem}", {"problem": str(error)}) from None
    return value


Cursor = Annotated[str, AfterValidator(_cursor)]


class Window(BaseModel):
    """``limit`` and ``offset``: nothing, or 0, means the default."""

    limit: Annotated[int | None, Field(ge=0)] = None
    offset: Annotated[int | None, Field(ge=0)] = None

    @property
    def size(self) -> int:
        return min(self.limit, MAX_LIMIT) if self.limit else DEFAULT_LIMIT

    @property
    def start(self) -> int:
        return min(self.offset or 0, MAX_OFFSET)


class FlowQuery(BaseModel):
    flow_id: UUID


class AnyFlowQuery(BaseModel):
    """Of bases, pydantic takes the fields of the last first: it goes behind :class:`Window`."""

    flow_id: UUID | None = None


class SourceQuery(BaseModel):
    source_flow_id: UUID


class MessagePath(BaseModel):
    message_id: UUID


class SessionPath(BaseModel):
    session_id: str


class RenamePath(BaseModel):
    old_session_id: str


class RenameQuery(BaseModel):
    new_session_id: SessionId


class SharedRenameQuery(BaseModel):
    new_session_id: SessionId
    source_flow_id: UUID


# Fields that Langflow does not know are left out, not kept as the store would.
_IGNORING = ConfigDict(extra="ignore")


class _SourceBody(Source):
    model_config = _IGNORING


class _UsageBody(Usage):
    model_config = _IGNORING


class _PropertiesBody(Properties):
    model_config = _IGNORING

    source: _SourceBody = Field(default_factory=_SourceBody)
    usage: _UsageBody | None = None


class UpdateBody(MessageUpdate):
    """The body of a PUT. Unknown fields are ignored."""

    model_config = _IGNORING

    session_id: SessionId | None = None
    properties: _PropertiesBody | None = None

    def to_update(self) -> MessageUpdate:
        fields = {name: getattr(self, name) for name in MessageUpdate.model_fields}
        if self.properties is not None:
            fields["properties"] = Properties.model_validate(self.properties.model_dump())
        return MessageUpdate.model_construct(**fields)


UPDATE_BODY = TypeAdapter(UpdateBody)
MESSAGE_IDS = TypeAdapter(list[UUID])
SESSION_IDS = TypeAdapter(list[str])


class Parser:
    """The parts of one request. After :meth:`check` all of them are valid."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._problems: list[Mapping[str, Any]] = []

    def path(self, model: type[M]) -> M:
        return self._validate("path", TypeAdapter(model), self._request.path_params)

    def query(self, model: type[M]) -> M:
        # Of a parameter that is given several times the last one counts, as in FastAPI.
        return self._validate("query", TypeAdapter(model), dict(self._request.query_params))

    async def body(self, adapter: TypeAdapter[T]) -> T:
        """The JSON body; anything else is treated as FastAPI treats it: as bytes, which no model takes."""
        raw = await self._read()
        value: Any = None
        if raw:
            value = _load_json(raw) if _is_json(self._request.headers.get("content-type", "")) else raw
        if value is None:
            self._problems.append(
                {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}
            )
            return cast("T", None)
        return self._validate("body", adapter, value)

    async def _read(self) -> bytes:
        """The body, read no further than it may be long. Raises HTTPException 413."""
        most: int = self._request.scope[MAX_BODY_BYTES]
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        async for part in self._request.stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
        return b"".join(parts)

    def check(self) -> None:
        """Raises InvalidRequestError with every problem that was found."""
        if self._problems:
            raise InvalidRequestError(self._problems)

    def _validate(self, source: str, adapter: TypeAdapter[T], value: Any) -> T:
        try:
            return adapter.validate_python(value, from_attributes=True)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                self._problems.append({**problem, "loc": (source, *problem["loc"])})
            return cast("T", None)  # never seen: check() raises


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The request body is over {most:,} bytes")


def _is_json(content_type: str) -> bool:
    maintype, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return maintype == "application" and (subtype == "json" or subtype.endswith("+json"))


def _load_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        raise InvalidRequestError(
            [
                {
                    "type": "json_invalid",
                    "loc": ("body", error.pos),
                    "msg": "JSON decode error",
                    "input": {},
                    "ctx": {"error": error.msg},
                }
            ]
        ) from None
    except (ValueError, RecursionError):  # not UTF-8, an endless number, nested too deeply
        raise HTTPException(400, "There was an error parsing the body") from None


def end_user(end_user_id: str) -> str:
    """The ``user_id`` that messages of an end user carry (Langflow 1.13: ``derive_message_owner_uuid``)."""
    try:
        return str(UUID(end_user_id))
    except ValueError:
        return str(uuid5(_END_USERS, end_user_id))
