"""Access inside Langflow is Langflow's own, and costs no more SQL than it does there.

Each case is asked twice of the same application: of the plug-in, and of Langflow's endpoint behind it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from langflow.services.auth.utils import get_current_active_user
from langflow.services.authorization.service import LangflowAuthorizationService
from langflow.services.database.models.flow.model import Flow
from langflow.services.database.models.message.model import MessageTable
from langflow.services.database.models.user.model import User
from langflow.services.deps import get_db_service, get_settings_service
from lfx.schema.properties import Properties
from lfx.services.deps import session_scope
from lfx.services.manager import get_service_manager
from lfx.services.schema import ServiceType
from starlette.exceptions import HTTPException
from starlette.requests import Request

from redis_sessions.langflow import runtime
from redis_sessions.langflow.access import InProcessAccess
from tests.support.waiting import wait_until

from .inprocess import Application, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from redis_sessions import SessionStore
    from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

MONITOR = "/api/v1/monitor"
MESSAGES = f"{MONITOR}/messages"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def langflow(valkey: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    async with application(tmp_path_factory.mktemp("access"), REDIS_SESSIONS_URL=valkey.url) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def store(langflow: Application) -> SessionStore:
    return await runtime.store()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(langflow: Application) -> AsyncIterator[httpx.AsyncClient]:
    async with await langflow.new_user(f"ada-{uuid4()}") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def bob(langflow: Application) -> AsyncIterator[httpx.AsyncClient]:
    async with await langflow.new_user(f"bob-{uuid4()}") as client:
        yield client


async def new_flow(client: httpx.AsyncClient) -> str:
    flow = {"name": f"flow {uuid4()}", "data": {"nodes": [], "edges": []}}
    return str((await client.post("/api/v1/flows/", json=flow)).raise_for_status().json()["id"])


async def new_key(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/v1/api_key/", json={"name": "a key"})
    return str(answer.raise_for_status().json()["api_key"])


async def user_id(client: httpx.AsyncClient) -> UUID:
    return UUID((await client.get("/api/v1/users/whoami")).raise_for_status().json()["id"])


async def say(store: SessionStore, flow: str, text: str = "hello", session: str = "s") -> str:
    """A message, with the same id in Redis and in Langflow's table."""
    message = await store.append(flow, session_id=session, text=text, sender="User", sender_name="User")
    row = MessageTable(
        id=UUID(message.id),
        flow_id=UUID(flow),
        session_id=session,
        text=text,
        sender="User",
        sender_name="User",
        timestamp=message.timestamp,
        properties=Properties().model_dump(),
        files=[],
        category="message",
    )
    async with session_scope() as database:
        database.add(row)
    return message.id


