"""Every fault once, under load: nothing is lost, doubled or torn, and writes resume by themselves.

A failure prints its seed: ``FAULTS_SEED=n`` plays it again (as far as timing allows).
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.disturbances import DISTURBANCES, Disturbance
from tests.faults.rounds import Report, play
from tests.faults.topologies import Topology, deploy
from tests.support.servers import BINARIES

if TYPE_CHECKING:
    from pathlib import Path

TOGETHER = (  # one after the other in a round, on servers that are not Valkey
    ("redis8", "a_server_killed", "answers_dropped", "memory_full"),
    ("redis6", "clients_killed", "scripts_forgotten", "a_server_killed", "requests_dropped"),
)
ELSEWHERE = {  # what is not played on Valkey
    "sentinel_primary_hangs": "redis7",
    "cluster_primary_killed": "redis7",
    "slots_migrated": "redis7",
}
BY_NAME = {each.name: each for each in DISTURBANCES}


def on(kind: str, topology: Topology, *names: str) -> object:
    missing = pytest.mark.skipif(BINARIES[kind] is None, reason=f"{kind} is not installed")
    return pytest.param(kind, topology, [BY_NAME[name] for name in names], id="+".join(names), marks=missing)


ON_VALKEY_TOO = ("answers_dropped", "memory_full", "requests_dropped")
BY_HAND = ("sentinel_primary_killed",)
"""Played by the soak only: the same with WAITAOF is played here, and takes 25 s."""
ALONE = [
    each
    for each in DISTURBANCES
    if each.name in ON_VALKEY_TOO
    or not (each.name in BY_HAND or any(each.name in names for _, *names in TOGETHER))
]
CASES = [
    *(on(ELSEWHERE.get(each.name, "valkey"), each.topologies[0], each.name) for each in ALONE),
    *(on(kind, "single", *names) for kind, *names in TOGETHER),
]


def draw_seed() -> int:
    return int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))


def expect_well(report: Report) -> None:
    print(report)
    assert report.problems == []
    assert report.verdict.acknowledged > 100


@pytest.mark.parametrize(("kind", "topology", "disturbances"), CASES)
async def test_nothing_is_lost_doubled_or_torn(
    kind: str, topology: Topology, disturbances: list[Disturbance], tmp_path: Path
) -> None:
    seed = draw_seed()
    print(f"seed {seed}")
    conf = {name: value for each in disturbances for name, value in each.conf.items()}
    stores = {name: value for each in disturbances for name, value in each.options.items()}
    async with deploy(topology, kind, tmp_path, conf, stores) as deployment:
        expect_well(await play(deployment, disturbances, tmp_path, seed))


@pytest.mark.skipif(BINARIES["redis7"] is None, reason="Debian's redis-server is not installed")
async def test_with_tls_and_the_least_rights_that_are_documented(tmp_path: Path) -> None:
    seed = draw_seed()
    print(f"seed {seed}")
    disturbances = [BY_NAME["clients_killed"], BY_NAME["scripts_forgotten"], BY_NAME["a_server_restarted"]]
    async with deploy("tls+acl", "redis7", tmp_path) as deployment:
        expect_well(await play(deployment, disturbances, tmp_path, seed))
