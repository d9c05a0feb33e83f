"""Redis goes away under a running Langflow, for two seconds and for good."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.langflow import flows
from tests.support.langflow import LangflowServer, langflow_server
from tests.support.servers import Server, valkey_server
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 5.0
SLACK = 30.0
"""What else a run takes on a busy machine; were every call to wait, it would be ten deadlines."""


@pytest.fixture(scope="module")
def fragile() -> Iterator[Server]:
    """A Valkey to be killed, which keeps what it acknowledged."""
    with valkey_server(appendonly=True) as server:
        yield server


@pytest.fixture(scope="module")
def langflow(fragile: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangflowServer]:
    folder = tmp_path_factory.mktemp("fragile")
    with langflow_server(
        folder, REDIS_SESSIONS_URL=fragile.url, REDIS_SESSIONS_DEADLINE=str(DEADLINE)
    ) as server:
        yield server


def test_killed_during_a_run_and_back_after_two_seconds(langflow: LangflowServer, fragile: Server) -> None:
    flow = langflow.create_flow(flows.agent("slow"))
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(langflow.run, flow, "hello", session_id="s")
        poll(lambda: fragile.client().xlen(f"rs:{{{flow}}}:log:s") >= 3 or run.done(), timeout=60)
        assert not run.done()
        fragile.kill()
        back = time.monotonic() + 2
        poll(lambda: time.monotonic() > back)
        fragile.restart()
        run.result(120)
    texts = [message["text"] for message in langflow.messages(flow_id=flow)]
    assert texts == ["hello", "100 steps"]


def test_gone_for_good(langflow: LangflowServer, fragile: Server) -> None:
    flow = langflow.create_flow(flows.chat())
    langflow.run(flow, "before", session_id="s")
    fragile.kill()
    try:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(RuntimeError, match="Redis cannot be reached"):
                langflow.run(flow, "meanwhile", session_id="s")
            assert time.monotonic() - began < DEADLINE + SLACK
            assert langflow.http.get("/health").status_code == 200
        assert langflow.http.get("/api/v1/monitor/messages", params={"flow_id": flow}).status_code == 503
        assert langflow.alive
    finally:
        fragile.restart()
    poll(lambda: langflow.http.get("/api/v1/monitor/messages", params={"flow_id": flow}).is_success)
    langflow.run(flow, "after", session_id="s")
    assert [message["text"] for message in langflow.messages(flow_id=flow)] == [
        "before",
        "before",
        "after",
        "after",
    ]