def told(answer: httpx.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.text, answer.headers.get("www-authenticate")


async def both(
    langflow: Application, client: httpx.AsyncClient, method: str, url: str, **options: Any
) -> tuple[tuple[int, str, str | None], tuple[int, str, str | None]]:
    """The plug-in's answer, and Langflow's own."""
    ours = told(await client.request(method, url, **options))
    with langflow.stock():
        return ours, told(await client.request(method, url, **options))


async def credentials(langflow: Application, ada: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    token, key = ada.headers["authorization"].removeprefix("Bearer "), await new_key(ada)
    return {
        "none": {},
        "bearer": {"headers": {"authorization": f"Bearer {token}"}},
        "cookie": {"headers": {"cookie": f"access_token_lf={token}"}},
        "key in header": {"headers": {"x-api-key": key}},
        "key in query": {"params": {"x-api-key": key}},
        "wrong bearer": {"headers": {"authorization": "Bearer nonsense"}},
        "wrong bearer, right key": {"headers": {"authorization": "Bearer nonsense", "x-api-key": key}},
        "wrong key": {"headers": {"x-api-key": "sk-nonsense"}},
        "basic": {"headers": {"authorization": "Basic YTpi"}},
        "refresh token as bearer": {"headers": {"authorization": f"Bearer {token[:-2]}xx"}},
    }


async def test_every_kind_of_credentials_gets_the_answer_that_langflow_gives(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    await say(store, flow)
    statuses = {}
    async with langflow.client() as anybody:
        for kind, options in (await credentials(langflow, ada)).items():
            asked = {**options, "params": {**options.get("params", {}), "flow_id": flow}}
            ours, stock = await both(langflow, anybody, "GET", MESSAGES, **asked)
            assert ours == stock, kind
            statuses[kind] = ours[0]
    assert {kind for kind, status in statuses.items() if status == 200} == {
        "bearer",
        "cookie",
        "key in header",
        "key in query",
    }


@pytest.mark.parametrize("skip_auth", [True, False])
async def test_auto_login_lets_in_whom_langflow_lets_in(
    langflow: Application, monkeypatch: pytest.MonkeyPatch, skip_auth: bool
) -> None:
    settings = get_settings_service().auth_settings
    monkeypatch.setattr(settings, "AUTO_LOGIN", True)
    monkeypatch.setattr(settings, "skip_auth_auto_login", skip_auth)
    async with langflow.client() as anybody:
        ours, stock = await both(langflow, anybody, "GET", MESSAGES)
    assert ours == stock
    assert ours[0] == (200 if skip_auth else 403)


async def test_a_user_who_is_not_active_any_more_is_refused(
    langflow: Application, ada: httpx.AsyncClient
) -> None:
    async with session_scope() as database:
        user = await database.get(User, await user_id(ada))
        assert user is not None
        user.is_active = False
        database.add(user)
    ours, stock = await both(langflow, ada, "GET", MESSAGES)
    assert ours == stock
    assert ours[0] == 401


async def test_a_cookie_is_named_after_the_path_that_langflow_is_served_under(
    langflow: Application, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langflow.app, "root_path", "/lang")
    token = ada.headers["authorization"].removeprefix("Bearer ")
    async with langflow.client(cookie=f"access_token_lf_%2Flang={token}") as client:
        ours, stock = await both(langflow, client, "GET", f"/lang{MESSAGES}")
    assert ours == stock
    assert ours[0] == 200


async def test_a_superuser_sees_no_more_than_their_own(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    await say(store, flow)
    async with langflow.client(authorization=f"Bearer {await langflow.log_in('root')}") as root:
        assert (await root.get("/api/v1/users/whoami")).json()["is_superuser"]
        for url in (f"{MESSAGES}?flow_id={flow}", f"{MESSAGES}/sessions?flow_id={flow}"):
            ours, stock = await both(langflow, root, "GET", url)
            assert ours == stock == (200, "[]", None)


async def test_job_queue_stays_for_superusers(langflow: Application, ada: httpx.AsyncClient) -> None:
    async with langflow.client(authorization=f"Bearer {await langflow.log_in('root')}") as root:
        assert (await root.get(f"{MONITOR}/job_queue")).status_code == 200
    assert (await ada.get(f"{MONITOR}/job_queue")).status_code == 403


def requests_about(flow: str, message: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every endpoint with access to a flow of somebody's, with the one session ``s``; deletes last."""
    return [
        ("GET", f"{MESSAGES}?flow_id={flow}", {}),
        ("GET", f"{MESSAGES}?flow_id={flow}&order=up", {}),
        ("GET", MESSAGES, {}),
        ("GET", f"{MESSAGES}/sessions?flow_id={flow}", {}),
        ("GET", f"{MESSAGES}/sessions", {}),
        ("GET", f"{MONITOR}/builds?flow_id={flow}", {}),
        ("GET", f"{MONITOR}/transactions?flow_id={flow}&page=2", {}),
        ("PUT", f"{MESSAGES}/{message}", {"json": {"text": "changed"}}),
        ("PATCH", f"{MESSAGES}/session/s?new_session_id=s", {}),
        ("DELETE", f"{MONITOR}/builds?flow_id={flow}", {}),
        ("DELETE", MESSAGES, {"json": [message]}),
        ("DELETE", f"{MESSAGES}/session/s", {}),
        ("DELETE", f"{MESSAGES}/sessions", {"json": ["s"]}),
    ]


async def test_somebody_elses_flow_is_as_if_it_were_not_there(
    langflow: Application, ada: httpx.AsyncClient, bob: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    message = await say(store, flow)
    for method, url, options in requests_about(flow, message):
        ours, stock = await both(langflow, bob, method, url, **options)
        assert ours == stock, url
    assert [found.text for found in await store.history(flow, "s")] == ["hello"]


async def test_an_owner_does_everything(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    message = await say(store, flow)
    for method, url, options in requests_about(flow, message):
        ours, stock = await both(langflow, ada, method, url, **options)
        assert ours == stock, url
    assert await store.history(flow, "s") == []


async def test_a_flow_of_which_redis_has_nothing_is_there_all_the_same(
    langflow: Application, ada: httpx.AsyncClient
) -> None:
    flow = await new_flow(ada)
    for method, url, options in requests_about(flow, str(uuid4())):
        ours, stock = await both(langflow, ada, method, url, **options)
        assert ours == stock, url


async def test_a_flow_belongs_to_whom_langflows_database_says(
    langflow: Application, ada: httpx.AsyncClient, bob: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    await store.append(
        flow, session_id="s", text="x", sender="User", sender_name="User", owner=await user_id(ada)
    )
    async with session_scope() as database:
        row = await database.get(Flow, UUID(flow))
        assert row is not None
        row.user_id, row.folder_id = await user_id(bob), None
        database.add(row)

    assert (await ada.get(MESSAGES, params={"flow_id": flow})).json() == []
    assert (await ada.get(f"{MESSAGES}/sessions")).json() == []
    assert [shown["text"] for shown in (await bob.get(MESSAGES)).json()] == ["x"]


async def test_what_redis_has_of_a_flow_that_langflow_has_not_is_nobodys(
    ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = str(uuid4())
    owner = await user_id(ada)
    await store.append(flow, session_id="s", text="x", sender="User", sender_name="User", owner=owner)
    assert (await ada.get(MESSAGES, params={"flow_id": flow})).json() == []
    assert (await ada.get(f"{MESSAGES}/sessions")).json() == []
    assert (await ada.get(f"{MESSAGES}/export", params={"flow_id": flow})).status_code == 404


class Shares(LangflowAuthorizationService):
    """An authorization plug-in: what was granted to whom; API keys may only read, their owners' flows too."""

    SUPPORTS_CROSS_USER_FETCH = True
    SUPPORTS_API_KEY_SCOPES = True
    granted: set[tuple[UUID, str, str]]

    async def enforce(
        self, *, user_id: UUID, domain: str, obj: str, act: str, context: dict[str, Any] | None = None
    ) -> bool:
        assert context is not None
        if context.get("auth_method") == "api_key" and context["flow_user_id"] == user_id:
            return act == "read"
        return (user_id, obj, act) in self.granted


@pytest.fixture
def shares(langflow: Application, monkeypatch: pytest.MonkeyPatch) -> Shares:
    monkeypatch.setattr(get_settings_service().auth_settings, "AUTHZ_ENABLED", True)
    service = Shares(get_settings_service())
    service.granted = set()
    monkeypatch.setitem(get_service_manager().services, ServiceType.AUTHORIZATION_SERVICE, service)
    return service


@pytest.mark.parametrize("granted", [(), ("read",), ("read", "write")])
async def test_a_share_allows_what_it_says(
    langflow: Application,
    ada: httpx.AsyncClient,
    bob: httpx.AsyncClient,
    store: SessionStore,
    shares: Shares,
    granted: tuple[str, ...],
) -> None:
    flow = await new_flow(ada)
    message = await say(store, flow)
    bobs = await user_id(bob)
    shares.granted = {(bobs, f"flow:{flow}", action) for action in granted}
    for method, url, options in requests_about(flow, message):
        ours, stock = await both(langflow, bob, method, url, **options)
        assert ours == stock, url
    reading = await bob.get(MESSAGES, params={"flow_id": flow})
    deleting = await bob.delete(f"{MONITOR}/builds", params={"flow_id": flow})
    assert reading.status_code == (200 if "read" in granted else 403)
    assert deleting.status_code == (204 if "write" in granted else 403)


async def test_an_api_key_that_may_only_read_may_not_change_its_owners_message(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore, shares: Shares
) -> None:
    flow = await new_flow(ada)
    message = await say(store, flow)
    async with langflow.client(**{"x-api-key": await new_key(ada)}) as client:
        reading, _ = await both(langflow, client, "GET", f"{MESSAGES}?flow_id={flow}")
        ours, stock = await both(langflow, client, "PUT", f"{MESSAGES}/{message}", json={"text": "changed"})
    assert reading[0] == 200
    assert ours == stock
    assert ours[0] == 403
    assert (await ada.put(f"{MESSAGES}/{message}", json={"text": "changed"})).status_code == 200


async def test_a_dependency_that_a_plug_in_of_langflow_replaced_is_replaced_here_too(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    await say(store, flow)
    async with session_scope() as database:
        user = await database.get(User, await user_id(ada))
    langflow.app.dependency_overrides[get_current_active_user] = lambda: user
    try:
        async with langflow.client() as anybody:
            answer = await anybody.get(MESSAGES, params={"flow_id": flow})
    finally:
        langflow.app.dependency_overrides.clear()
    assert [shown["text"] for shown in answer.json()] == ["hello"]


@pytest.mark.parametrize("way", ["bearer", "key in header"])
async def test_no_endpoint_costs_more_sql_than_langflows_own(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore, way: str
) -> None:
    options = (await credentials(langflow, ada))[way]
    async with langflow.client(**options["headers"]) as client:
        flow = await new_flow(client)
        message = await say(store, flow)
        for method, url, body in requests_about(flow, message):
            with langflow.counted() as ours:
                assert (await client.request(method, url, **body)).status_code < 300 or "order=up" in url
            with langflow.stock(), langflow.counted() as stock:
                await client.request(method, url, **body)
            assert ours.total() <= stock.total(), (method, url, ours, stock)


async def test_an_editors_poll_reads_the_user_and_four_columns_of_the_flow(
    langflow: Application, ada: httpx.AsyncClient, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    await say(store, flow)
    before = len(langflow.statements)
    await ada.get(MESSAGES, params={"flow_id": flow})
    user, permission = langflow.statements[before:]
    assert "FROM user" in user
    assert permission.startswith(
        "SELECT flow.id, flow.user_id, flow.workspace_id, flow.folder_id \nFROM flow"
    )


async def test_no_connection_of_the_database_waits_for_redis(
    langflow: Application, ada: httpx.AsyncClient, valkey: Server, store: SessionStore
) -> None:
    flow = await new_flow(ada)
    message = await say(store, flow)
    pool = get_db_service().engine.pool
    shared = f"{MESSAGES}/shared?source_flow_id={flow}"
    requests = [request for request in requests_about(flow, message) if "order=up" not in request[1]]
    for method, url, options in [*requests, ("GET", shared, {})]:
        calls = store.counters.calls
        valkey.pause()
        asking = asyncio.create_task(ada.request(method, url, **options))
        try:
            await wait_until(lambda calls=calls: store.counters.calls > calls)
            assert not asking.done(), url
            assert pool.checkedout() == 0, url
        finally:
            valkey.resume()
            await asking


async def test_a_live_feeds_reader_is_identified_again(langflow: Application, ada: httpx.AsyncClient) -> None:
    access = InProcessAccess(langflow.app.dependency_overrides)

    def request(token: str) -> Request:
        headers = [(b"authorization", token.encode())]
        query = {"path": f"{MESSAGES}/stream", "query_string": b"flow_id=x", "root_path": ""}
        return Request({"type": "http", "method": "GET", "headers": headers, "app": langflow.app, **query})

    principal = await access.authenticate(request(ada.headers["authorization"]))
    assert principal.id == str(await user_id(ada))
    with pytest.raises(HTTPException) as refused:
        await access.authenticate(request("Bearer nonsense"))
    assert refused.value.status_code == 401
