"""Every recorded exchange of the monitor, replayed: status, body and content type are the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pydantic
import pytest

from redis_sessions.monitor import KeyAccess

from .golden import (
    KEY,
    KEYS,
    Exchange,
    exchanges,
    seed_builds,
    seed_bulk,
    seed_messages,
    seed_run,
    seed_shared,
    seed_transactions,
)

if TYPE_CHECKING:
    import httpx

    from redis_sessions.store import SessionStore

    from .conftest import Connect

# One story: each exchange depends on the writes before it.
STORY = exchanges(
    "get_messages",
    "get_messages_errors",
    "get_sessions",
    "put_message",
    "put_message_errors",
    "patch_session",
    "delete_messages",
    "delete_session",
)
STORIES = {
    "messages": (seed_messages, STORY),
    "bulk": (seed_bulk, exchanges("delete_sessions_bulk")),
    "routing": (seed_messages, exchanges("routing")),
    "shared": (seed_shared, exchanges("shared")),
    "builds": (seed_builds, exchanges("builds")),
    "transactions": (seed_transactions, exchanges("transactions")),
    "run": (seed_run, exchanges("run_writes")[1:2]),
}
CASES = [
    pytest.param(story, place, id=exchange.name)
    for story, (_, recorded) in STORIES.items()
    for place, exchange in enumerate(recorded)
]
CREDENTIALS = {  # the recording does not say what these were sent with
    ("get_messages_errors", 6): {},
    ("get_messages_errors", 7): {"Authorization": "Bearer nonsense"},
    ("get_messages_errors", 8): {"x-api-key": "wrong"},
}


async def send(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
    headers = CREDENTIALS.get((exchange.file, exchange.number), {"x-api-key": KEY})
    options = {} if exchange.body is None else {"json": exchange.body}
    return await client.request(exchange.method, exchange.url, headers=headers, **options)


def as_this_pydantic_says(text: str) -> str:
    """Langflow 1.13 runs on pydantic 2.13; from 2.14 on, a bad UUID's characters are counted from 0."""
    if tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 14):
        return text
    return re.sub(r"(invalid character: found `.` at )(\d+)", lambda m: f"{m[1]}{int(m[2]) - 1}", text)


@pytest.mark.parametrize(("story", "place"), CASES)
async def test_an_exchange_is_answered_as_langflow_answers_it(
    memory_store: SessionStore, connect: Connect, story: str, place: int
) -> None:
    seed, recorded = STORIES[story]
    await seed(memory_store)
    client = await connect(memory_store, KeyAccess(memory_store, KEYS))
    for earlier in recorded[:place]:
        if not earlier.reads:
            await send(client, earlier)

    exchange = recorded[place]
    answer = await send(client, exchange)

    assert (answer.status_code, answer.text) == (exchange.status, as_this_pydantic_says(exchange.text))
    for name in ("content-type", "allow", "location"):
        assert answer.headers.get(name) == exchange.headers.get(name), name
    if not exchange.headers.get("vary", "").startswith("Accept-Encoding"):  # compressed, in the recording
        assert answer.headers.get("content-length") == exchange.headers.get("content-length")
