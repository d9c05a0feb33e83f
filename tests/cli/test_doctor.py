from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.talk import FLOW, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Cli
    from tests.conftest import Backend


def test_doctor_finds_a_new_store_healthy(cli: Cli, in_store: Callable[..., object]) -> None:
    in_store(say)
    outcome = cli("doctor")
    assert outcome.code == 0
    assert "Healthy." in outcome.out
    assert cli("doctor", "--json").json["findings"] == []


@pytest.mark.backends("valkey")
def test_doctor_finds_repairs_and_says_so(
    cli: Cli, in_store: Callable[..., object], backend: Backend
) -> None:
    in_store(say)
    backend.redis.hdel(f"{backend.prefix}:{{{FLOW}}}:ids", "schat")

    found = cli("doctor")
    assert found.code == 6
    assert "PROBLEM  logs without names: 1\n         flow flow: chat has messages and no name" in found.out
    assert "--repair" in found.err
    report = cli("doctor", "--json")
    assert (report.code, report.json["healthy"]) == (6, False)
    [kind] = [kind for kind in report.json["findings"] if kind["kind"] == "log_without_name"]
    assert (kind["kind"], kind["found"], kind["mended"]) == ("log_without_name", 1, 0)

    repaired = cli("doctor", "--repair")
    assert repaired.code == 0
    assert "-> restored 1 message\n" in repaired.out
    assert cli("doctor").code == 0


@pytest.mark.backends("valkey")
def test_doctor_says_what_it_cannot_repair(
    cli: Cli, in_store: Callable[..., object], backend: Backend
) -> None:
    in_store(say)
    backend.redis.xadd(f"{backend.prefix}:{{{FLOW}}}:log:chat", {"b": "x"}, id="9999999999999999-1")
    outcome = cli("doctor", "--repair")
    assert outcome.code == 6
    assert "docs/doctor.md" in outcome.err
