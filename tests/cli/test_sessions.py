from __future__ import annotations

import pytest

pytestmark = pytest.mark.backends("memory", "valkey")


def test_sessions_are_listed_with_the_newest_activity_first(cli, flow) -> None:
    for session in "ab":
        cli("add", flow, f"hello {session}", "-s", session)
    listed = cli("sessions", flow, "--json").json
    assert [entry["session_id"] for entry in listed] == ["b", "a"]
    assert all(entry["flow_id"] == flow for entry in listed)
    assert listed[0]["last_message_at"] > listed[1]["last_message_at"]
    assert "User: hello b" in cli("sessions", flow).out


def test_of_a_long_last_message_the_first_words_are_shown(cli, flow) -> None:
    cli("add", flow, "one\ntwo " * 20, "-s", "a")
    assert "User: one two one two" in cli("sessions", flow).out
    assert "…" in cli("sessions", flow).out


def test_without_a_flow_the_sessions_of_all_flows_are_listed(cli) -> None:
    for flow in ("f1", "f2"):
        cli("add", flow, "hello")
    pairs = {(entry["flow_id"], entry["session_id"]) for entry in cli("sessions", "--json").json}
    assert pairs == {("f1", "f1"), ("f2", "f2")}
    assert len(cli("sessions", "-n", "1", "--json").json) == 1


def test_sessions_page_by_offset(cli, flow) -> None:
    for session in "abc":
        cli("add", flow, "hello", "-s", session)
    page = cli("sessions", flow, "-n", "1", "--offset", "1", "--json").json
    assert [entry["session_id"] for entry in page] == ["b"]
    assert cli("sessions", flow, "--offset", "9", "--json").json == []
    assert cli("sessions", "--offset", "1").code == 2


def test_an_empty_store_has_no_sessions_and_that_is_fine(cli) -> None:
    assert cli("sessions", "--json").json == []
    assert "no sessions" in cli("sessions").err


def test_a_flow_that_is_not_there_is_not_found(cli) -> None:
    outcome = cli("sessions", "nowhere")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no flow 'nowhere'" in outcome.err


def test_rename_moves_the_session(cli, flow) -> None:
    cli("add", flow, "hello", "-s", "old")
    assert cli("rename", flow, "old", "new", "--json").json == {
        "flow_id": flow, "old_session_id": "old", "session_id": "new", "outcome": "renamed", "messages": 1,
    }  # fmt: skip
    assert cli("history", flow, "old").code == 1
    assert cli("history", flow, "new").code == 0


def test_rename_onto_a_session_says_that_it_merged(cli, flow) -> None:
    for session in ("old", "new"):
        cli("add", flow, "hello", "-s", session)
    out = cli("rename", flow, "old", "new").out
    assert "Merged" in out
    assert "2 messages" in out


def test_a_merge_over_the_limit_is_a_conflict(cli, flow, monkeypatch) -> None:
    for session in ("old", "new"):
        cli("add", flow, "hello", "-s", session)
    monkeypatch.setenv("REDIS_SESSIONS_MAX_MERGE", "1")
    assert cli("rename", flow, "old", "new").code == 4
    assert cli("history", flow, "old").code == 0


def test_rename_of_what_is_not_there_is_not_found(cli, flow) -> None:
    assert cli("rename", flow, "old", "new").code == 1


def test_an_id_that_begins_with_a_dash_stands_behind_two(cli, flow) -> None:
    assert cli("add", flow, "hello", "--session=-x").code == 0
    assert cli("rename", flow, "-x", "y").code == 2
    assert cli("rename", flow, "--", "-x", "y").code == 0


def test_delete_with_yes_deletes(cli, flow) -> None:
    for session in ("user1", "user10"):
        cli("add", flow, "hello", "-s", session)
    assert cli("delete", flow, "user1", "--yes", "--json").json == {
        "flow_id": flow, "session_id": "user1", "sessions": 1, "messages": 1,
    }  # fmt: skip
    assert [entry["session_id"] for entry in cli("sessions", flow, "--json").json] == ["user10"]


def test_delete_where_nobody_can_answer_refuses(cli, flow) -> None:
    cli("add", flow, "hello", "-s", "a")
    outcome = cli("delete", flow, "a", stdin="y\n")
    assert outcome.code == 2
    assert "--yes" in outcome.err
    assert cli("history", flow, "a").code == 0


def test_delete_of_what_is_not_there_is_not_found(cli, flow) -> None:
    cli("add", flow, "hello", "-s", "a")
    assert cli("delete", flow, "b", "--yes").code == 1
    assert cli("delete", "nowhere", "--all", "--yes").code == 1


def test_delete_without_a_session_needs_all(cli, flow) -> None:
    cli("add", flow, "hello")
    assert cli("delete", flow, "--yes").code == 2
    assert cli("delete", flow, "a", "--all", "--yes").code == 2
    assert cli("history", flow).code == 0


def test_delete_all_deletes_the_flow(cli, flow) -> None:
    for session in "ab":
        cli("add", flow, "hello", "-s", session)
    answer = cli("delete", flow, "--all", "--yes", "--json").json
    assert answer == {"flow_id": flow, "session_id": None, "sessions": 2, "messages": None}
    assert cli("sessions", "--json").json == []


@pytest.mark.backends("valkey")
class TestAtATerminal:
    def test_yes_deletes(self, cli, flow, terminal) -> None:
        cli("add", flow, "hello", "-s", "a")
        outcome = terminal("delete", flow, "a", "--json", typed="y\n")
        assert outcome.code == 0
        assert "Delete session 'a'" in outcome.err
        assert outcome.json["messages"] == 1

    @pytest.mark.parametrize("typed", ["n\n", "\n", "\x04"])
    def test_anything_else_does_not(self, cli, flow, terminal, typed) -> None:
        cli("add", flow, "hello", "-s", "a")
        outcome = terminal("delete", flow, "a", typed=typed)
        assert (outcome.code, outcome.out) == (1, "")
        assert cli("history", flow, "a").code == 0

    def test_there_is_no_question_about_what_is_not_there(self, cli, flow, terminal) -> None:
        outcome = terminal("delete", flow, "a", typed="")
        assert outcome.code == 1
        assert "?" not in outcome.err
