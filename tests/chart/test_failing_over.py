"""The rendered scripts, run: a primary that goes hands over first, and what was lost comes back."""

from __future__ import annotations

import asyncio

import pytest

from tests.chart.pods import Tier, role, tier
from tests.chart.tiers import RUNS, cluster_of, in_step, join, open_store, primary_of, settled
from tests.support.talk import say, texts
from tests.support.waiting import poll

pytestmark = RUNS


async def test_a_primary_that_is_stopped_hands_over_first(sentinel: Tier) -> None:
    old = settled(sentinel)
    async with open_store(sentinel) as store:
        await say(store, "before", session="handover")

        await asyncio.to_thread(sentinel.pod("valkey", old).stop)

        assert primary_of(sentinel) not in (old, -1), sentinel.pod("valkey", old).log[-2000:]
        await say(store, "after", session="handover")
        assert await texts(store, "handover") == ["before", "after"]
    sentinel.pod("valkey", old).start()
    sentinel.wait_until_ready()
    assert role(sentinel.client(old)) == "slave"


async def test_a_primary_that_lost_its_volume_comes_back_as_a_replica(sentinel: Tier) -> None:
    old = settled(sentinel)
    async with open_store(sentinel, deadline=30) as store:
        await say(store, "kept", session="lost volume")
        poll(lambda: in_step(sentinel, old), timeout=60)
        sentinel.pod("valkey", old).kill()
        sentinel.pod("valkey", old).lose_volume()
        sentinel.pod("valkey", old).start()  # at once: the Sentinels have not missed it yet

        await asyncio.to_thread(sentinel.wait_until_ready)

        assert role(sentinel.client(old)) == "slave"
        assert await texts(store, "lost volume") == ["kept"]


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_all_is_there_again_after_everything_stopped_at_once(
    kind: str, request: pytest.FixtureRequest
) -> None:
    made: Tier = request.getfixturevalue(kind)
    if kind == "sentinel":
        settled(made)
    replicas = 2 if kind == "sentinel" else 1
    async with open_store(made, wait_aof=True, wait_replicas=replicas, deadline=20) as store:
        await say(store, "kept", session="outage")
    for pod in made.pods.values():
        pod.kill()

    made.start()
    made.wait_until_ready()

    async with open_store(made) as store:
        assert await texts(store, "outage") == ["kept"]


async def test_a_clusters_primary_that_is_stopped_hands_over_first(cluster: Tier) -> None:
    number = next(n for n in range(cluster.nodes) if role(cluster.client(n)) == "master")
    async with open_store(cluster) as store:
        for flow in range(20):
            await say(store, "before", flow=f"moved-{flow}")

        await asyncio.to_thread(cluster.pod("valkey", number).stop)

        for flow in range(20):
            await say(store, "after", flow=f"moved-{flow}")
            assert await texts(store, flow=f"moved-{flow}") == ["before", "after"]
    cluster.pod("valkey", number).start()
    cluster.wait_until_ready()
    assert role(cluster.client(number)) == "slave"


async def test_a_cluster_whose_pods_all_have_new_addresses_finds_itself_again() -> None:
    with tier(cluster_of(3, 0)) as cluster:
        cluster.start()
        join(cluster)
        cluster.wait_until_ready()
        async with open_store(cluster) as store:
            for flow in range(20):
                await say(store, "kept", flow=f"flow-{flow}")
        for pod in cluster.pods.values():
            pod.stop()
        cluster.move()

        cluster.start()
        for number in range(3):
            result = await asyncio.to_thread(cluster.pod("valkey", number).hook, "postStart")
            assert result.returncode == 0, result.stderr
        cluster.wait_until_ready()

        async with open_store(cluster) as store:
            for flow in range(20):
                assert await texts(store, flow=f"flow-{flow}") == ["kept"]
