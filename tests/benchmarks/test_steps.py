"""What an append is made of, as ``python -m benchmarks.steps`` measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from benchmarks import steps
from redis_sessions.blocking import SessionStore
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    import pytest


def test_every_step_is_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.argv", ["steps", "--rounds", "1"])
    steps.main()
    shown = capsys.readouterr().out
    assert "1.00 ×" in shown
    for step in ("LPUSH, in a script", "MULTI", "the script of an append", "SessionStore.append"):
        assert step in shown


def test_the_bare_script_stores_what_an_append_stores() -> None:
    with (
        valkey_server() as server,
        SessionStore.from_url(server.url) as store,
        redis.Redis(port=server.port) as client,
    ):
        calls = steps.steps(client, store)
        calls["the script of an append, bare"]()
        calls["blocking SessionStore.append"]()
        assert store.length("flow", "session") == 3
        assert client.xlen("rs:{flow}:feed") == 3
