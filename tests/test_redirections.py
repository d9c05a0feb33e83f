"""Pipelines that meet a slot on the move between two primaries of a cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from redis_sessions import NotReplicatedError, SessionStore, StoreUnavailableError
from tests.support import Server, ValkeyCluster, valkey_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOW = "moving"
SLOT = key_slot(FLOW.encode())
KEYS = ("log:s", "ids", "sessions", "feed")


@pytest.fixture(scope="module")
def group() -> Iterator[ValkeyCluster]:
    with valkey_cluster(3, 1) as cluster:
        yield cluster


@pytest.fixture
def moving(group: ValkeyCluster) -> Iterator[tuple[ValkeyCluster, Server, Server]]:
    """A cluster, the primary that has the flow's slot, and the one that is to have it."""
    for node in group.primaries:
        node.client().flushall()
    source = group.node_of(f"{{{FLOW}}}")
    yield group, source, next(node for node in group.primaries if node is not source)
    for node in group.primaries:  # a test that failed has left it half way
        node.client().execute_command("CLUSTER SETSLOT", SLOT, "STABLE")


def calls(node: Server, command: str) -> int:
    return int(node.client().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


async def say(store: SessionStore, text: str) -> None:
    await store.append(FLOW, session_id="s", text=text, sender="User", sender_name="Ann")


async def texts(store: SessionStore) -> list[str]:
    return [message.text for message in await store.history(FLOW, "s")]


async def test_a_session_is_read_and_written_through_every_step_of_a_move(
    moving: tuple[ValkeyCluster, Server, Server],
) -> None:
    cluster, source, target = moving
    async with (
        SessionStore.from_url(cluster.url) as store,
        SessionStore.from_url(cluster.url, deadline=1) as hasty,  # what it is asked to write cannot be
    ):
        await say(store, "before")
        assert await texts(hasty) == ["before"]
        cluster.begin_move(SLOT, source, target)
        for key in KEYS:
            cluster.move_keys(source, target, f"rs:{{{FLOW}}}:{key}")
            assert await texts(store) == ["before"]
            if key != KEYS[-1]:
                hasty.counters.faults.clear()
                with pytest.raises(StoreUnavailableError) as caught:
                    await say(hasty, "while it is in two places")
                # On a busy machine an answer may come too late, and nobody knows what it was.
                unknown = "TimeoutError" in hasty.counters.faults
                assert ("may have happened" if unknown else "nothing was changed") in str(caught.value)
        await say(store, "while all of it is on its way")
        cluster.end_move(SLOT, source, target)
        await say(store, "after")
        assert await texts(store) == ["before", "while all of it is on its way", "after"]


async def test_a_record_is_read_again_after_a_log_that_had_moved(
    moving: tuple[ValkeyCluster, Server, Server],
) -> None:
    """The first trip read it before and after the range; then the range is read anew, elsewhere."""
    cluster, source, target = moving
    async with SessionStore.from_url(cluster.url) as store:
        await say(store, "before")
        cluster.begin_move(SLOT, source, target)
        cluster.move_keys(source, target, f"rs:{{{FLOW}}}:log:s")
        before = calls(source, "hget")
        assert await texts(store) == ["before"]
        assert calls(source, "hget") - before == 3
        cluster.move_keys(source, target, *(f"rs:{{{FLOW}}}:{key}" for key in KEYS))
        cluster.end_move(SLOT, source, target)


async def test_a_write_that_followed_a_slot_is_waited_for_where_it_went(
    moving: tuple[ValkeyCluster, Server, Server],
) -> None:
    cluster, source, target = moving
    replica = cluster.replicas[cluster.primaries.index(target)]
    async with SessionStore.from_url(cluster.url, deadline=1, wait_replicas=1) as store:
        await say(store, "before")  # also registers the flow, and learns where the slot is
        cluster.begin_move(SLOT, source, target)
        cluster.move_keys(source, target, *(f"rs:{{{FLOW}}}:{key}" for key in KEYS))
        cluster.end_move(SLOT, source, target)
        with contextlib.ExitStack() as resumed:
            replica.pause()
            resumed.callback(replica.resume)
            with pytest.raises(NotReplicatedError) as caught:
                await say(store, "on one node only")
        assert caught.value.replicas == 0
        assert await texts(store) == ["before", "on one node only"]
