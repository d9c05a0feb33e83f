from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.cli.conftest import command_line
from tests.support import poll, valkey_server

pytestmark = pytest.mark.backends("valkey")


def test_changes_are_shown_as_they_happen_and_ctrl_c_ends_it(cli, flow, started) -> None:
    tail = started("tail", flow)
    tail.wait_for("following", tail.err)
    cli("add", flow, "hello\nthere \x1b[31m", "-s", "a")
    cli("rename", flow, "a", "b")
    cli("delete", flow, "b", "--yes")
    tail.wait_for("deleted", tail.out)
    assert tail.stop(signal.SIGINT) == 0
    assert tail.out[0].startswith("created  a  ")
    assert tail.out[0].endswith("User: hello")
    assert tail.out[1:] == [r"    there \x1b[31m", "renamed  b  was a", "deleted  b  the whole session"]
    assert not any("Traceback" in line for line in tail.err)


def test_a_flow_that_is_not_there_yet_is_followed_and_that_is_said(cli, started) -> None:
    tail = started("tail", "mistyped")
    tail.wait_for("nothing is in it yet", tail.err)
    cli("add", "mistyped", "hello")
    tail.wait_for("created", tail.out)
    assert tail.stop(signal.SIGINT) == 0


def test_json_is_one_object_a_line_with_the_same_keys(cli, flow, started) -> None:
    cli("add", flow, "first", "-s", "a")
    cli("delete", flow, "a", "--yes")
    tail = started("tail", flow, "--json", "--after", "0-0")
    tail.wait_for("deleted", tail.out)
    assert tail.stop() == 0
    created, deleted = map(json.loads, tail.out)
    assert set(created) == set(deleted)
    assert (created["type"], created["session_id"]) == ("created", "a")
    assert deleted["message_id"] is None


def test_it_goes_on_behind_an_event(cli, flow, started) -> None:
    for text in ("one", "two"):
        cli("add", flow, text)
    first = started("tail", flow, "--json", "--after", "0-0")
    first.wait_for("two", first.out)
    first.stop()
    second = started("tail", flow, "--json", "--after", json.loads(first.out[0])["id"])
    second.wait_for("two", second.out)
    second.stop()
    assert len(second.out) == 1


def test_a_session_is_followed_through_a_rename(cli, flow, started) -> None:
    tail = started("tail", flow, "a", "--json")
    tail.wait_for("following", tail.err)
    cli("add", flow, "mine", "-s", "a")
    cli("add", flow, "another's", "-s", "x")
    cli("rename", flow, "a", "b")
    cli("add", flow, "still mine", "-s", "b")
    tail.wait_for("still mine", tail.out)
    assert tail.stop() == 0
    assert [json.loads(line)["type"] for line in tail.out] == ["created", "renamed", "created"]


def test_a_gap_is_told_and_it_goes_on(cli, flow, started) -> None:
    tail = started("tail", flow, "--json", "--after", "1-1")
    tail.wait_for("missed", tail.err)
    tail.wait_for('"type":"gap"', tail.out)
    cli("add", flow, "after the gap")
    tail.wait_for("after the gap", tail.out)
    assert tail.stop() == 0


def test_it_goes_on_after_redis_was_away(cli, flow, started) -> None:
    with valkey_server(appendonly=True, appendfsync="always") as server:
        cli("add", flow, "before", "--url", server.url)
        tail = started("tail", flow, "--url", server.url, "--deadline", "0.3")
        tail.wait_for("following", tail.err)
        server.stop()
        tail.wait_for("waiting for it", tail.err)
        server.restart()
        cli("add", flow, "afterwards", "--url", server.url)
        tail.wait_for("afterwards", tail.out)
        tail.wait_for("answers again", tail.err)
        assert tail.stop() == 0
        assert len([line for line in tail.out if "before" in line]) == 0


def test_a_redis_that_was_never_there_is_unavailable(cli, flow) -> None:
    assert cli("tail", flow, "--url", "redis://127.0.0.1:1", "--deadline", "0.2").code == 3


@pytest.mark.parametrize("arguments", [("{x}",), ("f", ""), ("f", "--after", "yesterday")])
def test_bad_input_is_refused(cli, arguments) -> None:
    assert cli("tail", *arguments).code == 2


def test_a_reader_that_leaves_ends_it(cli, flow) -> None:
    ours, theirs = os.pipe()
    with subprocess.Popen(command_line("tail", flow), stdout=theirs, stderr=subprocess.PIPE) as tail:
        os.close(theirs)
        os.close(ours)
        assert tail.stderr is not None
        assert b"following" in tail.stderr.readline()

        def ended() -> bool:
            cli("add", flow, "is anybody there?")
            return tail.poll() is not None

        try:
            poll(ended, timeout=30)
        finally:
            tail.kill()
    assert tail.returncode == 0
