"""Every fault once, under load: nothing is lost, doubled or torn, and writes resume by themselves.

A failure prints its seed: ``FAULTS_SEED=n`` plays it again (as far as timing allows).
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.disturbances import DISTURBANCES, Disturbance
from tests.faults.rounds import RESUME, Report, play
from tests.faults.topologies import Topology, deploy
from tests.support.servers import BINARIES

if TYPE_CHECKING:
    from pathlib import Path

SLACK = 2.0
"""Seconds that a busy machine may take longer to notice that writes are possible again."""
ELSEWHERE = {  # what is not played on Valkey
    "a_server_killed": "redis8",
    "clients_killed": "redis6",
    "scripts_forgotten": "redis6",
    "sentinel_primary_hangs": "redis7",
    "cluster_primary_killed": "redis7",
    "slots_migrated": "redis7",
}
BY_NAME = {each.name: each for each in DISTURBANCES}


def on(kind: str, topology: Topology, *names: str) -> object:
    missing = pytest.mark.skipif(BINARIES[kind] is None, reason=f"{kind} is not installed")
    return pytest.param(kind, topology, [BY_NAME[name] for name in names], id="+".join(names), marks=missing)


CASES = [on(ELSEWHERE.get(each.name, "valkey"), each.topologies[0], each.name) for each in DISTURBANCES]


def draw_seed() -> int:
    return int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))


def expect_well(report: Report) -> None:
    print(report)
    assert report.problems == []
    assert report.verdict.acknowledged > 100
    for name, lasted, gap in report.outages:
        assert gap <= lasted + RESUME + SLACK, f"{name} lasted {lasted:.1f} s, and writes paused {gap:.1f} s"


@pytest.mark.parametrize(("kind", "topology", "disturbances"), CASES)
async def test_nothing_is_lost_doubled_or_torn(
    kind: str, topology: Topology, disturbances: list[Disturbance], tmp_path: Path
) -> None:
    seed = draw_seed()
    print(f"seed {seed}")
    conf = {name: value for each in disturbances for name, value in each.conf.items()}
    async with deploy(topology, kind, tmp_path, conf) as deployment:
        expect_well(await play(deployment, disturbances, tmp_path, seed))


@pytest.mark.skipif(BINARIES["redis7"] is None, reason="Debian's redis-server is not installed")
async def test_with_tls_and_the_least_rights_that_are_documented(tmp_path: Path) -> None:
    seed = draw_seed()
    print(f"seed {seed}")
    disturbances = [BY_NAME["clients_killed"], BY_NAME["scripts_forgotten"], BY_NAME["a_server_restarted"]]
    async with deploy("tls+acl", "redis7", tmp_path) as deployment:
        expect_well(await play(deployment, disturbances, tmp_path, seed))
