"""The endpoints that only the page needs."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from redis_sessions import SessionStore
from redis_sessions.monitor import KeyAccess, monitor_app, new_key
from tests.support import valkey_server

from .conftest import said

if TYPE_CHECKING:
    from typing import Any

    from redis_sessions.monitor import Access

PATH = "/api/v1/monitor"
NAMES = ["a/b", "a%2Fb", "a%252Fb", "two\nlines", "x y+z&=#?", "🦊", "..", '"', " "]


def connect(store: SessionStore, access: Access | None = None, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(monitor_app(store, access=access))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


def place(flow: str, session: str, **more: Any) -> dict[str, Any]:
    return {"flow_id": flow, "session_id": quote(session, safe=""), **more}


async def test_flows_come_newest_first_with_the_time_of_their_last_message(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    old, new, empty = (str(uuid.uuid4()) for _ in range(3))
    for flow, ago in ((new, 1), (old, 5)):
        await memory_store.append_many(flow, [said("s", "x", ago=timedelta(minutes=ago))])
    await memory_store.set_owner(empty, "ada")
    await memory_store.append("no-uuid", text="x", sender="u", sender_name="u")
    await memory_store.append(
        str(uuid.uuid5(uuid.NAMESPACE_DNS, "shared")), text="x", sender="u", sender_name="u"
    )

    flows = (await client.get(f"{PATH}/flows")).json()

    assert [one["flow_id"] for one in flows] == [new, old, empty]
    assert flows[0]["timestamp"].endswith(" UTC")
    assert flows[2]["timestamp"] is None


async def test_more_flows_than_are_ranked_are_all_there(
    memory_store: SessionStore, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.monitor.page.flows.MAX_RANKED", 2)
    flows = sorted(str(uuid.uuid4()) for _ in range(5))
    for flow in flows:
        await memory_store.append(flow, text="x", sender="u", sender_name="u")

    shown = [one["flow_id"] for one in (await client.get(f"{PATH}/flows")).json()]

    assert shown == [flows[1], flows[0], *flows[2:]]


async def test_sessions_come_with_the_beginning_of_their_last_message(
    memory_store: SessionStore, client: httpx.AsyncClient, flow: str
) -> None:
    await memory_store.append_many(flow, [said("old", "x"), said("new", "y" * 1_000, who="AI")])
    await memory_store.append(flow, text="hidden", sender="u", sender_name="u", session_id="agentic_1")

    rows = (await client.get(f"{PATH}/page/sessions", params={"flow_id": flow})).json()

    assert [row["session_id"] for row in rows] == ["new", "old"]
    assert sorted(rows[0]["latest"]) == ["id", "sender", "sender_name", "text", "timestamp"]
    assert rows[0]["latest"]["text"] == "y" * 160


async def test_sessions_are_paged_filtered_and_found_by_name(
    memory_store: SessionStore, client: httpx.AsyncClient, flow: str
) -> None:
    await memory_store.append_many(flow, [said(f"Straße {number}", "x") for number in range(5)])
    await memory_store.append_many(flow, [said(name, "x") for name in NAMES])

    async def names(**query: Any) -> list[str]:
        answer = await client.get(f"{PATH}/page/sessions", params={"flow_id": flow, **query})
        return [row["session_id"] for row in answer.json()]

    assert await names(filter="STRASSE", limit=2, offset=1) == ["Straße 3", "Straße 2"]
    assert await names(filter="%2F") == ["a%2Fb"]
    assert await names(session_id="nowhere") == []
    for name in NAMES:
        assert await names(session_id=quote(name, safe="")) == [name]


@pytest.mark.parametrize("name", NAMES)
async def test_a_session_of_any_name_is_renamed_and_deleted_in_one_flow_only(
    memory_store: SessionStore, client: httpx.AsyncClient, flow: str, name: str
) -> None:
    other = str(uuid.uuid4())
    for one in (flow, other):
        await memory_store.append(one, text="x", sender="u", sender_name="u", session_id=name)

    renamed = await client.patch(
        f"{PATH}/page/session", params=place(flow, name), json={"new_session_id": f"{name}!"}
    )
    assert renamed.json() == {"outcome": "renamed", "session_id": f"{name}!", "messages": 1}
    deleted = await client.delete(f"{PATH}/page/session", params=place(flow, f"{name}!"))
    assert deleted.status_code == 204
    assert await memory_store.sessions(flow) == []
    assert await memory_store.sessions(other) == [name]


async def test_a_merge_has_to_be_asked_for(
    memory_store: SessionStore, client: httpx.AsyncClient, flow: str
) -> None:
    await memory_store.append_many(flow, [said("a", "1"), said("b", "2")])

    async def rename(**body: Any) -> httpx.Response:
        return await client.patch(f"{PATH}/page/session", params=place(flow, "a"), json=body)

    assert (await rename(new_session_id="b")).status_code == 412
    assert sorted(await memory_store.sessions(flow)) == ["a", "b"]
    assert (await rename(new_session_id="a")).json()["outcome"] == "unchanged"
    assert (await rename(new_session_id="b", merge=True)).json() == {
        "outcome": "merged",
        "session_id": "b",
        "messages": 2,
    }
    assert (await rename(new_session_id="c")).status_code == 404
    assert (await rename(new_session_id="")).status_code == 422
    assert (await rename(new_session_id="x" * 2_049)).status_code == 422


async def test_what_is_somebody_elses_is_not_there(memory_store: SessionStore, flow: str) -> None:
    key, digest = new_key()
    access = KeyAccess(memory_store, {digest: "ada"})
    await memory_store.append_many(flow, [said("s", "x")], owner="bob")
    query = place(flow, "s")
    async with connect(memory_store, access) as stranger:
        for path in ("flows", "page/sessions", "page/session"):
            method = "DELETE" if path.endswith("session") else "GET"
            assert (await stranger.request(method, f"{PATH}/{path}", params=query)).status_code == 403
        assert (await stranger.get("/")).status_code == 200  # the page itself holds nothing
    async with connect(memory_store, access, **{"x-api-key": key}) as ada:
        assert (await ada.get(f"{PATH}/flows")).json() == []
        assert (await ada.get(f"{PATH}/page/sessions", params=query)).status_code == 404
        assert (await ada.delete(f"{PATH}/page/session", params=query)).status_code == 404
        renamed = await ada.patch(f"{PATH}/page/session", params=query, json={"new_session_id": "t"})
        assert renamed.status_code == 404
    assert await memory_store.sessions(flow) == ["s"]


async def test_a_redis_that_is_away_is_503() -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=0.3)) as store:
            flow = str(uuid.uuid4())
            await store.append_many(flow, [said(f"s{number}", "x") for number in range(3)])
            async with connect(store) as client:
                server.kill()
                for path in ("flows", "page/sessions"):
                    answer = await client.get(f"{PATH}/{path}", params={"flow_id": flow})
                    assert answer.status_code == 503
