"""Langflow on PostgreSQL with the plug-in: two servers, started at once on an empty database, one Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.langflow import flows
from tests.support.langflow import LangflowServer
from tests.support.waiting import poll
from tests.transfer.postgres import FOLDER, postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

    Pair = tuple[LangflowServer, LangflowServer]

pytestmark = pytest.mark.skipif(FOLDER is None, reason="Debian's postgresql is not installed")


@pytest.fixture(scope="module")
def pair(valkey: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with postgresql() as server:
        options = {
            "database": server.new_database(),
            "REDIS_SESSIONS_URL": valkey.url,
            "REDIS_SESSIONS_PREFIX": "postgresql",
        }
        servers = (
            LangflowServer(tmp_path_factory.mktemp("one"), **options),
            LangflowServer(tmp_path_factory.mktemp("other"), **options),
        )
        try:
            for one in servers:
                one.spawn()
            for one in servers:
                one.wait_until_ready()
            yield servers
        finally:
            for one in servers:
                one.close()


def test_concurrent_runs_of_one_session_on_both(pair: Pair) -> None:
    flow = pair[0].create_flow(flows.history("both", messages=10))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: pair[n % 2].run(flow, "{sender}", session_id="s"), range(4)))
    seen = [server.messages(flow_id=flow, session_id="s") for server in pair]
    assert seen[0] == seen[1]
    assert sorted(message["sender"] for message in seen[0]) == ["Machine"] * 4 + ["User"] * 4
    assert [message["timestamp"] for message in seen[0]] == sorted(
        message["timestamp"] for message in seen[0]
    )


def test_langflows_tables_get_no_message_transaction_or_build(pair: Pair) -> None:
    from sqlalchemy import create_engine, text

    flow = pair[0].create_flow(flows.chat("tables"))
    pair[0].run(flow, "hello", session_id="s")
    where = {"params": {"flow_id": flow}}
    for kind in ("transactions", "builds"):
        poll(lambda kind=kind: any(pair[1].http.get(f"/api/v1/monitor/{kind}", **where).json().values()))
    engine = create_engine(pair[0].database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        for table in ("message", "transaction", "vertex_build"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table
    engine.dispose()


def test_a_flow_that_one_deletes_takes_its_sessions_along(pair: Pair, valkey: Server) -> None:
    one, other = pair
    flow = one.create_flow(flows.chat("deleted"))
    one.run(flow, "hello", session_id="s")
    assert other.sessions(flow) == ["s"]
    other.http.delete(f"/api/v1/flows/{flow}").raise_for_status()
    poll(lambda: not valkey.client().keys(f"postgresql:{{{flow}}}:log:*"))
