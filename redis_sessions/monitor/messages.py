"""Reading, changing and deleting messages by flow, by session or by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import unquote

from pydantic import WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from redis_sessions.errors import MessageNotFoundError
from redis_sessions.limits import SESSION_ID_MAX_BYTES
from redis_sessions.monitor.access import is_virtual
from redis_sessions.monitor.host import Host
from redis_sessions.monitor.paging import cursor_of, entity_tag, is_fresh, next_page
from redis_sessions.monitor.params import (
    MESSAGE_IDS,
    UPDATE_BODY,
    AnyFlowQuery,
    Cursor,
    MessagePath,
    Parser,
    Window,
    end_user,
)
from redis_sessions.monitor.wire import (
    json_response,
    messages_response,
    no_content,
    read_shape,
    sorted_for_display,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from starlette.requests import Request

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

_ORDER_FIELDS = frozenset({"timestamp", "sender", "sender_name", "session_id", "text"})
# Described, not checked: see HistoryQuery.problem.
_OrderField = Annotated[str, WithJsonSchema({"type": "string", "enum": [*sorted(_ORDER_FIELDS), ""]})]
_Direction = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": "^([Aa][Ss][Cc]|[Dd][Ee][Ss][Cc])$"})
]


class HistoryQuery(Window):
    """Which messages of a flow, and in which order."""

    session_id: str | None = None
    order_by: _OrderField | None = "timestamp"
    order: _Direction = "ASC"

    def problem(self) -> str | None:
        """What is wrong with the order: looked at only for a flow that is there."""
        if self.order.upper() not in ("ASC", "DESC"):
            return f"Invalid order direction: {self.order}"
        if self.order_by and self.order_by not in _ORDER_FIELDS:
            return f"Invalid order_by field: {self.order_by}"
        return None

    @property
    def session(self) -> str | None:
        # Decoded a second time: Langflow's editor encodes it twice.
        return unquote(self.session_id) if self.session_id else None

    @property
    def descending(self) -> bool:
        return self.order.upper() == "DESC"


class MessagesQuery(HistoryQuery, AnyFlowQuery):
    """Any flow's messages, or all of the caller's. ``before`` is beyond Langflow: a cursor."""

    end_user_id: str | None = None
    sender: str | None = None
    sender_name: str | None = None
    before: Cursor | None = None

    @property
    def is_one_history(self) -> bool:
        """Whether this is a session's messages, all of them, by time: what can be paged by cursor."""
        narrowed = self.end_user_id or self.sender or self.sender_name or self.offset
        return bool(self.flow_id and self.session_id and self.order_by == "timestamp" and not narrowed)

    @model_validator(mode="after")
    def _pages_a_history(self) -> Self:
        if self.before and not self.is_one_history:
            kind, text = "before", "before needs flow_id and session_id, and no filter, offset or order_by"
            raise PydanticCustomError(kind, text)
        return self


class Messages:
    """``/messages`` and ``/messages/{message_id}``."""

    def __init__(self, store: SessionStore, access: Access, host: Host | None = None) -> None:
        self._store = store
        self._access = access
        self._host = host if host is not None else Host()

    async def read(self, request: Request, principal: Principal) -> Response:
        """The newest messages, ordered for display."""
        parser = Parser(request)
        query = parser.query(MessagesQuery)
        parser.check()
        flow_id = query.flow_id
        if flow_id is not None and (
            is_virtual(flow_id) or not await self._access.may(principal, str(flow_id), "read")
        ):
            return messages_response([])
        if problem := query.problem():
            if flow_id is not None and not await self._host.has_flow(self._store, flow_id):
                return messages_response([])
            raise HTTPException(400, problem)
        headers: dict[str, str] = {}
        # The state is named before it is read: a change in between makes the name old, never the answer.
        if flow_id is not None and (version := await self._version(flow_id, query)):
            headers = {"etag": entity_tag(version), "cache-control": "private, no-cache"}
            if is_fresh(request, headers["etag"]):
                return Response(status_code=304, headers=headers)
        if flow_id is not None and query.before and query.session:
            window = await self._page(str(flow_id), query.session, query)
        else:
            window = await newest(
                self._store,
                [str(flow_id)] if flow_id is not None else await self.own_flows(principal),
                query,
                user_id=end_user(query.end_user_id) if query.end_user_id else None,
                sender=query.sender or None,
                sender_name=query.sender_name or None,
            )
        if query.is_one_history and len(window) == query.size:
            cursor = await cursor_of(self._store, str(flow_id), window[-1])
            headers |= next_page(request, cursor) if cursor else {}
        shown = sorted_for_display(window, query.order_by, descending=query.descending)
        return messages_response(shown, headers)

    async def _version(self, flow_id: UUID, query: HistoryQuery) -> bytes | None:
        session = query.session
        return None if session and not could_exist(session) else await self._store.version(flow_id, session)

    async def _page(self, flow_id: str, session: str, query: MessagesQuery) -> list[bytes]:
        if not could_exist(session):
            return []
        page = await self._store.history_json(flow_id, session, limit=query.size, before=query.before)
        return page[::-1]

    async def update(self, request: Request, principal: Principal) -> Response:
        """Change a message of one of the caller's flows."""
        parser = Parser(request)
        path = parser.path(MessagePath)
        body = await parser.body(UPDATE_BODY)
        parser.check()
        found = await self._store.get(path.message_id, flows=await self.own_flows(principal))
        if found is None or not await self._access.may(principal, found.flow_id, "write"):
            raise HTTPException(404, "Message not found")
        self._host.check_attachments(body.files, (principal.id, found.flow_id))
        try:
            message = await self._store.update(path.message_id, body.to_update(), flow_id=found.flow_id)
        except MessageNotFoundError:  # deleted meanwhile
            raise HTTPException(404, "Message not found") from None
        response = json_response(read_shape(message))
        response.background = self._host.updated(found, message)
        return response

    async def delete(self, request: Request, principal: Principal) -> Response:
        """Delete messages by id; ids that are unknown or somebody else's are ignored."""
        parser = Parser(request)
        message_ids = await parser.body(MESSAGE_IDS)
        parser.check()
        if message_ids:
            flows = await self.own_flows(principal)

            async def sessions() -> set[str]:
                found = await self._store.get_many(message_ids, flows=flows)
                return {message.session_id for message in found if message is not None}

            async with self._host.deleting_messages(principal, sessions):
                await self._store.delete_messages(message_ids, flows=flows)
        return no_content()

    async def own_flows(self, principal: Principal) -> list[str]:
        return [flow for flow in await self._access.flows(principal) if not is_virtual(flow)]


async def newest(
    store: SessionStore,
    flows: Iterable[str],
    query: HistoryQuery,
    *,
    user_id: str | None = None,
    sender: str | None = None,
    sender_name: str | None = None,
) -> list[bytes]:
    """The window that a query asks for, newest first."""
    session = query.session
    if session is not None and not could_exist(session):
        return []
    return await store.recent_json(
        flows,
        session_id=session,
        user_id=user_id,
        sender=sender,
        sender_name=sender_name,
        limit=query.size,
        offset=query.start,
    )


def could_exist(session_id: str) -> bool:
    """Whether any session can have this id: what is only looked for is not an error."""
    return (
        1 <= len(session_id.encode("utf-8", "replace")) <= SESSION_ID_MAX_BYTES and "\x00" not in session_id
    )
