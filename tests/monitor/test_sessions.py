"""Listing, renaming and deleting sessions, beyond what was recorded."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from redis_sessions.monitor import KeyAccess

from .conftest import PATH
from .golden import KEY, KEYS, USER

if TYPE_CHECKING:
    import httpx

    from redis_sessions.store import SessionStore

    from .conftest import Connect

SESSIONS, SESSION = f"{PATH}/messages/sessions", f"{PATH}/messages/session"
FLOW, OTHER = "5b0c3f0e-6f3c-4a7e-9d3b-1c2d3e4f5a6b", "6c1d401f-704d-4b8f-8e4c-2d3e4f5a6b7c"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


async def add(store: SessionStore, second: int, session: str, flow: str = FLOW, **fields: Any) -> str:
    fields = {"sender": "User", "sender_name": "User", **fields}
    when = BEGIN + timedelta(seconds=second)
    return (await store.append(flow, text=str(second), session_id=session, timestamp=when, **fields)).id


async def listed(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get(SESSIONS, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_langflows_internal_sessions_are_hidden_by_its_like_pattern(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    names = ["agentic", "agentic_1", "agenticX1", "Agentic_1", "an agentic_1", "agentic\n"]
    for second, name in enumerate(names):
        await add(memory_store, second, name)

    assert await listed(client, flow_id=FLOW) == ["an agentic_1", "Agentic_1", "agentic"]


async def test_hidden_sessions_do_not_count_for_pages(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second in range(30):
        await add(memory_store, second, f"agentic_{second}" if second % 3 else f"shown {second}")

    assert await listed(client, flow_id=FLOW, limit=3, offset=2) == ["shown 21", "shown 18", "shown 15"]
    assert await listed(client, limit=3, offset=9) == ["shown 0"]


async def test_sessions_of_equal_time_are_listed_by_id_descending(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for name in ("b", "a", "c"):
        await add(memory_store, 0, name)
        await add(memory_store, 0, name + "'", flow=OTHER)

    assert await listed(client, flow_id=FLOW) == ["c", "b", "a"]
    assert await listed(client) == ["c'", "c", "b'", "b", "a'", "a"]


async def test_a_session_in_several_flows_is_listed_once_by_its_newest_message(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await add(memory_store, 0, "both")
    await add(memory_store, 1, "between")
    await add(memory_store, 2, "both", flow=OTHER)

    assert await listed(client) == ["both", "between"]
    assert await listed(client, limit=1, offset=1) == ["between"]


async def test_the_list_is_100_long_unless_told_and_never_over_200(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second in range(210):
        await add(memory_store, second, f"s{second:03}", flow=[FLOW, OTHER][second % 2])

    assert len(await listed(client)) == 100
    assert len(await listed(client, limit=1_000)) == 200
    assert await listed(client, offset=208) == ["s001", "s000"]
    assert await listed(client, offset=10**30) == []


async def test_a_rename_acts_in_all_of_the_callers_flows_and_in_no_other(
    memory_store: SessionStore, connect: Connect
) -> None:
    first = await add(memory_store, 0, "old", owner=USER)
    second = await add(memory_store, 1, "old", flow=OTHER, owner=USER)
    foreign = str(uuid.uuid4())
    await add(memory_store, 2, "old", flow=foreign, owner="somebody")
    client = await connect(memory_store, KeyAccess(memory_store, KEYS), **{"x-api-key": KEY})

    answer = await client.patch(f"{SESSION}/old", params={"new_session_id": "new"})

    assert {message["id"] for message in answer.json()} == {first, second}
    assert {message["session_id"] for message in answer.json()} == {"new"}
    assert await memory_store.sessions(FLOW) == await memory_store.sessions(OTHER) == ["new"]
    assert await memory_store.sessions(foreign) == ["old"]
    again = await client.patch(f"{SESSION}/old", params={"new_session_id": "new"})
    assert again.status_code == 404


async def test_after_a_merge_only_the_moved_messages_are_answered(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await add(memory_store, 0, "there")
    moved = [await add(memory_store, 1, "old"), await add(memory_store, 3, "old", id=str(uuid.uuid4()))]
    await add(memory_store, 2, "there")

    answer = await client.patch(f"{SESSION}/old", params={"new_session_id": "there"})

    assert [message["id"] for message in answer.json()] == moved
    assert len(await memory_store.history(FLOW, "there")) == 4


async def test_renaming_to_the_same_id_answers_the_messages(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    only = await add(memory_store, 0, "same")

    answer = await client.patch(f"{SESSION}/same", params={"new_session_id": "same"})

    assert [message["id"] for message in answer.json()] == [only]


async def test_a_merge_over_the_limit_is_a_conflict(connect: Connect) -> None:
    from redis_sessions.store import SessionStore

    async with SessionStore.from_url(f"memory://{uuid.uuid4().hex}", max_merge=2) as store:
        client = await connect(store)
        for second, session in enumerate(["old", "new", "new"]):
            await add(store, second, session)

        answer = await client.patch(f"{SESSION}/old", params={"new_session_id": "new"})

        assert answer.status_code == 409
        assert "max_merge" in answer.json()["detail"]
        assert await listed(client) == ["new", "old"]


@pytest.mark.parametrize("new", ["", "x" * 2_049, "a\x00b"])
async def test_a_name_that_no_session_can_have_is_refused(
    memory_store: SessionStore, client: httpx.AsyncClient, new: str
) -> None:
    await add(memory_store, 0, "old")

    answer = await client.patch(f"{SESSION}/old", params={"new_session_id": new})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "new_session_id"]
    assert await listed(client) == ["old"]


@pytest.mark.parametrize("session", ["ü {x}:log:y *", "100%", "a%2Fb", "line\nbreak", "?#"])
async def test_a_session_id_in_the_path_is_decoded_once(
    memory_store: SessionStore, client: httpx.AsyncClient, session: str
) -> None:
    await add(memory_store, 0, session)

    answer = await client.delete(f"{SESSION}/{quote(session, safe='')}")

    assert answer.status_code == 204
    assert await listed(client) == []


async def test_a_slash_in_the_path_names_nothing(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await add(memory_store, 0, "a/b")

    answer = await client.delete(f"{SESSION}/a%2Fb")

    assert (answer.status_code, answer.text) == (404, '{"detail":"Not Found"}')
    assert await listed(client) == ["a/b"]


@pytest.mark.parametrize("session", ["x" * 3_000, "a%00b"])
async def test_a_session_id_that_cannot_exist_is_deleted_in_vain(
    client: httpx.AsyncClient, session: str
) -> None:
    assert (await client.delete(f"{SESSION}/{session}")).status_code == 204
    assert (await client.patch(f"{SESSION}/{session}?new_session_id=x")).status_code == 404


async def test_a_bulk_delete_leaves_other_owners_and_other_names_alone(
    memory_store: SessionStore, connect: Connect
) -> None:
    for name in ("user1", "user10", "user2"):
        await add(memory_store, 0, name, owner=USER)
        await add(memory_store, 0, name, flow=OTHER, owner="somebody")
    client = await connect(memory_store, KeyAccess(memory_store, KEYS), **{"x-api-key": KEY})

    answer = await client.request("DELETE", SESSIONS, json=["user1", "user2", "user2", "", "x" * 9_999])

    assert answer.json()["deleted_count"] == 2
    assert await memory_store.sessions(FLOW) == ["user10"]
    assert len(await memory_store.sessions(OTHER)) == 3
