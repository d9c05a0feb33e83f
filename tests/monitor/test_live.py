"""The live feed, over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from redis_sessions.monitor import KeyAccess, MonitorSettings, monitor_app
from tests.support import wait_until

from .conftest import PATH
from .golden import KEY, KEYS, USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis_sessions.monitor import Access
    from redis_sessions.store import SessionStore
    from tests.conftest import Backend

STREAM = f"{PATH}/messages/stream"
FLOW = "5b0c3f0e-6f3c-4a7e-9d3b-1c2d3e4f5a6b"

pytestmark = pytest.mark.backends("valkey")


@contextlib.asynccontextmanager
async def served(store: SessionStore, access: Access | None = None, **options: Any) -> AsyncIterator[str]:
    """The URL of a real server."""
    app = monitor_app(store, access=access, settings=MonitorSettings(**options))
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await task


class Reader:
    """One reader of a live feed: events as (event, id, data)."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def __anext__(self) -> tuple[str, str, Any]:
        event: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith(":"):
                    continue
                if not line and event:
                    return event["event"], event.get("id", ""), json.loads(event["data"])
                name, _, value = line.partition(": ")
                event[name] = value
        raise StopAsyncIteration


@contextlib.asynccontextmanager
async def reading(url: str, *, headers: dict[str, str] | None = None, **params: Any) -> AsyncIterator[Reader]:
    params = {"flow_id": FLOW, **params}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers) as client,
        client.stream("GET", STREAM, params=params) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        yield Reader(answer.aiter_lines())


async def say(store: SessionStore, text: str, session: str = "s", **fields: Any) -> str:
    message = await store.append(FLOW, text=text, session_id=session, sender="u", sender_name="u", **fields)
    return message.id


async def streams(url: str) -> str:
    async with httpx.AsyncClient(base_url=url) as client:
        text = (await client.get("/metrics")).text
    return next(
        line.split()[1] for line in text.splitlines() if line.startswith("redis_sessions_http_streams ")
    )


async def test_changes_arrive_as_they_happen_with_the_message_as_get_renders_it(
    real_store: SessionStore,
) -> None:
    await say(real_store, "before")
    async with served(real_store) as url, httpx.AsyncClient(base_url=url) as client, reading(url) as reader:
        await wait_until(lambda: open_feeds(url, "1.0"))
        message_id = await say(real_store, "hello\nthere")
        kind, _, data = await anext(reader)
        assert (kind, data["message"]["text"]) == ("created", "hello\nthere")
        shown = (await client.get(f"{PATH}/messages", params={"flow_id": FLOW})).json()
        assert data["message"] == shown[-1]

        await client.put(f"{PATH}/messages/{message_id}", json={"text": "new"})
        kind, _, data = await anext(reader)
        assert (kind, data["message"]["text"], data["message"]["edit"]) == ("updated", "new", True)
        await client.patch(f"{PATH}/messages/session/s", params={"new_session_id": "t"})
        kind, _, data = await anext(reader)
        assert (kind, data["old_session_id"], data["session_id"]) == ("renamed", "s", "t")
        await client.request("DELETE", f"{PATH}/messages", json=[message_id])
        kind, _, data = await anext(reader)
        assert (kind, data["message_id"], "message" in data) == ("deleted", message_id, False)


async def open_feeds(url: str, count: str) -> bool:
    return await streams(url) == count


async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(
    real_store: SessionStore,
) -> None:
    await say(real_store, "0")
    async with served(real_store) as url:
        async with reading(url) as reader:
            await wait_until(lambda: open_feeds(url, "1.0"))
            await say(real_store, "1")
            _, last, _ = await anext(reader)
        await wait_until(lambda: open_feeds(url, "0.0"))
        for text in ("2", "3"):
            await say(real_store, text)
        async with reading(url, headers={"last-event-id": last}) as reader:
            seen = [(await anext(reader))[2]["message"]["text"] for _ in range(2)]

    assert seen == ["2", "3"]


@pytest.mark.parametrize("last", ["1-1", "nonsense"])
async def test_a_reader_that_was_away_too_long_is_told_to_read_afresh(
    real_store: SessionStore, last: str
) -> None:
    await say(real_store, "0")
    async with served(real_store) as url, reading(url, headers={"last-event-id": last}) as reader:
        assert (await anext(reader))[0] == "reset"
        await say(real_store, "1")
        assert (await anext(reader))[2]["message"]["text"] == "1"


