"""Flows with the component, in a stock Langflow without the plug-in's takeover, over its HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.langflow.component import flows
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer
    from tests.support.servers import Server


def said(answer: dict[str, Any]) -> str:
    return str(answer["outputs"][0]["outputs"][0]["results"]["message"]["text"])


def change(server: LangflowServer, flow_id: str, flow: dict[str, Any]) -> None:
    server.http.patch(f"/api/v1/flows/{flow_id}", json={"data": flow["data"]}).raise_for_status()


def test_message_history_stores_and_retrieves(stock: LangflowServer, valkey: Server) -> None:
    flow = stock.create_flow(flows.storing(valkey.url))
    for text in ("one", "two", "three"):
        assert said(stock.run(flow, text, session_id="monday")) == text

    change(stock, flow, flows.retrieving(valkey.url, messages=2))

    assert said(stock.run(flow, "{text}", session_id="monday")) == "two\nthree"
    assert said(stock.run(flow, "{text}", session_id="tuesday")) == ""


def test_without_a_session_id_the_flows_is_used(stock: LangflowServer, valkey: Server) -> None:
    flow = stock.create_flow(flows.storing(valkey.url))

    stock.run(flow, "Hello!")

    assert valkey.client().keys(f"rs:{{{flow}}}:log:*") == [f"rs:{{{flow}}}:log:{flow}".encode()]


def test_the_playground_builds_it(stock: LangflowServer, valkey: Server) -> None:
    flow = stock.create_flow(flows.storing(valkey.url))

    events = stock.build(flow, {"inputs": {"input_value": "Hello!", "session": "monday"}})

    built = {
        event["data"]["build_data"]["id"]: event["data"]["build_data"]["valid"]
        for event in events
        if event["event"] == "end_vertex"
    }
    assert built == {"ChatInput-1": True, "Redis-1": True, "Memory-1": True, "ChatOutput-1": True}
    assert valkey.client().xlen(f"rs:{{{flow}}}:log:monday") == 1


def test_a_component_from_the_editors_sidebar_works(stock: LangflowServer, valkey: Server) -> None:
    [(name, offered)] = stock.http.get("/api/v1/all").json()["redis_sessions"].items()
    offered["template"]["url"] |= {"value": valkey.url, "load_from_db": False}
    flow = flows.storing(valkey.url)
    [node] = [node for node in flow["data"]["nodes"] if node["id"] == "Redis-1"]
    node["data"] |= {"node": offered, "type": name}

    flow_id = stock.create_flow(flow)

    assert said(stock.run(flow_id, "Hello!", session_id="monday")) == "Hello!"
    assert valkey.client().xlen(f"rs:{{{flow_id}}}:log:monday") == 1


def test_credentials_may_be_langflows_variables(stock: LangflowServer) -> None:
    with valkey_server(requirepass="p@ss/w#rd") as server:
        for name, value in (
            ("OUR_REDIS", f"redis://127.0.0.1:{server.port}/0"),
            ("OUR_PASSWORD", "p@ss/w#rd"),
        ):
            stock.http.post(
                "/api/v1/variables/",
                json={"name": name, "value": value, "type": "Credential", "default_fields": []},
            ).raise_for_status()
        flow = flows.storing("OUR_REDIS", password="OUR_PASSWORD")
        [node] = [node for node in flow["data"]["nodes"] if node["id"] == "Redis-1"]
        for field in ("url", "password"):
            node["data"]["node"]["template"][field]["load_from_db"] = True

        assert said(stock.run(stock.create_flow(flow), "Hello!")) == "Hello!"


def test_a_wrong_password_is_told_and_not_shown(stock: LangflowServer) -> None:
    with valkey_server(requirepass="right") as server:
        flow = stock.create_flow(flows.storing(f"redis://127.0.0.1:{server.port}/0", password="S3cret/Wrong"))

        with pytest.raises(RuntimeError, match="does not accept the credentials") as caught:
            stock.run(flow, "Hello!")
    assert "S3cret/Wrong" not in str(caught.value) + stock.log


def test_twenty_builds_take_a_connection_for_coroutines_and_one_for_threads(stock: LangflowServer) -> None:
    with valkey_server() as server:
        flow = stock.create_flow(flows.storing(server.url))
        stock.run(flow, "the first")
        before = server.client().info("stats")["total_connections_received"]

        for number in range(20):
            stock.run(flow, str(number))

        assert server.client().info("stats")["total_connections_received"] == before
        assert [client["name"] for client in server.client().client_list()].count("redis-sessions") == 2


def test_twenty_builds_of_todays_take_twenty(stock: LangflowServer, valkey: Server) -> None:
    flow = stock.create_flow(flows.storing(valkey.url, flows.TodaysComponent))
    before = valkey.client().info("stats")["total_connections_received"]

    for number in range(20):
        stock.run(flow, str(number))

    assert valkey.client().info("stats")["total_connections_received"] == before + 20


def test_langflows_own_messages_stay_where_they_were(stock: LangflowServer, valkey: Server) -> None:
    flow = stock.create_flow(flows.storing(valkey.url))

    stock.run(flow, "Hello!", session_id="monday")

    assert [message["text"] for message in stock.messages(flow_id=flow)] == ["Hello!", "Hello!"]
    [log] = valkey.client().keys(f"rs:{{{flow}}}:log:*")
    assert valkey.client().xlen(log) == 1


def test_a_redis_that_is_gone_fails_the_run_and_not_the_server(stock: LangflowServer) -> None:
    with valkey_server() as server:
        flow = stock.create_flow(flows.storing(server.url))
        stock.run(flow, "one")
        server.kill()

        with pytest.raises(RuntimeError, match="500"):
            stock.run(flow, "two")
        assert stock.healthy()

        server.restart()
        assert said(stock.run(flow, "three")) == "three"


def test_a_forbidden_host_is_told(stock: LangflowServer) -> None:
    flow = stock.create_flow(flows.storing("redis://ada:S3cret@169.254.169.254:6379/0"))

    with pytest.raises(RuntimeError, match=r"169\.254\.169\.254 is blocked by SSRF protection") as caught:
        stock.run(flow, "Hello!")
    assert "S3cret" not in str(caught.value) + stock.log
