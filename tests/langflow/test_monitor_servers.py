"""The monitor, in whatever way Langflow is started, with what surrounds the answers of a stock one."""

from __future__ import annotations

import itertools
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from tests.support.langflow import LangflowServer
from tests.support.servers import HOST, free_port
from tests.support.waiting import poll

from .flows import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

MONITOR = "/api/v1/monitor"
MESSAGES = f"{MONITOR}/messages"
_LONG = "a long text " * 200
_OTHERWISE = {"date", "content-length", "etag", "cache-control", "x-next-cursor", "link"}
"""Headers that differ: by what differs from server to server, and by what is ours beyond Langflow's."""


class Uvicorn(LangflowServer):
    """The application as ``uvicorn --factory langflow.main:create_app`` serves it; with metrics."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.metrics_port = free_port()
        super().__init__(folder, LANGFLOW_PROMETHEUS_PORT=str(self.metrics_port), **options)
        self._command = [sys.executable, "-m", "uvicorn", "--factory", "langflow.main:create_app"]
        self._command += ["--host", HOST, "--port", str(self.port)]

    def metrics(self) -> str:
        return httpx.get(f"http://{HOST}:{self.metrics_port}/metrics", timeout=30).raise_for_status().text


@pytest.fixture(scope="module")
def uvicorn(
    plugged: LangflowServer, valkey: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uvicorn]:
    folder = tmp_path_factory.mktemp("uvicorn")
    server = Uvicorn(folder, database=plugged.database, REDIS_SESSIONS_URL=valkey.url)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def workers(
    plugged: LangflowServer, valkey: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LangflowServer]:
    folder = tmp_path_factory.mktemp("workers")
    # Langflow starts several workers only with a job queue that they share.
    queue = {"LANGFLOW_JOB_QUEUE_TYPE": "redis", "LANGFLOW_REDIS_QUEUE_URL": valkey.url}
    options = {"database": plugged.database, "REDIS_SESSIONS_URL": valkey.url} | queue
    server = LangflowServer(folder, workers=2, **options)
    try:
        yield server.start()
    finally:
        server.close()


def test_uvicorn_serves_the_monitor_from_redis(uvicorn: Uvicorn, plugged: LangflowServer) -> None:
    flow = uvicorn.create_flow(chat(f"uvicorn {uuid4()}"))
    uvicorn.run(flow, "hello", session_id="s")
    assert uvicorn.messages(flow_id=flow) == plugged.messages(flow_id=flow)
    assert [shown["text"] for shown in uvicorn.messages(flow_id=flow)] == ["hello", "hello"]


def test_langflows_metrics_count_the_monitor_under_its_route(uvicorn: Uvicorn) -> None:
    uvicorn.messages(flow_id=str(uuid4()))
    uvicorn.http.put(f"{MESSAGES}/{uuid4()}", json={"text": "x"})
    counted = re.findall(
        r'http_server_request_duration_seconds_count{.*?method="(\w+)".*?http_route="([^"]+)"',
        uvicorn.metrics(),
    )
    assert {("GET", MESSAGES), ("PUT", f"{MESSAGES}/{{message_id}}")} <= set(counted)


def test_every_worker_of_langflow_run_serves_the_monitor_from_redis(
    workers: LangflowServer, plugged: LangflowServer
) -> None:
    flow = workers.create_flow(chat(f"workers {uuid4()}"))
    workers.run(flow, "hello", session_id="s")
    expected = plugged.messages(flow_id=flow)
    assert [shown["text"] for shown in expected] == ["hello", "hello"]
    for _ in range(20):  # each connection is whichever worker's takes it
        with httpx.Client(base_url=workers.url, headers=workers.http.headers, timeout=60) as client:
            assert client.get(MESSAGES, params={"flow_id": flow}).json() == expected
    assert len(_children(workers)) >= 2


def _children(server: LangflowServer) -> list[int]:
    assert server._process is not None
    group = server._process.pid
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [process for process in processes if process != group and os.getpgid(process) == group]


def ask(server: LangflowServer, method: str, url: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers without what is another in each answer, and body."""
    key = {"x-api-key": server.http.headers["x-api-key"]}
    headers = key | options.pop("headers", {})
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answer = client.request(method, url, headers=headers, **options)
    shown = {name: value for name, value in answer.headers.items() if name not in _OTHERWISE}
    return answer.status_code, shown, answer.content


