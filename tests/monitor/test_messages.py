"""GET, PUT and DELETE of messages, beyond what was recorded."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.monitor import KeyAccess

from .conftest import PATH
from .golden import KEY, KEYS, USER

if TYPE_CHECKING:
    import httpx

    from redis_sessions.models import Message
    from redis_sessions.store import SessionStore

    from .conftest import Connect

MESSAGES = f"{PATH}/messages"
FLOW, OTHER = "5f1c2f6e-0b57-4a51-9f8e-4d7f5c3b9a10", "9a0f6d1e-4b7c-4c1d-8e2f-0a1b2c3d4e5f"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


async def add(
    store: SessionStore, second: int, text: str, *, flow: str = FLOW, session: str = "s", **fields: Any
) -> Message:
    fields = {"sender": "User", "sender_name": "User", **fields}
    when = BEGIN + timedelta(seconds=second)
    return await store.append(flow, text=text, session_id=session, timestamp=when, **fields)


async def texts(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get(MESSAGES, params=params)
    assert answer.status_code == 200, answer.text
    return [message["text"] for message in answer.json()]


async def test_a_limit_takes_the_newest_and_shows_the_oldest_of_them_first(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second in range(6):
        await add(memory_store, second, str(second), session=f"s{second % 2}")

    assert await texts(client, flow_id=FLOW, limit=3) == ["3", "4", "5"]
    assert await texts(client, flow_id=FLOW, limit=3, order="desc") == ["5", "4", "3"]
    assert await texts(client, flow_id=FLOW, limit=3, offset=2) == ["1", "2", "3"]
    assert await texts(client, flow_id=FLOW, session_id="s1", limit=2, offset=1) == ["1", "3"]
    assert await texts(client, flow_id=FLOW, offset=6) == []


@pytest.mark.parametrize(("limit", "count"), [(None, 100), (0, 100), (150, 150), (1_000, 200)])
@pytest.mark.parametrize("by_session", [True, False])
async def test_a_window_has_100_messages_unless_told_and_never_more_than_200(
    memory_store: SessionStore,
    client: httpx.AsyncClient,
    limit: int | None,
    count: int,
    by_session: bool,
) -> None:
    for second in range(205):
        await add(memory_store, second, str(second))
    query = {"flow_id": FLOW} | ({"session_id": "s"} if by_session else {})
    query |= {} if limit is None else {"limit": limit}

    assert await texts(client, **query) == [str(second) for second in range(205 - count, 205)]


async def test_messages_of_equal_order_stay_newest_first_in_both_directions(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second, sender in enumerate(["b", "a", "b", "a"]):
        await add(memory_store, second, str(second), sender=sender)

    assert await texts(client, flow_id=FLOW, order_by="sender") == ["3", "1", "2", "0"]
    assert await texts(client, flow_id=FLOW, order_by="sender", order="DESC") == ["2", "0", "3", "1"]
    assert await texts(client, flow_id=FLOW, order_by="", order="ASC") == ["3", "2", "1", "0"]


async def test_a_filter_looks_as_far_back_as_it_must(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await add(memory_store, 0, "needle", sender="Rare", session="old")
    for second in range(1, 260):
        await add(memory_store, second, "hay", session=f"s{second % 9}")

    assert await texts(client, flow_id=FLOW, sender="Rare") == ["needle"]
    assert await texts(client, sender="Rare") == ["needle"]
    assert await texts(client, flow_id=FLOW, sender="Rare", offset=1) == []
    assert await texts(client, flow_id=FLOW, sender="", sender_name="", limit=1) == ["hay"]


async def test_an_end_user_is_a_uuid_or_becomes_one(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    person = uuid.uuid4()
    derived = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_DNS, "end-user.serving.langflow.ai"), "alice@example.org")
    await add(memory_store, 0, "by id", user_id=person)
    await add(memory_store, 1, "by name", user_id=derived)
    await add(memory_store, 2, "nobody's")

    assert await texts(client, end_user_id=str(person).upper()) == ["by id"]
    assert await texts(client, end_user_id="alice@example.org") == ["by name"]
    assert await texts(client, end_user_id="bob") == []
    assert len(await texts(client, end_user_id="")) == 3


@pytest.mark.parametrize("session", ["a/b", "100%", "a%2Fb", "ü {x}:log:y *", "q?&=#"])
async def test_a_session_id_in_the_query_is_decoded_twice(
    memory_store: SessionStore, client: httpx.AsyncClient, session: str
) -> None:
    from urllib.parse import quote, unquote

    await add(memory_store, 0, "found", session=session)

    assert await texts(client, flow_id=FLOW, session_id=quote(session)) == ["found"]
    once = ["found"] if unquote(session) == session else []
    assert await texts(client, flow_id=FLOW, session_id=session) == once


@pytest.mark.parametrize("session", ["x" * 2_049, "a%00b", "%ff" * 700])
async def test_a_session_id_that_cannot_exist_finds_nothing(client: httpx.AsyncClient, session: str) -> None:
    assert await texts(client, flow_id=FLOW, session_id=session) == []
    assert await texts(client, session_id=session) == []


async def test_without_a_flow_the_messages_of_all_flows_come_in_one_order(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    for second in range(30):
        await add(
            memory_store, second, str(second), flow=[FLOW, OTHER][second % 2], session="sst"[second % 3]
        )

    assert await texts(client) == [str(second) for second in range(30)]
    assert await texts(client, limit=4, offset=3) == ["23", "24", "25", "26"]
    assert await texts(client, session_id="t", limit=2) == ["26", "29"]


async def test_another_owners_flow_shows_nothing_whatever_is_asked_for(
    memory_store: SessionStore, connect: Connect
) -> None:
    mine = await add(memory_store, 0, "mine", owner=USER)
    theirs = await add(memory_store, 1, "theirs", flow=OTHER, owner="somebody", user_id=USER)
    await add(memory_store, 2, "nobody's", flow=str(uuid.uuid4()), user_id=USER)
    client = await connect(memory_store, KeyAccess(memory_store, KEYS), **{"x-api-key": KEY})

    assert await texts(client) == ["mine"]
    assert await texts(client, session_id="s") == ["mine"]
    assert await texts(client, flow_id=OTHER) == []
    assert (await client.get(MESSAGES, params={"flow_id": OTHER, "order": "up"})).text == "[]"
    assert (await client.put(f"{MESSAGES}/{theirs.id}", json={"text": "x"})).status_code == 404
    both = await client.request("DELETE", MESSAGES, json=[theirs.id, mine.id, str(uuid.uuid4())])
    assert both.status_code == 204
    assert await memory_store.get(mine.id) is None
    assert await memory_store.get(theirs.id) is not None


async def test_an_unknown_flow_is_answered_before_the_order_is_looked_at(client: httpx.AsyncClient) -> None:
    assert await texts(client, flow_id=FLOW, order="up") == []
    assert (await client.get(MESSAGES, params={"order": "up"})).status_code == 400


async def test_a_shared_flows_messages_are_not_among_the_callers(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    virtual = str(uuid.uuid5(uuid.NAMESPACE_DNS, "user:x_y"))
    message = await add(memory_store, 0, "shared", flow=virtual)

    assert await texts(client) == []
    assert await texts(client, flow_id=virtual) == []
    assert (await client.put(f"{MESSAGES}/{message.id}", json={"text": "x"})).status_code == 404


async def test_problems_of_a_request_are_listed_in_langflows_order(client: httpx.AsyncClient) -> None:
    answer = await client.get(MESSAGES, params={"limit": "-1", "offset": "x", "flow_id": ""})

    problems = answer.json()["detail"]
    assert [problem["loc"] for problem in problems] == [
        ["query", "flow_id"],
        ["query", "limit"],
        ["query", "offset"],
    ]
    assert all(set(problem) <= {"type", "loc", "msg", "ctx"} for problem in problems)


async def test_of_a_parameter_given_twice_the_last_counts(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    await add(memory_store, 0, "a")
    await add(memory_store, 1, "b")

    answer = await client.get(f"{MESSAGES}?flow_id={FLOW}&limit=x&limit=1")

    assert [message["text"] for message in answer.json()] == ["b"]


async def test_a_put_changes_what_is_given_and_ignores_what_it_does_not_know(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    message = await add(memory_store, 0, "before", properties={"icon": "Old", "own": 1})
    body = {"properties": {"allow_markdown": True, "strange": 1, "source": "gpt"}, "id": "x", "strange": 2}

    answer = await client.put(f"{MESSAGES}/{message.id}", json=body)

    assert answer.status_code == 200
    shown = answer.json()
    assert next(iter(shown)) == "timestamp"
    assert list(shown)[-3:] == ["id", "flow_id", "run_id"]
    assert shown["properties"]["icon"] is None
    assert shown["properties"]["source"]["display_name"] == "gpt"
    stored = await memory_store.get(message.id)
    assert stored is not None
    assert stored.edit is False
    assert stored.properties.model_dump().keys() == shown["properties"].keys()


async def test_a_put_can_move_a_message_to_another_session(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    message = await add(memory_store, 0, "moves")

    answer = await client.put(f"{MESSAGES}/{message.id}", json={"session_id": "elsewhere"})

    assert (answer.json()["id"], answer.json()["session_id"]) == (message.id, "elsewhere")
    assert await texts(client, flow_id=FLOW, session_id="elsewhere") == ["moves"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"session_id": ""}, ("session_id", ["body", "session_id"])),
        ({"session_id": "x" * 2_049}, ("session_id", ["body", "session_id"])),
        ({"properties": {"state": "odd"}}, ("literal_error", ["body", "properties", "state"])),
        ({"files": "f"}, ("list_type", ["body", "files"])),
        ([], ("model_attributes_type", ["body"])),
    ],
)
async def test_a_put_that_cannot_be_is_refused(
    memory_store: SessionStore, client: httpx.AsyncClient, body: Any, problem: tuple[str, list[str]]
) -> None:
    message = await add(memory_store, 0, "stays")

    answer = await client.put(f"{MESSAGES}/{message.id}", json=body)

    assert answer.status_code == 422
    (only,) = answer.json()["detail"]
    assert (only["type"], only["loc"]) == problem
    assert "x" * 8 not in answer.text
    assert await texts(client, flow_id=FLOW) == ["stays"]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "kind"),
    [
        (b"{", "application/json", 422, "json_invalid"),
        (b"{} x", "application/json; charset=utf-8", 422, "json_invalid"),
        (b"null", "application/json", 422, "missing"),
        (b"{}", "text/plain", 422, "model_attributes_type"),
        (b"{}", None, 422, "model_attributes_type"),
        (b"{}", "application/merge-patch+json", 404, None),
        (b"\xff", "application/json", 400, None),
        (b"[" * 100_000, "application/json", 400, None),
    ],
)
async def test_a_body_is_read_as_fastapi_reads_it(
    client: httpx.AsyncClient, content: bytes, content_type: str | None, status: int, kind: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}

    answer = await client.put(f"{MESSAGES}/{uuid.uuid4()}", content=content, headers=headers)

    assert answer.status_code == status
    if kind:
        assert answer.json()["detail"][0]["type"] == kind


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (f"{FLOW}/a.png", 200),
        (f"{FLOW.upper()}/a.png", 200),
        (f"{OTHER}/a.png", 400),
        (f"{FLOW}/../{OTHER}/a.png", 400),
        (f"{FLOW}/a..png", 400),
        (f"{FLOW}/b\\a.png", 400),
        (f"{FLOW}/", 400),
        ("a.png", 400),
        ("", 400),
        ("C:\\a.png", 400),
        (f"/{FLOW}/a.png", 400),
    ],
)
async def test_attachments_are_in_the_flows_or_the_callers_storage(
    memory_store: SessionStore, client: httpx.AsyncClient, file: str, status: int
) -> None:
    message = await add(memory_store, 0, "with a file")

    answer = await client.put(f"{MESSAGES}/{message.id}", json={"files": [file]})

    assert answer.status_code == status
    if status == 200:
        assert answer.json()["files"] == [file]
