"""A store from its opening to its end: what it leaves behind, and what it says of itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from redis_sessions import MissingExtraError, SessionStore, StoreClosedError, UnsupportedFormatError
from tests.support import Server, valkey_server, wait_until
from tests.support.talk import FLOW, say

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


def connections(server: Server) -> int:
    return sum(client["name"] == "redis-sessions" for client in server.client().client_list())


async def test_a_store_that_cannot_be_opened_leaves_no_connection(server: Server) -> None:
    server.client().set("rs:format", "99")
    store = SessionStore.from_url(server.url)
    with pytest.raises(UnsupportedFormatError):
        await store.open()

    await wait_until(lambda: connections(server) == 0)


async def test_a_closed_store_leaves_no_connection(server: Server) -> None:
    async with SessionStore.from_url(server.url) as store:
        await say(store)
        watch = store.watch(FLOW, after="0-0")
        await anext(watch)
        assert connections(server) > 0

    await wait_until(lambda: connections(server) == 0)
    await watch.aclose()


async def test_a_store_that_cannot_be_observed_is_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "redis_sessions.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    store = SessionStore.from_url("memory://", otel=True)
    with pytest.raises(MissingExtraError):
        await store.open()

    with pytest.raises(StoreClosedError):
        await store.ping()


async def test_a_store_shows_where_it_is_and_what_its_keys_begin_with() -> None:
    store = SessionStore.from_url("memory://somewhere", prefix="mine")
    assert repr(store) == "<SessionStore closed prefix='mine'>"
    async with store:
        assert repr(store) == "<SessionStore memory://somewhere prefix='mine'>"