@pytest.fixture(scope="module")
def flow(plugged: LangflowServer, stock: LangflowServer) -> str:
    """The same flow on both, run once with a long text."""
    flow = str(uuid4())
    for server in (plugged, stock):
        server.http.put(f"/api/v1/flows/{flow}", json=chat(f"headers {flow}")).raise_for_status()
        server.run(flow, _LONG, session_id="a,b")
    return flow


PAGE = {"origin": "https://app.example"}
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("GET", f"{MESSAGES}?flow_id=FLOW", {"headers": {"accept-encoding": "identity"}}),
    "compressed": ("GET", f"{MESSAGES}?flow_id=FLOW", {"headers": {"accept-encoding": "gzip"}}),
    "from another origin": ("GET", f"{MESSAGES}?flow_id=FLOW", {"headers": PAGE}),
    "preflight": ("OPTIONS", MESSAGES, {"headers": PAGE | {"access-control-request-method": "DELETE"}}),
    "options": ("OPTIONS", MESSAGES, {}),
    "refused": ("GET", MESSAGES, {"headers": PAGE | {"x-api-key": "nonsense"}}),
    "not valid": ("GET", f"{MESSAGES}?flow_id=nonsense", {"headers": PAGE}),
    "no content": ("DELETE", MESSAGES, {"json": [], "headers": PAGE}),
    "not allowed": ("POST", MESSAGES, {"headers": PAGE}),
    "head": ("HEAD", MESSAGES, {}),
    "not there": ("GET", f"{MONITOR}/nothing", {}),
    "slash": ("GET", f"{MESSAGES}/?flow_id=FLOW", {"headers": {"host": "langflow.example"}}),
    "compressed builds": ("GET", f"{MONITOR}/builds?flow_id=FLOW", {"headers": {"accept-encoding": "gzip"}}),
    "a comma makes two values": ("GET", f"{MESSAGES}?flow_id=FLOW&session_id=a,b", {}),
    "an encoded comma too": ("GET", f"{MESSAGES}?flow_id=FLOW&session_id=a%2Cb", {}),
    "a body too long": ("PUT", f"{MESSAGES}/{uuid4()}", {"json": {"text": "x" * 2_000_000}}),
    "bad json": (
        "PUT",
        f"{MESSAGES}/{uuid4()}",
        {"content": b"{", "headers": {"content-type": "application/json"}},
    ),
    "a prefix": ("GET", f"{MESSAGES}?flow_id=FLOW", {"headers": {"x-forwarded-prefix": "/langflow"}}),
    "another language": ("GET", f"{MESSAGES}?flow_id=nonsense", {"headers": {"accept-language": "fr"}}),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_an_answer_comes_with_the_headers_of_a_stock_langflow(
    plugged: LangflowServer, stock: LangflowServer, flow: str, case: str
) -> None:
    method, url, options = REQUESTS[case]
    ours = ask(plugged, method, url.replace("FLOW", flow), **options)
    theirs = ask(stock, method, url.replace("FLOW", flow), **options)
    assert ours[:2] == theirs[:2]
    assert len(ours[2]) == len(theirs[2])


def test_openapi_is_that_of_a_stock_langflow(plugged: LangflowServer, stock: LangflowServer) -> None:
    assert plugged.http.get("/openapi.json").json() == stock.http.get("/openapi.json").json()


def test_live_changes_stream_through_all_of_langflows_middleware(plugged: LangflowServer, flow: str) -> None:
    key = {"x-api-key": plugged.http.headers["x-api-key"]}
    with httpx.stream(
        "GET", f"{plugged.url}{MESSAGES}/stream", params={"flow_id": flow}, headers=key, timeout=60
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        plugged.run(flow, "live", session_id="live")
        heard = (line for line in answer.iter_lines() if line.startswith("event: "))
        assert list(itertools.islice(heard, 2)) == ["event: created", "event: created"]


def test_a_messages_etag_spares_an_editors_poll(plugged: LangflowServer, flow: str) -> None:
    url, about = f"{plugged.url}{MESSAGES}", {"flow_id": flow}
    first = plugged.http.get(url, params=about)
    again = plugged.http.get(url, params=about, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plugged.run(flow, "more", session_id="more")
    poll(lambda: plugged.http.get(url, params=about).headers["etag"] != first.headers["etag"])
