"""The rendered probes, run against servers in every state: what answers is alive, what can serve is ready."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.chart.pods import tier
from tests.chart.rendering import pod_specs, render, values
from tests.chart.tiers import RUNS, cluster_of, settled
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chart.pods import Pod, Tier

pytestmark = RUNS
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def answers(pod: Pod) -> dict[str, bool]:
    """What each probe says, within the time that it has."""
    return {name.removesuffix("Probe"): pod.hook(name).returncode == 0 for name in PROBES}


def test_a_server_that_serves_passes_every_probe(running: Tier) -> None:
    for pod in running.pods.values():
        assert answers(pod) == {"startup": True, "liveness": True, "readiness": True}, pod.name


def test_a_server_that_is_not_there_passes_none() -> None:
    with tier(values()) as made:
        pod = made.pod("valkey", 0)
        pod.data.mkdir()

        assert answers(pod) == {"startup": False, "liveness": False, "readiness": False}


def test_a_server_that_hangs_is_not_alive() -> None:
    with tier(values()) as made:
        made.start()
        made.wait_until_ready()
        pod = made.pod("valkey", 0)
        with stopped(pod):
            assert pod.hook("livenessProbe", CLI_TIMEOUT="1").returncode != 0

        assert pod.hook("livenessProbe").returncode == 0


@contextmanager
def stopped(pod: Pod) -> Iterator[None]:
    os.kill(pod.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pod.pid, signal.SIGCONT)


def test_a_server_that_loads_its_data_is_alive_and_neither_started_nor_ready() -> None:
    slowly = {"key-load-delay": 200_000, "loading-process-events-interval-bytes": 1024}
    with tier(values(valkey={"config": slowly})) as made:
        made.start()
        made.wait_until_ready()
        client = made.client(0)
        client.mset({f"rs:{number}": os.urandom(2000) for number in range(500)})  # one event each
        client.bgrewriteaof()
        poll(lambda: client.info("persistence")["aof_base_size"] > 100_000)
        pod = made.pod("valkey", 0)
        pod.stop()

        pod.start()
        poll(lambda: pod.hook("livenessProbe").returncode == 0)

        assert answers(pod) == {"startup": False, "liveness": True, "readiness": False}
        made.client(0).config_set("key-load-delay", 0)
        made.wait_until_ready()
        assert answers(pod) == {"startup": True, "liveness": True, "readiness": True}


def test_a_replica_without_its_primary_is_alive_and_not_ready(sentinel: Tier) -> None:
    replica = (settled(sentinel) + 1) % 3
    pod = sentinel.pod("valkey", replica)
    sentinel.client(replica).replicaof("127.0.0.1", 1)  # until the Sentinels notice

    assert answers(pod) == {"startup": True, "liveness": True, "readiness": False}
    sentinel.wait_until_ready()


def test_a_node_that_has_not_joined_is_alive_and_not_ready() -> None:
    with tier(cluster_of(3, 0)) as made:
        made.start([0])
        pod = made.pod("valkey", 0)
        poll(lambda: pod.hook("livenessProbe").returncode == 0)

        assert answers(pod) == {"startup": True, "liveness": True, "readiness": False}


def test_a_sentinel_that_answers_passes_every_probe_and_one_that_is_gone_none(sentinel: Tier) -> None:
    settled(sentinel)
    pod = sentinel.pod("sentinel", 2)
    assert answers(pod) == {"startup": True, "liveness": True, "readiness": True}
    pod.kill()

    assert answers(pod) == {"startup": False, "liveness": False, "readiness": False}
    pod.start()
    sentinel.wait_until_ready()


@pytest.mark.parametrize("mode", ["standalone", "sentinel", "cluster"])
def test_a_probe_has_longer_than_the_command_that_it_runs(mode: str) -> None:
    for name, pod in pod_specs(render(values(mode))).items():
        for probe in (pod["containers"][0].get(one, {}) for one in PROBES):
            if "exec" in probe:
                assert probe["timeoutSeconds"] > 5, name  # CLI_TIMEOUT of lib.sh
