"""The monitor inside Langflow: where it sits, and what Langflow's own endpoints do beside the messages."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute
from langflow.api.v1 import monitor as stock_monitor
from langflow.services.database.models.knowledge_base.model import KnowledgeBaseRecord
from langflow.services.database.models.memory_base.model import MemoryBase, MemoryBaseSession
from langflow.services.database.models.message.model import MessageTable
from lfx.schema.properties import Properties
from lfx.services.deps import session_scope
from sqlmodel import select
from starlette.middleware.gzip import GZipMiddleware

from redis_sessions.errors import ConfigurationError
from redis_sessions.langflow import monitor, runtime, seams
from redis_sessions.monitor import MonitorSettings
from tests.support.servers import HOST

from .inprocess import Application, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx

    from redis_sessions import SessionStore
    from tests.support.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = "/api/v1/monitor/messages"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Langfuse(ThreadingHTTPServer):
    """What Langflow tells Langfuse."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.told: list[tuple[str, str, Any]] = []

    def take(self) -> list[tuple[str, str, Any]]:
        told, self.told = self.told, []
        return told


class _Handler(BaseHTTPRequestHandler):
    server: Langfuse

    def _hear(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        scores = [item["body"] for item in json.loads(body)["batch"]] if body else None
        self.server.told.append((self.command, self.path, scores))
        answer = b'{"successes":[],"errors":[],"message":"gone"}'
        self.send_response(207 if body else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_DELETE = _hear  # noqa: N815 - as the base class calls them

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def langfuse() -> Iterator[Langfuse]:
    with Langfuse() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def langflow(
    valkey: Server, langfuse: Langfuse, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Application]:
    configured = {
        "LANGFUSE_HOST": f"http://{HOST}:{langfuse.server_port}",
        "LANGFUSE_PUBLIC_KEY": "pk-test",
        "LANGFUSE_SECRET_KEY": "sk-test",
    }
    folder = tmp_path_factory.mktemp("monitor")
    async with application(folder, REDIS_SESSIONS_URL=valkey.url, **configured) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def store(langflow: Application) -> SessionStore:
    return await runtime.store()


@pytest_asyncio.fixture(loop_scope="module")
async def ada(langflow: Application) -> AsyncIterator[httpx.AsyncClient]:
    async with await langflow.new_user(f"ada-{uuid4()}") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def flow(ada: httpx.AsyncClient) -> str:
    made = {"name": f"flow {uuid4()}", "data": {"nodes": [], "edges": []}}
    return str((await ada.post("/api/v1/flows/", json=made)).raise_for_status().json()["id"])


async def say(store: SessionStore, flow: str, **fields: Any) -> str:
    """A message, with the same id in Redis and in Langflow's table."""
    plain = {"session_id": "s", "text": "hello", "sender": "User", "sender_name": "User"} | fields
    message = await store.append(flow, **plain)
    kept = {"properties": Properties().model_dump(), "files": [], "category": "message"}
    async with session_scope() as database:
        database.add(
            MessageTable(
                id=UUID(message.id), flow_id=UUID(flow), timestamp=message.timestamp, **kept, **plain
            )
        )
    return message.id


async def user_id(client: httpx.AsyncClient) -> UUID:
    return UUID((await client.get("/api/v1/users/whoami")).raise_for_status().json()["id"])


async def test_it_is_the_innermost_middleware_and_there_once(langflow: Application) -> None:
    monitor.install(langflow.app)
    classes = [middleware.cls for middleware in langflow.app.user_middleware]
    assert classes.count(monitor.MonitorMiddleware) == 1
    assert classes[-2:] == [GZipMiddleware, monitor.MonitorMiddleware]


async def test_an_endpoint_for_messages_that_we_do_not_know_is_refused_at_start() -> None:
    async def endpoint() -> None: ...

    routes = [*stock_monitor.router.routes]
    monitor.check(routes)
    monitor.check(
        [*routes, APIRoute("/monitor/traces/all", endpoint), APIRoute("/monitor/messagesque", endpoint)]
    )
    for path in ("/monitor/messages/pinned", "/monitor/builds", "/monitor/transactions/{transaction_id}"):
        with pytest.raises(seams.SeamError, match="POST /api/v1/monitor"):
            monitor.check([*routes, APIRoute(path, endpoint, methods=["POST"])])


async def test_a_setting_that_cannot_work_is_refused_at_start(
    langflow: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_MONITOR_RATE_LIMIT", "often")
    with pytest.raises(ConfigurationError, match="rate_limit"):
        monitor.install(langflow.app)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    heard: list[Any] = []

    async def inner(*given: Any) -> None:
        heard.extend(given)

    given = ({"type": kind, "path": f"{MESSAGES}/stream"}, object(), object())
    await monitor.MonitorMiddleware(inner, {}, MonitorSettings())(*given)  # type: ignore[arg-type]
    assert all(one is other for one, other in zip(heard, given, strict=True))


@pytest.mark.parametrize(
    "path", ["job_queue", "traces", "traces/x", "messagesque", "builds-x", "transactions.json"]
)
async def test_what_is_langflows_goes_through_untouched(langflow: Application, path: str) -> None:
    heard: list[Any] = []

    async def inner(*given: Any) -> None:
        heard.extend(given)

    scope = {"type": "http", "method": "GET", "path": f"/api/v1/monitor/{path}"}
    await monitor.MonitorMiddleware(inner, {}, MonitorSettings())(scope, object(), object())  # type: ignore[arg-type]
    assert heard[0] is scope


async def test_feedback_reaches_langfuse_as_from_langflow(
    langflow: Application, ada: httpx.AsyncClient, flow: str, store: SessionStore, langfuse: Langfuse
) -> None:
    message = await say(store, flow, session_metadata={"langfuse_trace_id": TRACE})
    url = f"{MESSAGES}/{message}"

    async def given() -> list[tuple[str, str, Any]]:
        for feedback in (True, True, False, None):
            (await ada.put(url, json={"properties": {"positive_feedback": feedback}})).raise_for_status()
        (await ada.put(url, json={"text": "changed"})).raise_for_status()
        return langfuse.take()

    ours = await given()
    with langflow.stock():
        assert ours == await given()
    scores = [scores[0]["value"] for method, _, scores in ours if method == "POST"]
    assert scores == [1.0, 0.0]
    assert [path for method, path, _ in ours if method == "DELETE"] == [
        f"/api/public/scores/{message.replace('-', '')}"
    ]


async def test_feedback_without_a_trace_stays_here(
    ada: httpx.AsyncClient, flow: str, store: SessionStore, langfuse: Langfuse
) -> None:
    message = await say(store, flow)
    answer = await ada.put(f"{MESSAGES}/{message}", json={"properties": {"positive_feedback": True}})
    assert answer.json()["properties"]["positive_feedback"] is True
    assert langfuse.take() == []


async def test_attachments_are_accepted_where_langflow_accepts_them(
    langflow: Application, ada: httpx.AsyncClient, flow: str, store: SessionStore, tmp_path: Any
) -> None:
    message = await say(store, flow)
    from langflow.services.deps import get_settings_service

    config = get_settings_service().settings.config_dir
    owner = await user_id(ada)
    statuses = {}
    for file in (
        f"{flow}/a.png",
        f"{owner}/a.png",
        f"{config}/{flow}/a.png",
        f"{config}/{uuid4()}/a.png",
        f"{uuid4()}/a.png",
        f"{flow}/../a.png",
        f"{tmp_path}/a.png",
        "C:\\a.png",
    ):
        ours = await ada.put(f"{MESSAGES}/{message}", json={"files": [file]})
        with langflow.stock():
            stock = await ada.put(f"{MESSAGES}/{message}", json={"files": [file]})
        assert (ours.status_code, ours.text) == (stock.status_code, stock.text), file
        statuses[file] = ours.status_code
    assert list(statuses.values()) == [200, 200, 200, 400, 400, 400, 400, 400]


@pytest_asyncio.fixture(loop_scope="module")
async def memory_base(ada: httpx.AsyncClient, flow: str) -> KnowledgeBaseRecord:
    """A Memory Base that has the sessions ``s`` and ``only-there``; its storage is not ready."""
    owner = await user_id(ada)
    record = KnowledgeBaseRecord(name=f"kb-{uuid4()}", user_id=owner, storage_state="needs_attention")
    base = MemoryBase(name="base", kb_name=record.name, flow_id=UUID(flow), user_id=owner)
    sessions = [MemoryBaseSession(session_id=name, memory_base_id=base.id) for name in ("s", "only-there")]
    async with session_scope() as database:
        database.add(record)
        database.add(base)
        await database.flush()
        database.add_all(sessions)
    return record


async def purged() -> set[str]:
    async with session_scope() as database:
        found = await database.exec(select(MemoryBaseSession).where(MemoryBaseSession.purge_pending))
        return {session.session_id for session in found}


async def forget_purges() -> None:
    async with session_scope() as database:
        for session in await database.exec(select(MemoryBaseSession)):
            await database.delete(session)


async def test_a_session_that_is_deleted_goes_from_memory_bases_too(
    ada: httpx.AsyncClient, flow: str, store: SessionStore, memory_base: KnowledgeBaseRecord
) -> None:
    await say(store, flow)
    (await ada.delete(f"{MESSAGES}/session/s")).raise_for_status()
    assert await purged() == {"s"}
    answer = await ada.request("DELETE", f"{MESSAGES}/sessions", json=["only-there", "nowhere"])
    assert answer.json()["deleted_count"] == 1
    assert await purged() == {"s", "only-there"}
    await forget_purges()


async def test_nothing_is_deleted_while_a_memory_bases_storage_is_moved(
    langflow: Application,
    ada: httpx.AsyncClient,
    flow: str,
    store: SessionStore,
    memory_base: KnowledgeBaseRecord,
) -> None:
    message = await say(store, flow)
    async with session_scope() as database:
        record = await database.get(KnowledgeBaseRecord, memory_base.id)
        assert record is not None
        record.storage_state = "migrating"
        database.add(record)
    for method, url, body in (
        ("DELETE", f"{MESSAGES}/session/s", None),
        ("DELETE", f"{MESSAGES}/sessions", ["s"]),
        ("DELETE", MESSAGES, [message]),
    ):
        ours = await ada.request(method, url, json=body)
        with langflow.stock():
            stock = await ada.request(method, url, json=body)
        assert (ours.status_code, ours.text) == (stock.status_code, stock.text), url
        assert ours.status_code == 409
    assert len(await store.history(flow, "s")) == 1
    await forget_purges()


async def test_a_redis_that_is_away_is_503_and_says_whether_the_write_may_have_happened(
    langflow: Application, ada: httpx.AsyncClient, flow: str, store: SessionStore, valkey: Server
) -> None:
    await say(store, flow)
    valkey.pause()
    try:
        reading = await ada.get(MESSAGES, params={"flow_id": flow})
        health = await ada.get("/health_check")
        langflows = await ada.get("/api/v1/flows/", params={"get_all": True})
    finally:
        valkey.resume()
    assert (reading.status_code, reading.headers["retry-after"]) == (503, "1")
    assert reading.json() == {"detail": "The session store is unavailable; nothing was changed."}
    assert health.status_code == langflows.status_code == 200
    assert (await ada.get(MESSAGES, params={"flow_id": flow})).status_code == 200
