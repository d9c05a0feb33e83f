from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.mark.backends("valkey", "cluster")
def test_bench_prints_a_table_and_leaves_nothing(cli: Cli) -> None:
    outcome = cli("bench", "--rounds", "3")
    assert outcome.code == 0
    assert "XADD of the" in outcome.out
    assert len(cli("bench", "--rounds", "1", "--json").json) == 7
    assert cli("doctor", "--json").json["keys"] == 0
