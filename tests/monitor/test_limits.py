"""How much a caller may send, how often, and from which pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from redis_sessions.monitor import KeyAccess, MonitorSettings, hash_key, monitor_app
from tests.support.talk import all_keys

from .conftest import HOST, PATH

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore
    from tests.conftest import MakeStore

MESSAGES = f"{PATH}/messages"
PAGE = "https://pages.example"


def client_of(store: SessionStore, **options: Any) -> httpx.AsyncClient:
    keys = {hash_key(name): name for name in ("ann", "ben")}
    app = monitor_app(store, access=KeyAccess(store, keys), settings=MonitorSettings(**options))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, headers={"x-api-key": "ann"})


async def test_a_path_or_query_over_the_limit_is_414(memory_store: SessionStore) -> None:
    async with client_of(memory_store, max_target_bytes=1_024) as client:
        for path in (f"{MESSAGES}?session_id={'x' * 1_024}", f"{MESSAGES}/{'x' * 1_024}"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (
                414,
                {"detail": "Path and query are over 1,024 bytes"},
            )
        assert (await client.get(MESSAGES, params={"session_id": "x" * 900})).status_code == 200


async def test_headers_over_the_limit_are_431(memory_store: SessionStore) -> None:
    async with client_of(memory_store, max_header_bytes=1_024) as client:
        answer = await client.get(MESSAGES, headers={f"x-{number}": "y" * 100 for number in range(10)})
        assert (answer.status_code, answer.json()) == (431, {"detail": "The headers are over 1,024 bytes"})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get(MESSAGES)).status_code == 200


async def test_a_session_id_as_long_as_may_be_fits_however_it_is_encoded(memory_store: SessionStore) -> None:
    session = "é" * 1_024
    await memory_store.append("f", text="x", sender="u", sender_name="u", session_id=session, owner="ann")
    async with client_of(memory_store) as client:
        twice = "%25C3%25A9" * 1_024
        assert len((await client.get(f"{MESSAGES}?session_id={twice}")).json()) == 1
        answer = await client.patch(f"{MESSAGES}/session/{session}?new_session_id={'%C3%AA' * 1_024}")
        assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_without_cors_no_other_page_reads_an_answer(memory_store: SessionStore, method: str) -> None:
    async with client_of(memory_store) as client:
        headers = {"origin": PAGE, "access-control-request-method": "DELETE"}
        answer = await client.request(method, MESSAGES, headers=headers)
    assert answer.status_code == (200 if method == "GET" else 405)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_pages_of_the_origins_that_are_named_read_answers(memory_store: SessionStore) -> None:
    async with client_of(memory_store, cors_origins=(PAGE,)) as client:
        preflight = await client.options(
            f"{MESSAGES}/session/a",
            headers={
                "origin": PAGE,
                "access-control-request-method": "PATCH",
                "access-control-request-headers": "x-api-key",
            },
        )
        answer = await client.get(MESSAGES, headers={"origin": PAGE})
        refused = await client.get(MESSAGES, headers={"origin": PAGE, "x-api-key": "wrong"})
        other = await client.get(MESSAGES, headers={"origin": "https://other.example"})

    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    for seen in (preflight, answer, refused):
        assert seen.headers["access-control-allow-origin"] == PAGE
        assert seen.headers["access-control-allow-credentials"] == "true"
    assert "x-next-cursor" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers


async def test_any_page_may_be_let_in_but_without_cookies(memory_store: SessionStore) -> None:
    async with client_of(memory_store, cors_origins=("*",)) as client:
        answer = await client.get(MESSAGES, headers={"origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_caller_over_the_rate_is_429_until_the_window_ends(store: SessionStore) -> None:
    async with client_of(store, rate_limit="3/minute") as client:
        answers = [await client.get(MESSAGES) for _ in range(4)]
        other = await client.get(MESSAGES, headers={"x-api-key": "ben"})
        nobody = await client.get(MESSAGES, headers={"x-api-key": "wrong"})
        health = await client.get("/health")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json() == {"detail": "Too many requests: 3 per 1 minute"}
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert (other.status_code, nobody.status_code, health.status_code) == (200, 403, 200)


async def test_all_processes_count_together(make_store: MakeStore) -> None:
    stores = [await make_store() for _ in range(3)]
    statuses: list[int] = []
    for store in stores:
        async with client_of(store, rate_limit="10/minute") as client:
            answers = await asyncio.gather(*(client.get(MESSAGES) for _ in range(5)))
            statuses += [answer.status_code for answer in answers]

    assert (statuses.count(200), statuses.count(429)) == (10, 5)


async def test_of_several_rates_each_holds(memory_store: SessionStore) -> None:
    async with client_of(memory_store, rate_limit="100/second; 2/hour") as client:
        answers = [await client.get(MESSAGES) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 3_000


async def test_what_is_counted_expires_and_names_nobody(store: SessionStore) -> None:
    async with client_of(store, rate_limit="3/minute") as client:
        await client.get(MESSAGES)
    raw: Any = store.connection.client
    [key] = [key for key in await all_keys(store) if b":count:" in key]
    assert b"ann" not in key
    assert 0 < await raw.pttl(key) <= 60_000


async def test_without_a_limit_nothing_is_counted(memory_store: SessionStore) -> None:
    async with client_of(memory_store) as client:
        await client.get(MESSAGES)
    raw: Any = memory_store.connection.client
    assert await raw.keys("*:count:*") == []
