from __future__ import annotations

import pytest

from tests.support import valkey_server


@pytest.mark.backends("valkey")
def test_info_shows_the_server(cli, flow, backend) -> None:
    cli("add", flow, "hello")
    facts = cli("info", "--json").json
    assert facts["server"] == "valkey"
    assert facts["version"].startswith("9.")
    assert facts["flows"] == 1
    assert facts["prefix"] == backend.prefix
    assert facts["aof"] is False
    out = cli("info").out
    assert "Valkey 9." in out
    assert "no append-only file" in out


def test_info_has_the_same_shape_everywhere(cli, backend) -> None:
    facts = cli("info", "--json").json
    assert facts["kind"] == {"valkey": "standalone", "redis7": "standalone"}.get(backend.kind, backend.kind)
    assert facts["flows"] == 0
    assert facts["primaries"] == (3 if backend.kind == "cluster" else 1)
    assert cli("info").code == 0


@pytest.mark.backends("valkey")
def test_info_warns_of_a_server_that_evicts(cli) -> None:
    with valkey_server(maxmemory="50mb", maxmemory_policy="allkeys-lru") as server:
        assert "noeviction" in cli("info", "--url", server.url).err


@pytest.mark.backends("valkey")
def test_info_works_for_a_user_without_info(cli) -> None:
    user = [("default", "on", "nopass", "~*", "&*", "+@all", "-info")]
    with valkey_server(user=user) as server:
        outcome = cli("info", "--url", server.url)
    assert outcome.code == 0
    assert "not told" in outcome.out
