"""Tiers that run, and what tests ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import SessionStore
from tests.chart.pods import role
from tests.chart.rendering import values
from tests.chart.substitutes import CLI
from tests.support.waiting import poll

if TYPE_CHECKING:
    from tests.chart.pods import Tier

RUNS = [
    pytest.mark.skipif(CLI is None, reason="redis-cli, which stands in for valkey-cli, is not installed"),
    pytest.mark.timeout(240),
]
SENTINEL = values("sentinel", sentinel={"downAfterMilliseconds": 1500, "failoverTimeoutMilliseconds": 6000})


def cluster_of(primaries: int, replicas: int) -> dict[str, Any]:
    return values("cluster", cluster={"primaries": primaries, "replicas": replicas})


def join(cluster: Tier) -> None:
    result = cluster.run_job("Job", job_name(cluster))
    assert result.returncode == 0, result.stderr


def job_name(cluster: Tier) -> str:
    names = [one["metadata"]["name"] for one in cluster.manifests if one["kind"] == "Job"]
    return next(name for name in names if "-cluster-" in name)


def open_store(tier: Tier, **options: Any) -> SessionStore:
    settings: dict[str, Any] = tier.client_settings()
    return SessionStore.from_url(settings.pop("url"), **settings, **options)


def settled(sentinel: Tier) -> int:
    """The ordinal of the primary, once every Sentinel knows all servers and all Sentinels."""
    poll(lambda: all(knows_all(sentinel, number) for number in range(3)), timeout=60, interval=0.1)
    return poll(lambda: primary_of(sentinel) + 1, timeout=60, interval=0.1) - 1


def knows_all(sentinel: Tier, number: int) -> bool:
    state = sentinel.sentinel_client(number).sentinel_master("sessions")
    return (state["num-slaves"], state["num-other-sentinels"], state["flags"]) == (2, 2, "master")


def primary_of(sentinel: Tier) -> int:
    """The ordinal of the primary; -1 where there is none, or more than one."""
    found = [number for number in range(sentinel.nodes) if role(sentinel.client(number)) == "master"]
    return found[0] if len(found) == 1 else -1


def in_step(sentinel: Tier, primary: int) -> bool:
    """Whether all replicas have what the primary has."""
    info = sentinel.client(primary).info("replication")
    replicas = [info[f"slave{number}"] for number in range(info["connected_slaves"])]
    return len(replicas) == 2 and all(one["offset"] == info["master_repl_offset"] for one in replicas)


def shape(cluster: Tier) -> dict[tuple[int, int], int]:
    """How many primaries have so many slots and so many replicas."""
    nodes = cluster.client(0).execute_command("CLUSTER NODES")
    counted: dict[tuple[int, int], int] = {}
    for node in nodes.values():
        if "master" in node["flags"]:
            slots = sum(int(last) - int(first) + 1 for first, last in node["slots"])
            replicas = sum(other["master_id"] == node["node_id"] for other in nodes.values())
            counted[slots, replicas] = counted.get((slots, replicas), 0) + 1
    return counted


def flags(cluster: Tier, id: bytes) -> bytes:
    """What the other nodes say of a node; nothing when they do not know it."""
    other = next(n for n in range(cluster.nodes) if cluster.pod("valkey", n).alive)
    nodes = cluster.client(other).execute_command("CLUSTER NODES").values()
    return next((node["flags"].encode() for node in nodes if node["node_id"].encode() == id), b"")
