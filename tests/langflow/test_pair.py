"""Two servers, one Redis and one SQL database: what one does, the other sees at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.langflow import flows

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer

    Pair = tuple[LangflowServer, LangflowServer]


def test_a_run_on_one_is_read_renamed_and_deleted_on_the_other(pair: Pair) -> None:
    one, other = pair
    flow = one.create_flow(flows.chat("pair"))
    one.run(flow, "hello", session_id="first")
    assert [message["text"] for message in other.messages(flow_id=flow)] == ["hello", "hello"]
    assert other.sessions(flow) == ["first"]

    renamed = other.http.patch("/api/v1/monitor/messages/session/first", params={"new_session_id": "second"})
    assert renamed.status_code == 200
    assert one.sessions(flow) == ["second"]
    assert {message["session_id"] for message in one.messages(flow_id=flow)} == {"second"}

    assert one.http.delete("/api/v1/monitor/messages/session/second").status_code == 204
    assert other.sessions(flow) == []
    assert other.messages(flow_id=flow) == []


def test_history_is_that_of_both(pair: Pair) -> None:
    flow = pair[0].create_flow(flows.history("both", messages=10))
    for server in (*pair, *pair):
        answer = server.run(flow, "{sender_name}", session_id="s")
    said = answer["outputs"][0]["outputs"][0]["results"]["message"]["text"]
    assert said.split() == ["User", "AI"] * 3 + ["User"]


def test_ten_concurrent_runs_of_one_session_on_both(pair: Pair) -> None:
    flow = pair[0].create_flow(flows.chat("ten"))
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda n: pair[n % 2].run(flow, f"run {n}", session_id="s"), range(10)))
    seen = [server.messages(flow_id=flow, session_id="s") for server in pair]
    assert seen[0] == seen[1]
    messages = seen[0]
    assert sorted(message["text"] for message in messages) == sorted(
        f"run {n}" for n in range(10) for _ in range(2)
    )
    assert len({message["id"] for message in messages}) == 20
    times = [message["timestamp"] for message in messages]
    assert times == sorted(times)
    for n in range(10):  # what was said comes before its answer
        assert [each["sender"] for each in messages if each["text"] == f"run {n}"] == ["User", "Machine"]
