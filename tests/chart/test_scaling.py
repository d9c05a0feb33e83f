"""The cluster's job, run: it joins pods, and moves slots and replicas to what the values say."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.chart.pods import Tier, role, tier
from tests.chart.tiers import RUNS, cluster_of, flags, join, open_store, shape
from tests.support.talk import say, texts
from tests.support.waiting import poll

pytestmark = RUNS


async def test_slots_are_divided_evenly_and_each_primary_has_a_replica(cluster: Tier) -> None:
    assert shape(cluster) == {(5461, 1): 2, (5462, 1): 1}


def test_joining_again_changes_nothing(cluster: Tier) -> None:
    def who_has_what() -> list[Any]:
        nodes = cluster.client(0).execute_command("CLUSTER NODES").values()
        return sorted((node["node_id"], node["master_id"], node["slots"]) for node in nodes)

    before = who_has_what()

    join(cluster)

    assert who_has_what() == before


def test_a_cluster_node_that_lost_its_volume_is_joined_again(cluster: Tier) -> None:
    lost = next(number for number in range(cluster.nodes) if role(cluster.client(number)) == "slave")
    gone = cluster.client(lost).execute_command("CLUSTER MYID")
    pod = cluster.pod("valkey", lost)
    pod.kill()
    pod.lose_volume()
    poll(lambda: b"fail" in flags(cluster, gone).replace(b"fail?", b""), timeout=30)
    pod.start()

    join(cluster)

    cluster.wait_until_ready()
    assert flags(cluster, gone) == b""
    assert shape(cluster) == {(5461, 1): 2, (5462, 1): 1}


async def test_a_cluster_grows_and_shrinks_with_its_data() -> None:
    with tier(cluster_of(3, 0)) as cluster:
        cluster.start()
        join(cluster)
        cluster.wait_until_ready()
        async with open_store(cluster) as store:
            for flow in range(200):
                await say(store, f"{flow}", flow=f"flow-{flow}")

            cluster.apply(cluster_of(4, 1))
            nothing = await asyncio.to_thread(cluster.run_job, "Job", "-shrink")
            assert nothing.returncode == 0, nothing.stderr
            cluster.start(range(3, 8))
            await asyncio.to_thread(join, cluster)
            assert shape(cluster) == {(4096, 1): 4}
            for flow in range(200):
                assert await texts(store, flow=f"flow-{flow}") == [f"{flow}"]

            cluster.apply(cluster_of(3, 1))
            shrunk = await asyncio.to_thread(cluster.run_job, "Job", "-shrink")
            assert shrunk.returncode == 0, shrunk.stderr
            for number in (6, 7):
                cluster.pod("valkey", number).stop()
            await asyncio.to_thread(join, cluster)
            assert shape(cluster) == {(5461, 1): 2, (5462, 1): 1}
            for flow in range(200):
                assert await texts(store, flow=f"flow-{flow}") == [f"{flow}"]
