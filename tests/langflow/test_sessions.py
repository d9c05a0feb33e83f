"""Session ids, as Langflow documents them: the plugged-in server stores under those that a stock one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.langflow import flows
from tests.support.langflow import LangflowServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

NONE, SAVED = {}, {"heard_in": "saved"}
OUTPUT, BOTH = {"said_in": "said"}, {"heard_in": "saved", "said_in": "said"}
TWEAKS = {"ChatInput-1": {"session_id": "tweaked"}}


@pytest.mark.parametrize("saved", [NONE, SAVED, OUTPUT, BOTH], ids=["none", "input", "output", "both"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session_id": None},
        {"session_id": ""},
        {"session_id": "custom"},
        {"tweaks": TWEAKS},
        {"session_id": "custom", "tweaks": TWEAKS},
    ],
    ids=["absent", "null", "empty", "custom", "tweaked", "custom-tweaked"],
)
def test_run(
    plugged: LangflowServer, stock: LangflowServer, saved: dict[str, str], body: dict[str, Any]
) -> None:
    assert _run(plugged, saved, body) == _run(stock, saved, body)


@pytest.mark.parametrize("saved", [NONE, SAVED, OUTPUT, BOTH], ids=["none", "input", "output", "both"])
@pytest.mark.parametrize(
    "inputs", [{}, {"session": "asked"}, {"session": ""}], ids=["absent", "asked", "empty"]
)
def test_build(
    plugged: LangflowServer, stock: LangflowServer, saved: dict[str, str], inputs: dict[str, Any]
) -> None:
    assert _build(plugged, saved, inputs) == _build(stock, saved, inputs)


def test_what_is_documented(plugged: LangflowServer) -> None:
    """The rules themselves, so that two servers do not agree on something else."""
    assert _run(plugged, BOTH, {"session_id": "custom"}) == ["custom", "User custom", "Machine custom"]
    assert _run(plugged, NONE, {}) == ["FLOW", "User FLOW", "Machine FLOW"]
    assert _build(plugged, NONE, {"session": "asked"}) == ["User asked", "Machine asked"]
    assert _build(plugged, NONE, {}) == ["User FLOW", "Machine FLOW"]
    assert _build(plugged, SAVED, {"session": "asked"})[0] == "User saved"


@pytest.fixture(scope="module")
def behind_a_gateway(
    valkey: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LangflowServer, LangflowServer]]:
    """A plugged-in and a stock server that are told who the end user is."""
    told = {"LANGFLOW_SERVING_END_USER_HEADER": "X-End-User", "LANGFLOW_SERVING_TRUST_PROXY_HEADERS": "true"}
    redis = {"REDIS_SESSIONS_URL": valkey.url, "REDIS_SESSIONS_PREFIX": "gateway"}
    pair = (
        LangflowServer(tmp_path_factory.mktemp("plugged"), **told, **redis),
        LangflowServer(tmp_path_factory.mktemp("stock"), **told),
    )
    try:
        for server in pair:
            server.spawn()
        for server in pair:
            server.wait_until_ready()
        yield pair
    finally:
        for server in pair:
            server.close()


def test_end_users_have_sessions_of_their_own(
    behind_a_gateway: tuple[LangflowServer, LangflowServer],
) -> None:
    outcomes = []
    for server in behind_a_gateway:
        flow = server.create_flow(flows.chat())
        seen = []
        for headers in ({"X-End-User": "ann"}, {"X-End-User": "bob"}, {}):
            for session in ("s", None):
                body = {
                    "input_value": "hello",
                    "input_type": "chat",
                    "output_type": "chat",
                    "session_id": session,
                }
                answer = server.http.post(f"/api/v1/run/{flow}", json=body, headers=headers)
                name = answer.json()["session_id"].replace(flow, "FLOW")
                seen.append("anonymous" if name.startswith("anon::") else name)
        stored = {message["session_id"].replace(flow, "FLOW") for message in server.messages(flow_id=flow)}
        outcomes.append((seen, stored, len(server.messages(flow_id=flow))))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == {"ann::s", "ann::FLOW", "bob::s", "bob::FLOW"}


def _run(server: LangflowServer, saved: dict[str, str], body: dict[str, Any]) -> list[str]:
    flow = server.create_flow(flows.chat(**saved))
    answer = server.run(flow, "hello", **body)
    return [answer["session_id"].replace(flow, "FLOW"), *_stored(server, flow)]


def _build(server: LangflowServer, saved: dict[str, str], inputs: dict[str, Any]) -> list[str]:
    flow = server.create_flow(flows.chat(**saved))
    server.build(flow, {"inputs": {"input_value": "hello", **inputs}})
    return _stored(server, flow)


def _stored(server: LangflowServer, flow: str) -> list[str]:
    return [
        f"{message['sender']} {message['session_id'].replace(flow, 'FLOW')}"
        for message in server.messages(flow_id=flow)
    ]
