"""Two servers on one Redis and one SQL database: what one does, the other shows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from .flows import chat

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer

    Pair = tuple[LangflowServer, LangflowServer]

MONITOR = "/api/v1/monitor"


@pytest.fixture
def flow(pair: Pair) -> str:
    return pair[0].create_flow(chat(f"pair {uuid4()}"))


@pytest.mark.parametrize("first", [0, 1])
def test_what_one_server_runs_the_other_reads_renames_and_deletes(pair: Pair, flow: str, first: int) -> None:
    runs, looks = pair[first], pair[1 - first]
    runs.run(flow, "hello", session_id="before")
    assert [shown["text"] for shown in looks.messages(flow_id=flow)] == ["hello", "hello"]
    assert looks.sessions(flow) == ["before"]

    url = f"{MONITOR}/messages/session/before"
    moved = looks.http.patch(url, params={"new_session_id": "after"}).raise_for_status().json()
    assert [shown["session_id"] for shown in moved] == ["after", "after"]
    assert runs.sessions(flow) == looks.sessions(flow) == ["after"]

    runs.run(flow, "again", session_id="after")
    first_id = looks.messages(flow_id=flow)[0]["id"]
    looks.http.put(f"{MONITOR}/messages/{first_id}", json={"text": "changed"}).raise_for_status()
    texts = ["changed", "hello", "again", "again"]
    assert [shown["text"] for shown in runs.messages(flow_id=flow, session_id="after")] == texts

    looks.http.request("DELETE", f"{MONITOR}/messages", json=[first_id]).raise_for_status()
    assert [shown["text"] for shown in runs.messages(flow_id=flow)] == texts[1:]
    looks.http.delete(f"{MONITOR}/messages/session/after").raise_for_status()
    assert runs.messages(flow_id=flow) == runs.sessions(flow) == []


def test_builds_and_transactions_of_one_server_are_seen_and_deleted_on_the_other(
    pair: Pair, flow: str
) -> None:
    runs, looks = pair
    runs.run(flow, "hello")
    about = {"flow_id": flow}
    builds = looks.http.get(f"{MONITOR}/builds", params=about).raise_for_status()
    assert set(builds.json()["vertex_builds"]) == {"ChatInput-1", "ChatOutput-1"}
    transactions = looks.http.get(f"{MONITOR}/transactions", params=about).raise_for_status()
    assert transactions.json()["total"] == 2
    assert builds.text == runs.http.get(f"{MONITOR}/builds", params=about).text
    assert transactions.text == runs.http.get(f"{MONITOR}/transactions", params=about).text

    looks.http.delete(f"{MONITOR}/builds", params=about).raise_for_status()
    assert runs.http.get(f"{MONITOR}/builds", params=about).json() == {"vertex_builds": {}}


def test_a_merge_on_one_server_is_one_session_on_the_other(pair: Pair, flow: str) -> None:
    one, other = pair
    for number in range(6):
        pair[number % 2].run(flow, str(number), session_id="even" if number % 2 else "odd")
    other.http.patch(f"{MONITOR}/messages/session/odd", params={"new_session_id": "even"}).raise_for_status()
    texts = [shown["text"] for shown in one.messages(flow_id=flow, session_id="even")]
    assert texts == [text for number in range(6) for text in [str(number)] * 2]
    assert one.sessions(flow) == ["even"]
