"""Component runs of a flow, in pages as fastapi-pagination makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field
from starlette.responses import Response

from redis_sessions.monitor.access import is_virtual
from redis_sessions.monitor.host import Host
from redis_sessions.monitor.params import MAX_OFFSET, FlowQuery, Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from redis_sessions.monitor.access import Access, Principal
    from redis_sessions.store import SessionStore

_DEFAULT_SIZE = 50


class PageQuery(BaseModel):
    """``page`` from 1, ``size`` up to 100. Page 1 of 50 when not given."""

    page: Annotated[int | None, Field(ge=1)] = None
    size: Annotated[int | None, Field(ge=1, le=100)] = None


class Transactions:
    """``/transactions``. A flow that is not the caller's has none."""

    def __init__(self, store: SessionStore, access: Access, host: Host | None = None) -> None:
        self._store = store
        self._access = access
        self._host = host if host is not None else Host()

    async def read(self, request: Request, principal: Principal) -> Response:
        """A page, newest first."""
        parser = Parser(request)
        # Langflow declares them twice, and lists what is wrong with them twice.
        parser.query(PageQuery)
        pages = parser.query(PageQuery)
        query = parser.query(FlowQuery)
        parser.check()
        page, size, flow_id = pages.page or 1, pages.size or _DEFAULT_SIZE, query.flow_id
        if is_virtual(flow_id) or not await self._access.may(principal, str(flow_id), "read"):
            return _page([], 0, 1, size)
        offset = min((page - 1) * size, MAX_OFFSET)
        items, total = await self._store.transactions_json(flow_id, limit=size, offset=offset)
        if not total and not await self._host.has_flow(self._store, flow_id):
            return _page([], 0, 1, size)
        return _page(items, total, page, size)


def _page(items: Sequence[bytes], total: int, page: int, size: int) -> Response:
    pages = -(-total // size)
    tail = b'],"total":%d,"page":%d,"size":%d,"pages":%d}' % (total, page, size, pages)
    return Response(b'{"items":[' + b",".join(items) + tail, media_type="application/json")
