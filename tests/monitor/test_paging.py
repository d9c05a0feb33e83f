"""Cursors and ETags."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.monitor import KeyAccess
from tests.support import wait_until

from .conftest import HOST, PATH
from .golden import KEY, KEYS, USER

if TYPE_CHECKING:
    import httpx

    from redis_sessions.store import SessionStore

    from .conftest import Connect

MESSAGES = f"{PATH}/messages"
FLOW = "5b0c3f0e-6f3c-4a7e-9d3b-1c2d3e4f5a6b"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


async def add(
    store: SessionStore, second: int, *, flow: str = FLOW, session: str = "s", **fields: Any
) -> str:
    message = await store.append(
        flow,
        text=str(second),
        session_id=session,
        timestamp=BEGIN + timedelta(seconds=second),
        sender="u",
        sender_name="u",
        **fields,
    )
    return message.id


async def test_links_lead_through_a_whole_session_also_past_late_and_adopted_messages(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second in (3, 1, 2, 9, 4, 8, 7, 5, 6, 0):
        await add(memory_store, second, session="ü/?&", id=uuid.uuid4() if second % 3 else None)
    params = {"flow_id": FLOW, "session_id": "ü/?&", "limit": 4, "x-api-key": "secret"}

    answer = await client.get(MESSAGES, params=params)
    seen = [message["text"] for message in answer.json()]
    while "link" in answer.headers:
        assert "secret" not in answer.headers["link"]
        target, relation = answer.headers["link"].removeprefix("<").split(">; ")
        assert relation == 'rel="next"'
        assert answer.headers["x-next-cursor"] in target.replace("%3D", "=")
        answer = await client.get(HOST + target)
        seen = [message["text"] for message in answer.json()] + seen

    assert seen == [str(second) for second in range(10)]


async def test_a_cursor_outlives_its_message_and_honours_the_order(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    ids = [await add(memory_store, second) for second in range(6)]
    params = {"flow_id": FLOW, "session_id": "s", "limit": 2}
    cursor = (await client.get(MESSAGES, params=params)).headers["x-next-cursor"]
    await memory_store.delete_messages([ids[4], ids[3]])

    answer = await client.get(MESSAGES, params={**params, "before": cursor, "order": "DESC"})

    assert [message["text"] for message in answer.json()] == ["2", "1"]


@pytest.mark.parametrize(
    ("params", "kind", "loc"),
    [
        ({"before": "nonsense"}, "cursor", ["query", "before"]),
        ({}, "before", ["query"]),
        ({"flow_id": FLOW, "session_id": "s", "sender": "u"}, "before", ["query"]),
        ({"flow_id": FLOW, "session_id": "s", "offset": 1}, "before", ["query"]),
        ({"flow_id": FLOW, "session_id": "s", "order_by": "text"}, "before", ["query"]),
    ],
)
async def test_a_cursor_that_cannot_be_used_is_422(
    memory_store: SessionStore, client: httpx.AsyncClient, params: dict[str, Any], kind: str, loc: list[str]
) -> None:
    message = await memory_store.append(FLOW, text="x", sender="u", sender_name="u", session_id="s")

    answer = await client.get(MESSAGES, params={"before": message.cursor, **params})

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["type"], problem["loc"]) == (kind, loc)


@pytest.mark.parametrize("scope", [{"flow_id": FLOW}, {"flow_id": FLOW, "session_id": "s"}])
async def test_an_unchanged_answer_is_not_sent_again(
    memory_store: SessionStore, client: httpx.AsyncClient, scope: dict[str, str]
) -> None:
    message_id = await add(memory_store, 1)
    changes = [
        lambda: add(memory_store, 2),
        lambda: client.put(f"{MESSAGES}/{message_id}", json={"text": "new"}),
        lambda: client.patch(f"{MESSAGES}/session/s", params={"new_session_id": "t"}),
        lambda: client.patch(f"{MESSAGES}/session/t", params={"new_session_id": "s"}),
        lambda: client.put(f"{MESSAGES}/{message_id}", json={"session_id": "t"}),
        lambda: client.request("DELETE", MESSAGES, json=[message_id]),
        lambda: client.delete(f"{MESSAGES}/session/s"),
    ]
    for change in changes:
        first = await client.get(MESSAGES, params=scope)
        tag = first.headers["etag"]
        trips = memory_store.round_trips
        for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            same = await client.get(MESSAGES, params=scope, headers={"if-none-match": given})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert memory_store.round_trips == trips + 4
        await change()
        after = await client.get(MESSAGES, params=scope, headers={"if-none-match": tag})
        assert (after.status_code, after.headers["etag"] != tag) == (200, True)
        assert after.headers["cache-control"] == "private, no-cache"


async def test_a_tag_does_not_open_a_foreign_flow(memory_store: SessionStore, connect: Connect) -> None:
    await add(memory_store, 1, owner=USER)
    client = await connect(memory_store, KeyAccess(memory_store, KEYS), **{"x-api-key": KEY})
    tag = (await client.get(MESSAGES, params={"flow_id": FLOW})).headers["etag"]
    await memory_store.set_owner(FLOW, "somebody")

    answer = await client.get(MESSAGES, params={"flow_id": FLOW}, headers={"if-none-match": tag})

    assert (answer.status_code, answer.text) == (200, "[]")
    assert "etag" not in answer.headers


@pytest.mark.backends("valkey", "redis7")
@pytest.mark.store_options(ttl=timedelta(seconds=0.2))
async def test_a_session_that_expires_changes_its_tag(real_store: SessionStore, connect: Connect) -> None:
    await real_store.append(FLOW, text="x", sender="u", sender_name="u", session_id="s")
    client = await connect(real_store)
    scope = {"flow_id": FLOW, "session_id": "s"}
    tag = (await client.get(MESSAGES, params=scope)).headers["etag"]
    assert "etag" not in (await client.get(MESSAGES, params={"flow_id": FLOW})).headers

    async def empty() -> bool:
        return (await client.get(MESSAGES, params=scope, headers={"if-none-match": tag})).text == "[]"

    await wait_until(empty)
