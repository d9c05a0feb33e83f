"""Runs on a plugged-in server leave the messages that the same runs leave on a stock one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.langflow import flows

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer


@pytest.mark.parametrize("way", ["update", "stream", "fail"])
@pytest.mark.parametrize("streamed", [False, True], ids=["run", "run streamed"])
def test_run(plugged: LangflowServer, stock: LangflowServer, way: str, streamed: bool) -> None:
    assert _run(plugged, way, streamed) == _run(stock, way, streamed)


@pytest.mark.parametrize("way", ["update", "stream", "fail"])
def test_build_in_the_playground(plugged: LangflowServer, stock: LangflowServer, way: str) -> None:
    assert _build(plugged, way) == _build(stock, way)


def test_an_updated_message_is_one_and_unedited(plugged: LangflowServer) -> None:
    flow = plugged.create_flow(flows.agent("update"))
    plugged.run(flow, "hello", session_id="s")
    texts = [(message["text"], message["edit"]) for message in plugged.messages(flow_id=flow)]
    assert texts == [("hello", False), ("20 steps", False)]


def _run(server: LangflowServer, way: str, streamed: bool) -> Any:
    flow = server.create_flow(flows.agent(way))
    body = {"input_value": "hello", "input_type": "chat", "output_type": "chat", "session_id": "s"}
    answer = server.http.post(f"/api/v1/run/{flow}", params={"stream": streamed}, json=body)
    answer.read()
    return answer.status_code, _stored(server, flow)


def _build(server: LangflowServer, way: str) -> Any:
    flow = server.create_flow(flows.agent(way))
    events = server.build(flow, {"inputs": {"input_value": "hello", "session": "s"}})
    return [event["event"] for event in events if event["event"] != "build_start"], _stored(server, flow)


def _stored(server: LangflowServer, flow: str) -> list[dict[str, Any]]:
    made = ("id", "flow_id", "timestamp")
    return [
        {name: value for name, value in message.items() if name not in made and name != "session_metadata"}
        | {"properties": message["properties"] | {"build_duration": None}}
        for message in server.messages(flow_id=flow)
    ]
