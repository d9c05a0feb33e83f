"""JSON lines, oldest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.models import NewMessage
from redis_sessions.monitor import KeyAccess
from redis_sessions.store import SessionStore
from tests.support import valkey_server

from .conftest import PATH
from .golden import KEY, KEYS

if TYPE_CHECKING:
    import httpx

    from .conftest import Connect

EXPORT = f"{PATH}/messages/export"
FLOW = "5b0c3f0e-6f3c-4a7e-9d3b-1c2d3e4f5a6b"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


async def fill(store: SessionStore, seconds: list[int], session: str = "s") -> None:
    messages = [
        NewMessage(
            text=str(second),
            sender="u",
            sender_name="u",
            session_id=session,
            timestamp=BEGIN + timedelta(seconds=second),
        )
        for second in seconds
    ]
    most = store.settings.max_batch
    for first in range(0, len(messages), most):
        await store.append_many(FLOW, messages[first : first + most])


async def texts(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get(EXPORT, params={"flow_id": FLOW, **params})
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["text"] for line in answer.text.splitlines()]


@pytest.mark.parametrize("count", [1, 199, 200, 201, 650])
async def test_a_session_is_exported_whole_oldest_first(
    memory_store: SessionStore, client: httpx.AsyncClient, count: int
) -> None:
    await fill(
        memory_store, [second * 7 % count for second in range(count)] if count % 7 else list(range(count))
    )

    assert await texts(client, session_id="s") == [str(second) for second in range(count)]


async def test_a_flow_is_exported_session_by_session(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await fill(memory_store, [1, 5], "old")
    await fill(memory_store, [2, 9], "new")

    assert await texts(client) == ["2", "9", "1", "5"]
    assert await texts(client, session_id="nope") == []


async def test_an_export_is_a_file_of_json_lines_as_get_renders_them(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await fill(memory_store, [1])

    answer = await client.get(EXPORT, params={"flow_id": FLOW})

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="messages.jsonl"'
    shown = (await client.get(f"{PATH}/messages", params={"flow_id": FLOW})).json()
    assert [json.loads(answer.text)] == shown
    assert answer.text.endswith("}\n")


async def test_what_changes_during_an_export_is_not_exported_twice(memory_store: SessionStore) -> None:
    await fill(memory_store, list(range(0, 1_000, 2)))
    seen = []
    async for line in memory_store.export_json(FLOW, "s"):
        text = json.loads(line)["text"]
        seen.append(int(text))
        if text == "100":
            await fill(memory_store, list(range(1, 1_000, 2))[300:])  # late ones, before what is to come
            found = await memory_store.history(FLOW, "s", limit=1_000)
            await memory_store.delete_messages([one.id for one in found if int(one.text) % 50 == 0])

    assert seen == sorted(set(seen))


async def test_an_unknown_or_foreign_flow_is_not_exported(
    memory_store: SessionStore, client: httpx.AsyncClient, connect: Connect
) -> None:
    assert (await client.get(EXPORT, params={"flow_id": FLOW})).status_code == 404
    await fill(memory_store, [1])
    stranger = await connect(memory_store, KeyAccess(memory_store, KEYS), **{"x-api-key": KEY})
    assert (await stranger.get(EXPORT, params={"flow_id": FLOW})).status_code == 404
    assert (await client.get(EXPORT)).status_code == 422


async def test_a_store_that_is_away_is_503_and_no_broken_file(connect: Connect) -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=0.2)) as store:
            await fill(store, [1])
            client = await connect(store)
            server.kill()
            assert (await client.get(EXPORT, params={"flow_id": FLOW})).status_code == 503
