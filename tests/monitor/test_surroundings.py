"""Probes, metrics, headers, compression and limits."""

from __future__ import annotations

import gzip
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from redis_sessions.monitor import KeyAccess, MonitorSettings, monitor_app
from redis_sessions.store import SessionStore
from tests.support import valkey_server

from .conftest import HOST, PATH
from .golden import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Connect

MESSAGES = f"{PATH}/messages"


async def test_ready_says_whether_redis_answers(connect: Connect) -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=0.2)) as store:
            client = await connect(store, KeyAccess(store, KEYS))
            assert (await client.get("/ready")).json() == {"status": "ready"}
            server.kill()
            away = await client.get("/ready")
            alive = await client.get("/health")

    assert (away.status_code, away.json(), away.headers["retry-after"]) == (
        503,
        {"status": "unavailable"},
        "1",
    )
    assert alive.status_code == 200


async def test_ready_of_a_store_that_is_not_open_is_503(connect: Connect) -> None:
    client = await connect(SessionStore.from_url("memory://"))
    assert (await client.get("/ready")).status_code == 503


async def test_metrics_count_operations_and_name_no_flow(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    flow = str(uuid.uuid4())
    await client.get(MESSAGES, params={"flow_id": flow, "session_id": "secret-session"})
    await client.get(MESSAGES, params={"limit": "x"})
    await client.put(f"{MESSAGES}/{uuid.uuid4()}", json={})

    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    path = f'path="{MESSAGES}"'
    assert f'redis_sessions_http_requests_total{{method="GET",{path},status="200"}} 1.0' in answer.text
    assert f'redis_sessions_http_requests_total{{method="GET",{path},status="422"}} 1.0' in answer.text
    assert f'path="{MESSAGES}/{{message_id}}",status="404"' in answer.text
    assert f'redis_sessions_http_request_seconds_count{{method="GET",{path}}} 2.0' in answer.text
    assert "redis_sessions_redis_round_trips_total" in answer.text
    assert flow not in answer.text
    assert "secret-session" not in answer.text


async def test_two_applications_of_one_process_count_for_themselves(
    memory_store: SessionStore, connect: Connect
) -> None:
    one, other = await connect(memory_store), await connect(memory_store)
    await one.get(MESSAGES)
    assert 'status="200"} 1.0' in (await one.get("/metrics")).text
    assert 'status="200"} 1.0' not in (await other.get("/metrics")).text


@pytest.mark.parametrize("path", [MESSAGES, f"{PATH}/nope", f"{MESSAGES}?limit=x", "/health"])
async def test_every_answer_has_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("size", "compressed"), [(2_000, True), (100, False)])
@pytest.mark.parametrize("asks", [True, False])
async def test_bodies_from_1000_bytes_are_compressed_for_who_asks(
    memory_store: SessionStore, client: httpx.AsyncClient, size: int, compressed: bool, asks: bool
) -> None:
    await memory_store.append("f", text="x" * size, sender="u", sender_name="u")
    headers = {"accept-encoding": "gzip" if asks else "identity"}

    async with client.stream("GET", MESSAGES, headers=headers) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])

    assert (answer.headers.get("content-encoding") == "gzip") is (asks and compressed)
    body = gzip.decompress(raw) if asks and compressed else raw
    assert body.startswith(b'[{"id":')
    assert ("accept-encoding" in answer.headers.get("vary", "").lower()) is compressed


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413_and_is_not_read_to_its_end(
    memory_store: SessionStore, announced: bool
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100

    transport = httpx.ASGITransport(monitor_app(memory_store, settings=MonitorSettings(max_body_bytes=1_000)))
    headers = {"content-type": "application/json"} | ({"content-length": "10000"} if announced else {})
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        answer = await client.request("DELETE", MESSAGES, content=endless(), headers=headers)

    assert (answer.status_code, answer.json()) == (413, {"detail": "The request body is over 1,000 bytes"})
    assert sent < 15


async def test_a_message_as_long_as_may_be_fits_into_a_body_however_it_is_escaped(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    message = await memory_store.append("f", text="x", sender="u", sender_name="u")
    text = "\\u0078" * (1024 * 1024 - 10_000)

    answer = await client.put(
        f"{MESSAGES}/{message.id}",
        content=f'{{"text":"{text}"}}',
        headers={"content-type": "application/json"},
    )

    assert answer.status_code == 200


async def test_a_text_over_the_stores_limit_is_422_and_is_not_repeated(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    message = await memory_store.append("f", text="x", sender="u", sender_name="u")

    answer = await client.put(f"{MESSAGES}/{message.id}", json={"text": "z" * 1_100_000})

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["type"], problem["loc"]) == ("value_error", ["body"])
    assert "max_text_bytes" in problem["msg"]
    assert len(answer.text) < 300
