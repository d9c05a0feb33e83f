from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.backends("memory", "valkey")


def test_an_added_message_is_in_the_history(cli, flow) -> None:
    assert cli("add", flow, "Hello", "-s", "support-7").code == 0
    shown = cli("history", flow, "support-7")
    assert shown.code == 0
    assert "Hello" in shown.out
    assert shown.err == ""


def test_without_a_session_a_message_is_in_the_session_of_the_flows_id(cli, flow) -> None:
    assert cli("add", flow, "Hello", "--json").json["session_id"] == flow


def test_add_prints_the_message_as_json(cli, flow) -> None:
    message = cli(
        "add", flow, "Hi", "-s", "a", "--sender", "Machine", "--user-id", "ada",
        "--timestamp", "2026-01-31T12:00:00+01:00", "--json",
    ).json  # fmt: skip
    assert message["text"] == "Hi"
    assert message["sender"] == "Machine"
    assert message["sender_name"] == "AI"
    assert message["user_id"] == "ada"
    assert message["timestamp"] == "2026-01-31T11:00:00Z"
    assert set(message) >= {"id", "flow_id", "session_id", "cursor", "properties", "edit", "error", "files"}


def test_a_dash_reads_the_text_from_stdin_without_its_last_newline(cli, flow) -> None:
    cli("add", flow, "-", "-s", "a", stdin="two\nlines\n")
    assert cli("history", flow, "a", "--json").json[0]["text"] == "two\nlines"


def test_history_json_pages_by_cursor(cli, flow) -> None:
    for number in range(5):
        cli("add", flow, str(number), "-s", "a")
    newest = cli("history", flow, "a", "-n", "2", "--json").json
    older = cli("history", flow, "a", "-n", "2", "--before", newest[0]["cursor"], "--json").json
    assert [message["text"] for message in older + newest] == ["1", "2", "3", "4"]


def test_a_full_page_says_how_to_go_on(cli, flow) -> None:
    for number in range(2):
        cli("add", flow, str(number), "-s", "a")
    assert "--before" in cli("history", flow, "a", "-n", "1").err


def test_history_of_a_flow_has_all_its_sessions_oldest_first(cli, flow) -> None:
    for session in "abc":
        cli("add", flow, f"in {session}", "-s", session)
    texts = [message["text"] for message in cli("history", flow, "-n", "2", "--json").json]
    assert texts == ["in b", "in c"]


def test_history_can_be_narrowed_to_a_sender(cli, flow) -> None:
    cli("add", flow, "question", "-s", "a")
    cli("add", flow, "answer", "-s", "a", "--sender", "Machine")
    found = cli("history", flow, "a", "--sender", "Machine", "--json").json
    assert [message["text"] for message in found] == ["answer"]
    assert cli("history", flow, "a", "--sender", "Nobody", "--json").json == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[bold red]not markup[/bold red] [/]", "[bold red]not markup[/bold red] [/]"),
        (":smile: is not an emoji", ":smile: is not an emoji"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("C1 \x9b31m", r"C1 \x9b31m"),
        ("woman: \U0001f469\u200d\U0001f4bb", "woman: \U0001f469\u200d\U0001f4bb"),
    ],
)
def test_text_is_shown_as_text(cli, flow, text, shown) -> None:
    cli("add", flow, "-", "-s", "a", stdin=text)
    out = cli("history", flow, "a").out
    assert shown in out
    assert "\x1b" not in out


def test_a_session_id_with_control_characters_is_escaped(cli, flow) -> None:
    session = "a\x1b]0;title\x07\nb"
    cli("add", flow, "x", "-s", session)
    for shown in (cli("history", flow), cli("sessions", flow)):
        assert r"a\x1b]0;title\x07\nb" in shown.out
    assert "\x1b" not in cli("history", flow, session + "!").err


def test_json_is_ascii_and_keeps_every_character(cli, flow) -> None:
    text = "\u202e \x1b ü \U0001f600"
    cli("add", flow, text, "-s", "a")
    out = cli("history", flow, "a", "--json").out
    assert out.isascii()
    assert json.loads(out)[0]["text"] == text


def test_a_very_long_text_is_shown_in_part(cli, flow) -> None:
    cli("add", flow, "-", "-s", "a", stdin="x" * 5_000)
    assert "+3,000 characters" in " ".join(cli("history", flow, "a").out.split())


def test_a_session_that_is_not_there_is_not_found(cli, flow) -> None:
    cli("add", flow, "Hello", "-s", "support-7")
    outcome = cli("history", flow, "support-8")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no session 'support-8'" in outcome.err
    assert "redis-sessions sessions" in outcome.err


def test_flow_and_session_in_the_wrong_order_are_not_found(cli, flow) -> None:
    cli("add", flow, "Hello", "-s", "support-7")
    outcome = cli("history", "support-7", flow)
    assert outcome.code == 1
    assert "there is no flow 'support-7'" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("add", "F", ""), "empty"),
        (("add", "F"), "TEXT"),
        (("add", "{F}", "x"), "braces"),
        (("add", "F", "x", "-s", ""), "1 to 2,048 bytes"),
        (("add", "F", "x", "-s", "s" * 2_049), "2,049"),
        (("add", "F", "x", "--timestamp", "yesterday"), "2026-01-31T12:00:00Z"),
        (("add", "F", "x", "--timestamp", "2026-01-31T12:00:00"), "time zone"),
        (("add", "F", "x", "--timestamp", "1969-01-31T12:00:00Z"), "1970"),
        (("add", "F", "x", "--timestamp", "2999-01-31T12:00:00Z"), "ahead"),
        (("history", "F", "s", "--limit", "0"), "--limit"),
        (("history", "F", "s", "--before", "nonsense"), "cursor"),
        (("history", "F", "--before", "nonsense"), "SESSION"),
        (("history", "F", "s", "--sesion", "x"), "--sesion"),
        (("hstory", "F"), "hstory"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(cli, arguments, hint) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert hint in outcome.err
    assert "Traceback" not in outcome.err


def test_empty_stdin_stores_nothing(cli, flow) -> None:
    assert cli("add", flow, "-", stdin="").code == 2
    assert cli("sessions", flow).code == 1


def test_stdin_that_is_not_utf_8_is_refused(cli, flow) -> None:
    outcome = cli("add", flow, "-", stdin=b"caf\xe9")
    assert outcome.code == 2
    assert "UTF-8" in outcome.err


def test_a_text_over_the_limit_is_refused(cli, flow, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_MAX_TEXT_BYTES", "10")
    for stdin in ("x" * 11, "x" * 100, "ü" * 100):
        outcome = cli("add", flow, "-", stdin=stdin)
        assert outcome.code == 2
        assert "max_text_bytes" in outcome.err


def test_another_owners_flow_is_a_conflict(cli, flow) -> None:
    assert cli("add", flow, "mine", "--owner", "ada").code == 0
    outcome = cli("add", flow, "mine too", "--owner", "bob")
    assert outcome.code == 4
    assert "mine too" not in outcome.err