async def test_a_feed_of_one_session_is_silent_about_the_others(real_store: SessionStore) -> None:
    await say(real_store, "0")
    async with served(real_store) as url, reading(url, session_id="a%20b") as reader:
        await wait_until(lambda: open_feeds(url, "1.0"))
        await say(real_store, "other")
        await say(real_store, "mine", "a b")
        assert (await anext(reader))[2]["message"]["text"] == "mine"


async def test_a_deleted_flow_ends_its_feed(real_store: SessionStore) -> None:
    await say(real_store, "0", owner=USER)
    access = KeyAccess(real_store, KEYS)
    async with served(real_store, access) as url, reading(url, headers={"x-api-key": KEY}) as reader:
        await wait_until(lambda: open_feeds(url, "1.0"))
        await real_store.delete_session(FLOW, "s")
        assert [(await anext(reader))[0] for _ in range(2)] == ["deleted", "end"]
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


async def test_an_unknown_or_foreign_flow_has_no_feed(real_store: SessionStore) -> None:
    await say(real_store, "0", owner="somebody")
    async with (
        served(real_store, KeyAccess(real_store, KEYS)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for flow in (FLOW, str(uuid.uuid4())):
            answer = await client.get(STREAM, params={"flow_id": flow}, headers={"x-api-key": KEY})
            assert (answer.status_code, answer.json()) == (404, {"detail": "Flow not found"})
        assert (await client.get(STREAM, params={"flow_id": FLOW})).status_code == 403


async def test_a_silent_feed_is_kept_alive(real_store: SessionStore) -> None:
    await say(real_store, "0")
    async with (
        served(real_store, stream_keep_alive=0.05) as url,
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", STREAM, params={"flow_id": FLOW}) as answer,
    ):
        lines = answer.aiter_lines()
        async with asyncio.timeout(10):
            assert [line for line in [await anext(lines) for _ in range(6)] if line] == [": keep-alive"] * 3


async def test_a_reader_that_takes_nothing_is_cut_off_and_can_resume(real_store: SessionStore) -> None:
    await say(real_store, "0")
    text = "x" * 500_000
    async with served(real_store, stream_patience=0.2) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1_000)
        writer.write(f"GET {STREAM}?flow_id={FLOW} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        await wait_until(lambda: open_feeds(url, "1.0"))
        sent = 0
        while await streams(url) == "1.0":
            await say(real_store, text)
            sent += 1
            assert sent < 100
        raw = b""
        while part := await reader.read(1 << 20):
            raw += part
        writer.close()

        ids = re.findall(rb"id: (\S+)\r\nevent: created\r\ndata: [^\r]*\r\n\r\n", raw)
        assert ids
        missed = sent - len(ids)
        assert missed > 0
        async with reading(url, headers={"last-event-id": ids[-1].decode()}) as again:
            await say(real_store, "end")
            seen = [(await anext(again))[2]["message"]["text"] for _ in range(missed + 1)]
        assert seen == [text] * missed + ["end"]


async def test_losing_access_ends_a_feed_however_busy_it_is(real_store: SessionStore) -> None:
    await say(real_store, "0", owner=USER)
    access = KeyAccess(real_store, KEYS)
    async with (
        served(real_store, access, stream_check=0.2) as url,
        reading(url, headers={"x-api-key": KEY}) as reader,
    ):
        await wait_until(lambda: open_feeds(url, "1.0"))
        await real_store.set_owner(FLOW, "somebody else")
        kinds: list[str] = []
        while "end" not in kinds:
            await say(real_store, "busy")
            kinds.append((await anext(reader))[0])
        with pytest.raises(StopAsyncIteration):
            await anext(reader)


async def test_more_feeds_than_may_be_are_503(real_store: SessionStore) -> None:
    await say(real_store, "0")
    async with (
        served(real_store, max_streams=1) as url,
        reading(url),
        httpx.AsyncClient(base_url=url) as client,
    ):
        await wait_until(lambda: open_feeds(url, "1.0"))
        answer = await client.get(STREAM, params={"flow_id": FLOW})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_all_feeds_of_a_process_share_a_connection_to_redis(
    real_store: SessionStore, backend: Backend
) -> None:
    def waits() -> int:
        clients: Any = backend.redis.client_list()
        return sum(client["cmd"] == "xread" and "b" in client["flags"] for client in clients)

    await say(real_store, "0")
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(real_store))
        readers = [await stack.enter_async_context(reading(url)) for _ in range(30)]
        await wait_until(lambda: open_feeds(url, "30.0"))
        await wait_until(lambda: waits() == 1)
        await say(real_store, "now")
        seen = await asyncio.gather(*(anext(reader) for reader in readers))
        assert {(kind, data["message"]["text"]) for kind, _, data in seen} == {("created", "now")}
        assert waits() <= 1
