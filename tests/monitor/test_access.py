"""Who gets in, and what they see."""

from __future__ import annotations

import asyncio
import uuid
from base64 import urlsafe_b64decode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from redis_sessions.errors import ConfigurationError
from redis_sessions.monitor import KeyAccess, LangflowAccess, OpenAccess, hash_key, monitor_app, new_key
from tests.support import wait_until

from .conftest import HOST, PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from redis_sessions.store import SessionStore

    from .conftest import Connect

SESSIONS = f"{PATH}/messages/sessions"


async def say(store: SessionStore, flow: str, owner: str | None, session: str) -> None:
    await store.append(flow, text="x", sender="u", sender_name="u", session_id=session, owner=owner)


@pytest.fixture
async def two_owners(memory_store: SessionStore) -> SessionStore:
    await say(memory_store, "f1", "alice", "of alice")
    await say(memory_store, "f2", "bob", "of bob")
    await say(memory_store, "f3", None, "of nobody")
    return memory_store


# --- open ----------------------------------------------------------------------------------------


async def test_open_access_shows_everything_to_callers_on_this_machine(
    two_owners: SessionStore, client: httpx.AsyncClient
) -> None:
    assert len((await client.get(SESSIONS)).json()) == 3


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.1", "127.0.0.1:7861"),
        ("2001:db8::1", "localhost"),
        ("127.0.0.1", "rebound.example"),
        ("127.0.0.1", "localhost.example:7861"),
        ("127.0.0.1", "[::1x"),
        ("127.0.0.1", ""),
    ],
)
async def test_open_access_refuses_other_machines_and_rebound_names(
    memory_store: SessionStore, address: str, host: str
) -> None:
    transport = httpx.ASGITransport(monitor_app(memory_store), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        answer = await client.get(SESSIONS, headers={"host": host})

    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.2:1", "[::1]:8000", "[::1]"])
async def test_open_access_knows_the_names_of_this_machine(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get(SESSIONS, headers={"host": host})).status_code == 200


def test_open_access_refuses_to_listen_elsewhere() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1"):
        OpenAccess.check_address(host)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", ""):
        with pytest.raises(ConfigurationError):
            OpenAccess.check_address(host)


# --- keys ----------------------------------------------------------------------------------------


@pytest.fixture
async def keyed(two_owners: SessionStore, connect: Connect) -> tuple[httpx.AsyncClient, str]:
    (key, hashed), (_, another) = new_key(), new_key()
    access = KeyAccess(two_owners, {another: "bob", hashed: "alice"})
    return await connect(two_owners, access), key


@pytest.mark.parametrize("way", ["header", "query", "bearer"])
async def test_a_key_opens_its_owners_flows(keyed: tuple[httpx.AsyncClient, str], way: str) -> None:
    client, key = keyed
    options: dict[str, Any] = {
        "header": {"headers": {"x-api-key": key}},
        "query": {"params": {"x-api-key": key}},
        "bearer": {"headers": {"authorization": f"bearer {key}"}},
    }[way]

    answer = await client.get(SESSIONS, **options)

    assert answer.json() == ["of alice"]


@pytest.mark.parametrize(
    ("headers", "status", "detail"),
    [
        ({}, 403, "No authentication credentials provided"),
        ({"x-api-key": ""}, 403, "No authentication credentials provided"),
        ({"authorization": "Basic YTpi"}, 403, "No authentication credentials provided"),
        ({"authorization": "Bearer"}, 403, "No authentication credentials provided"),
        ({"x-api-key": "wrong"}, 403, "Invalid API key"),
        ({"authorization": "Bearer wrong"}, 401, "Invalid token"),
    ],
)
async def test_without_a_right_key_nobody_gets_in_and_nothing_is_parsed(
    keyed: tuple[httpx.AsyncClient, str], headers: dict[str, str], status: int, detail: str
) -> None:
    client, _ = keyed

    for method, path, content in (
        ("GET", f"{SESSIONS}?limit=-1", b""),
        ("DELETE", SESSIONS, b"{"),
        ("PUT", f"{PATH}/messages/x", b"{"),
        ("GET", f"{PATH}/builds", b""),
    ):
        answer = await client.request(
            method, path, content=content, headers={**headers, "content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


async def test_a_wrong_token_is_not_made_good_by_a_right_key(keyed: tuple[httpx.AsyncClient, str]) -> None:
    client, key = keyed

    answer = await client.get(SESSIONS, headers={"authorization": "Bearer wrong", "x-api-key": key})

    assert answer.status_code == 401


@pytest.mark.parametrize("text", ["", "plain", "sha256:", "sha256:zz", "sha256:" + "0" * 63])
def test_a_key_that_is_not_configured_by_its_hash_is_refused(memory_store: SessionStore, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KeyAccess(memory_store, {text: "alice"})
    assert "plain" not in str(caught.value)


def test_keys_are_new_each_time_and_their_hash_tells_nothing() -> None:
    key, hashed = new_key()
    assert hashed == hash_key(key)
    assert key not in hashed
    assert new_key()[0] != key


def test_a_key_has_256_random_bits() -> None:
    assert len(urlsafe_b64decode(new_key()[0].removeprefix("rs-") + "=")) == 32


def test_without_a_key_nobody_could_get_in(memory_store: SessionStore) -> None:
    with pytest.raises(ConfigurationError, match="nobody could get in"):
        KeyAccess(memory_store, {})


# --- Langflow ------------------------------------------------------------------------------------


class Langflow:
    """Stands for a running Langflow: knows one key."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.broken = False
        self.arrived = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()
        self.app = Starlette(routes=[Route("/api/v1/users/whoami", self.whoami)])

    async def whoami(self, request: Request) -> JSONResponse | PlainTextResponse:
        self.asked.append(dict(request.headers) | dict(request.query_params))
        self.arrived.set()
        await self.answering.wait()
        if self.broken:
            return PlainTextResponse("oops", 500)
        if request.headers.get("authorization"):
            return JSONResponse({"detail": "Invalid token"}, 401)
        keys = (request.headers.get("x-api-key"), request.query_params.get("x-api-key"))
        if "right" in keys or request.cookies.get("access_token_lf") == "right":
            return JSONResponse({"id": "alice", "username": "a"})
        return JSONResponse({"detail": "Invalid API key"}, 403)


@pytest.fixture
async def langflow() -> Langflow:
    return Langflow()


@pytest.fixture
async def asking(langflow: Langflow, two_owners: SessionStore) -> AsyncIterator[LangflowAccess]:
    transport = httpx.ASGITransport(langflow.app)
    async with httpx.AsyncClient(transport=transport) as upstream:
        access = LangflowAccess(
            two_owners, "http://langflow/", client=upstream, remember_refusal=timedelta(seconds=1)
        )
        yield access
        await access.aclose()


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"x-api-key": "right"}},
        {"params": {"x-api-key": "right"}},
        {"headers": {"cookie": "access_token_lf=right; other=1"}},
    ],
)
async def test_langflow_says_who_the_caller_is_and_is_asked_once(
    langflow: Langflow,
    asking: LangflowAccess,
    two_owners: SessionStore,
    connect: Connect,
    options: dict[str, Any],
) -> None:
    client = await connect(two_owners, asking)

    for _ in range(3):
        assert (await client.get(SESSIONS, **options)).json() == ["of alice"]

    assert len(langflow.asked) == 1
    assert "other" not in str(langflow.asked)


async def test_refusals_are_langflows_own_and_remembered_for_a_shorter_time(
    langflow: Langflow, asking: LangflowAccess, two_owners: SessionStore, connect: Connect
) -> None:
    client = await connect(two_owners, asking)

    wrong = [await client.get(SESSIONS, headers={"x-api-key": "wrong"}) for _ in range(2)]
    token = await client.get(SESSIONS, headers={"authorization": "Bearer nonsense"})

    assert [(one.status_code, one.json()["detail"]) for one in (*wrong, token)] == [
        (403, "Invalid API key"),
        (403, "Invalid API key"),
        (401, "Invalid token"),
    ]
    assert len(langflow.asked) == 2

    async def asked_again() -> bool:
        await client.get(SESSIONS, headers={"x-api-key": "wrong"})
        return len(langflow.asked) > 2

    await wait_until(asked_again)


async def test_langflow_down_lets_nobody_in_and_is_asked_again(
    langflow: Langflow, asking: LangflowAccess, two_owners: SessionStore, connect: Connect
) -> None:
    client = await connect(two_owners, asking)
    langflow.broken = True

    answer = await client.get(SESSIONS, headers={"x-api-key": "right"})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    langflow.broken = False
    assert (await client.get(SESSIONS, headers={"x-api-key": "right"})).status_code == 200


async def test_a_langflow_that_cannot_be_reached_is_503(two_owners: SessionStore, connect: Connect) -> None:
    access = LangflowAccess(two_owners, "http://127.0.0.1:9")
    client = await connect(two_owners, access)

    answer = await client.get(SESSIONS, headers={"x-api-key": "right"})

    assert answer.status_code == 503
    await access.aclose()


async def test_a_client_that_was_given_stays_the_callers_to_close(two_owners: SessionStore) -> None:
    async with httpx.AsyncClient() as client:
        await LangflowAccess(two_owners, "http://127.0.0.1:9", client=client).aclose()

        assert not client.is_closed


async def test_callers_who_come_together_are_one_question(
    langflow: Langflow, asking: LangflowAccess, two_owners: SessionStore, connect: Connect
) -> None:
    client = await connect(two_owners, asking)
    langflow.answering.clear()
    waiting = [asyncio.create_task(client.get(SESSIONS, headers={"x-api-key": "right"})) for _ in range(20)]
    await langflow.arrived.wait()
    waiting[0].cancel()
    langflow.answering.set()

    answers = await asyncio.gather(*waiting[1:])

    assert {answer.status_code for answer in answers} == {200}
    assert len(langflow.asked) == 1


async def test_what_is_remembered_is_bounded_and_wrong_keys_do_not_drive_out_right_ones(
    langflow: Langflow, two_owners: SessionStore, connect: Connect
) -> None:
    transport = httpx.ASGITransport(langflow.app)
    async with httpx.AsyncClient(transport=transport) as upstream:
        access = LangflowAccess(two_owners, "http://langflow", client=upstream, max_remembered=3)
        client = await connect(two_owners, access)
        await client.get(SESSIONS, headers={"x-api-key": "right"})
        for number in range(10):
            await client.get(SESSIONS, headers={"x-api-key": f"wrong {number}"})
        asked = len(langflow.asked)

        await client.get(SESSIONS, headers={"x-api-key": "right"})
        assert len(langflow.asked) == asked
        await client.get(SESSIONS, headers={"x-api-key": "wrong 0"})
        assert len(langflow.asked) == asked + 1


@pytest.mark.parametrize("one", ["x-api-key", "authorization"])
async def test_the_same_text_as_another_kind_of_credential_is_asked_for_itself(
    langflow: Langflow, asking: LangflowAccess, two_owners: SessionStore, connect: Connect, one: str
) -> None:
    client = await connect(two_owners, asking)
    await client.get(SESSIONS, headers={one: "same"})
    await client.get(SESSIONS, headers={"cookie": "access_token_lf=same"})
    assert len(langflow.asked) == 2


async def test_a_foreign_flows_builds_and_transactions_are_empty_and_stay(
    memory_store: SessionStore, connect: Connect
) -> None:
    from redis_sessions.models import Transaction, VertexBuild

    flow, key = str(uuid.uuid4()), new_key()
    await memory_store.put_build(VertexBuild(id="v", valid=True, flow_id=flow), owner="bob")
    await memory_store.add_transaction(Transaction(vertex_id="v", status="success", flow_id=flow))
    client = await connect(memory_store, KeyAccess(memory_store, {key[1]: "alice"}), **{"x-api-key": key[0]})
    params = {"flow_id": flow}

    assert (await client.get(f"{PATH}/builds", params=params)).json() == {"vertex_builds": {}}
    assert (await client.delete(f"{PATH}/builds", params=params)).status_code == 204
    assert (await client.get(f"{PATH}/transactions", params=params)).json()["total"] == 0
    assert len(await memory_store.builds(flow)) == 1
