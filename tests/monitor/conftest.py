from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import httpx
import pytest

from redis_sessions.monitor import monitor_app
from redis_sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis_sessions.monitor import Access

HOST = "http://127.0.0.1:7861"
PATH = "/api/v1/monitor"


@pytest.fixture
async def memory_store() -> AsyncIterator[SessionStore]:
    """An embedded store: what is tested here is HTTP."""
    url = f"memory://{uuid.uuid4().hex}"
    async with SessionStore.from_url(url, max_ahead=timedelta(days=36_500)) as store:
        yield store


class Connect(Protocol):
    async def __call__(
        self, store: SessionStore, access: Access | None = None, **headers: str
    ) -> httpx.AsyncClient: ...


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with contextlib.AsyncExitStack() as stack:

        async def connect(
            store: SessionStore, access: Access | None = None, **headers: str
        ) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(monitor_app(store, access=access))
            client = httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers)
            return await stack.enter_async_context(client)

        yield connect


@pytest.fixture
async def client(memory_store: SessionStore, connect: Connect) -> httpx.AsyncClient:
    """A caller on the same machine."""
    return await connect(memory_store)
