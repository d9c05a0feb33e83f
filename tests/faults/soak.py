"""Rounds for as long as one likes: ``python -m tests.faults.soak --minutes 30``.

``--each redis8 redis6`` plays every fault of one server on these instead, one round each.

Each round is a deployment, a load, and faults of that deployment in an order that the seed decides. A line
for each; the last one sums up. Exit code 1 if anything was lost, doubled or torn, or took too long to resume:
the record of that round is kept, and its seed plays it again (``--seed``, ``--rounds 1``).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.disturbances import DISTURBANCES
from tests.faults.rounds import Report, play
from tests.faults.topologies import Topology, deploy
from tests.support.servers import BINARIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.disturbances import Disturbance

KINDS: dict[Topology, tuple[str, ...]] = {
    "single": ("valkey", "redis7", "redis8", "redis6"),
    "tls+acl": ("redis7",),
    "sentinel": ("valkey", "redis7"),
    "cluster": ("valkey", "redis7"),
}
WAITAOF = ("valkey", "redis8")
"""The servers that have it."""


@dataclass
class Sum:
    """What all rounds came to."""

    rounds: int = 0
    disturbances: int = 0
    calls: int = 0
    acknowledged: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        self.rounds += 1
        self.disturbances += len(report.outages)
        self.calls += report.verdict.calls
        self.acknowledged += report.verdict.acknowledged
        self.unknown += report.verdict.unknown
        self.problems += [f"seed {report.seed}: {problem}" for problem in report.problems]
        for outage in report.outages:
            self.latest[outage.name] = max(outage.resumed_after, self.latest.get(outage.name, 0.0))

    def __str__(self) -> str:
        latest = max(self.latest, key=self.latest.__getitem__, default=None)
        resumed = (
            f"; writes resumed {self.latest[latest]:.1f} s after it at the latest ({latest})"
            if latest
            else ""
        )
        return (
            f"{self.rounds} rounds, {self.disturbances} faults, {self.calls} calls, "
            f"{self.acknowledged} writes acknowledged, {self.unknown} of unknown outcome, "
            f"{len(self.problems)} problems{resumed}"
        )


def choose(chance: random.Random, faults: int) -> tuple[Topology, str, Sequence[Disturbance]]:
    """A topology, a kind of server, and faults that go together."""
    topology = chance.choice(list(KINDS))
    kind = chance.choice([kind for kind in KINDS[topology] if BINARIES[kind] is not None])
    possible = [each for each in DISTURBANCES if topology in each.topologies and can_be_on(kind, each)]
    if kind == "redis7":  # a second CLUSTER FAILOVER within twice the node timeout is not granted there
        possible = [each for each in possible if each.name != "cluster_failover"]
    chosen = [chance.choice(possible) for _ in range(faults)]
    if any(each.conf.get("appendfsync") == "everysec" for each in chosen):
        # Then a server with a full disk goes on, and kill -9 may lose what was not waited for.
        lost = {"disk_full_and_the_server_ends"}
        if not any("wait_aof" in each.options for each in chosen):
            lost.add("a_server_killed")
        chosen = [each for each in chosen if each.name not in lost]
    return topology, kind, chosen


def can_be_on(kind: str, disturbance: Disturbance) -> bool:
    """Whether servers of a kind have what a fault's round needs."""
    return "wait_aof" not in disturbance.options or kind in WAITAOF


def each_of_one_server(kinds: Sequence[str]) -> Iterator[tuple[Topology, str, Sequence[Disturbance]]]:
    """A round for every fault of one server, on each of these."""
    for kind in kinds:
        for disturbance in DISTURBANCES:
            if "single" in disturbance.topologies and can_be_on(kind, disturbance):
                yield "single", kind, [disturbance]


def at_random(
    minutes: float, seed: int, faults: int, most_rounds: int | None
) -> Iterator[tuple[Topology, str, Sequence[Disturbance]]]:
    """Rounds until the time is over, each of a seed one higher than the last."""
    end = time.monotonic() + 60 * minutes
    rounds = 0
    while time.monotonic() < end and (most_rounds is None or rounds < most_rounds):
        yield choose(random.Random(str(seed + rounds)), faults)
        rounds += 1


async def soak(rounds: Iterator[tuple[Topology, str, Sequence[Disturbance]]], seed: int) -> Sum:
    """Play rounds, the first of this seed."""
    total = Sum()
    for topology, kind, chosen in rounds:
        folder = Path(tempfile.mkdtemp(prefix=f"redis-sessions-soak-{seed}-"))
        conf = {name: value for each in chosen for name, value in each.conf.items()}
        stores = {name: value for each in chosen for name, value in each.options.items()}
        async with deploy(topology, kind, folder, conf, stores) as deployment:
            report = await play(deployment, chosen, folder, seed)
        print(f"{topology} on {kind}, {report}", flush=True)
        before = len(total.problems)
        total.add(report)
        for problem in total.problems[before:]:
            print(f"  {problem[:1000]}", flush=True)
        if len(total.problems) > before:
            print(f"  the record is in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        seed += 1
    return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Faults under load.")
    parser.add_argument("--minutes", type=float, default=30.0, help="no round begins later (default: 30)")
    parser.add_argument("--seed", type=int, help="of the first round (default: drawn)")
    parser.add_argument("--faults", type=int, default=4, help="in a round (default: 4)")
    parser.add_argument("--rounds", type=int, help="at the most (default: any number)")
    parser.add_argument(
        "--each", nargs="+", choices=KINDS["single"], help="every fault of one server on these"
    )
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    if asked.each:
        rounds = each_of_one_server(asked.each)
    else:
        rounds = at_random(asked.minutes, seed, asked.faults, asked.rounds)
    total = asyncio.run(soak(rounds, seed))
    print(total)
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
