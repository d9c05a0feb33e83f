from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.crc import key_slot
from redis.exceptions import MaxConnectionsError, RedisClusterException, RedisError

from redis_sessions.connection import Connection, open_connection
from redis_sessions.settings import Settings
from tests.support import ValkeyCluster, valkey_cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis_sessions.clients import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    connection = await open_connection(Settings.load(url, **options))
    try:
        yield connection
    finally:
        await connection.aclose()


def client_of(connection: Connection) -> Cluster:
    return cast("Cluster", connection.client)


@contextlib.asynccontextmanager
async def lent(connection: Connection, key: bytes) -> AsyncIterator[Any]:
    """A connection to the node that has a key."""
    client = client_of(connection)
    node = await client.primary_of(key)
    taken = await client.connection_to(node)
    try:
        yield taken
    finally:
        client.give_back(node, taken)


async def echo(connection: Connection, text: str) -> None:
    answer = await connection.client.eval("return {KEYS[1], ARGV[1]}", 1, f"{{{text}}}", text)
    assert answer == [f"{{{text}}}".encode(), text.encode()]


async def test_a_cluster_is_reached_by_any_of_its_nodes(cluster: ValkeyCluster) -> None:
    for port in cluster.ports:
        async with connected(f"redis+cluster://127.0.0.1:{port}") as connection:
            assert connection.kind == "cluster"
            await asyncio.gather(*(echo(connection, str(number)) for number in range(100)))


async def test_a_node_that_is_not_there_is_passed_over(cluster: ValkeyCluster) -> None:
    async with connected(f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.ports[1]}") as connection:
        await echo(connection, "text")


async def test_a_slot_on_the_move_is_followed() -> None:
    with valkey_cluster() as cluster:
        async with connected(cluster.url) as connection:
            await connection.client.set("k", "v")
            source = cluster.node_of("k")
            target = next(node for node in cluster.nodes if node is not source)
            slot = key_slot(b"k")
            cluster.begin_move(slot, source, target)
            cluster.move_keys(source, target, "k")
            assert await connection.client.get("k") == b"v"  # ASK
            cluster.end_move(slot, source, target)
            assert await connection.client.get("k") == b"v"  # MOVED


async def test_slots_that_moved_cut_off_nobody() -> None:
    with valkey_cluster() as cluster:
        source, target, third = cluster.nodes
        keys = [key for key in map(str, range(100)) if cluster.node_of(key) is source][:12]
        async with connected(cluster.url) as connection:
            await connection.client.mget_nonatomic(keys)
            bystander = connection.client.get_node("127.0.0.1", third.port)
            before = await connection.client.client_id(target_nodes=bystander)
            target_id = target.client().execute_command("CLUSTER MYID").decode()
            for key in keys:
                for node in (target, source):
                    slot = node.client().execute_command("CLUSTER KEYSLOT", key)
                    node.client().execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
                assert await connection.client.get(key) is None
            assert await connection.client.client_id(target_nodes=bystander) == before


async def test_a_command_waits_for_a_connection_to_its_node(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url, max_connections=2) as connection:
        await asyncio.gather(*(echo(connection, f"text {number}") for number in range(300)))
        for node in cluster.nodes:
            ours = [c for c in node.client().client_list() if c["name"] == "redis-sessions"]
            assert len(ours) <= 2 + 1  # and one that asked for the topology


async def test_a_command_waits_no_longer_than_an_attempt(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url, max_connections=1, deadline=0.4) as connection:
        async with lent(connection, b"k"):
            started = time.monotonic()
            with pytest.raises(MaxConnectionsError):
                await connection.client.get("k")
            with pytest.raises(MaxConnectionsError):
                async with lent(connection, b"k"):
                    pass
            assert 0.3 < time.monotonic() - started < 4
        assert await connection.client.get("k") is None


async def test_a_lent_connection_goes_to_the_keys_node_and_comes_back(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url, max_connections=1) as connection:

        async def owns(key: str) -> bool:
            async with lent(connection, key.encode()) as taken:
                await taken.send_command("SET", key, "v")
                return bool(await taken.read_response() == b"OK")

        assert all(await asyncio.gather(*(owns(f"key {number}") for number in range(50))))


async def test_a_cancelled_wait_leaves_the_queue(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url, max_connections=1) as connection:
        async with lent(connection, b"k"):
            waiting = [asyncio.create_task(connection.client.get("k")) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
        assert await asyncio.gather(*waiting[1:]) == [None, None]


async def test_no_cluster_command_is_sent_twice() -> None:
    with valkey_cluster() as cluster:
        async with connected(cluster.url, deadline=0.4) as connection:
            await connection.client.set("n", 0)
            node = cluster.node_of("n")
            node.pause()
            started = time.monotonic()
            with pytest.raises(RedisError, match="Timeout"):
                await connection.client.execute_command("INCR", "n")
            assert time.monotonic() - started < 2
            node.resume()
            await wait_until(lambda: int(node.client().get("n")) == 1)
            await connection.reset()
            assert await connection.client.get("n") == b"1"


async def test_failures_use_up_no_connections() -> None:
    with valkey_cluster() as cluster:
        async with connected(cluster.url, deadline=1, max_connections=2) as connection:
            await connection.client.set("k", "v")
            cluster.kill()
            for _ in range(6):
                with pytest.raises((RedisError, RedisClusterException)) as caught:
                    await connection.client.get("k")
                assert not isinstance(caught.value, MaxConnectionsError)
                await connection.reset()
            cluster.restart()
            cluster.wait_until_ok()

            async def answers() -> bool:
                with contextlib.suppress(RedisError, RedisClusterException):
                    return await connection.client.exists("k") == 0
                await connection.reset()
                return False

            await wait_until(answers)


async def test_calls_cancelled_before_they_are_sent_use_up_no_connections(cluster: ValkeyCluster) -> None:
    async with connected(cluster.url, max_connections=2) as connection:
        await connection.client.get("k")
        for steps in range(30):
            await client_of(connection).nodes_manager.aclose()  # so that the call has to connect first
            call = asyncio.create_task(connection.client.get("k"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await connection.reset()
        assert await connection.client.get("k") is None


async def test_a_reset_learns_of_a_new_primary() -> None:
    with valkey_cluster(replicas=1, cluster_node_timeout=1000) as cluster:
        async with connected(cluster.url, deadline=0.5) as connection:
            await connection.client.set("k", "v")
            old = cluster.node_of("k")
            old.pause()

            async def written() -> bool:
                with contextlib.suppress(RedisError, RedisClusterException):
                    return bool(await connection.client.set("k", "after"))
                await connection.reset()
                return False

            await wait_until(written, 30)
            old.resume()


async def test_closing_a_cluster_after_a_fault_leaves_nothing_open(cluster: ValkeyCluster) -> None:
    def ours() -> int:
        return sum(
            client["name"] == "redis-sessions"
            for node in cluster.nodes
            for client in node.client().client_list()
        )

    await wait_until(lambda: ours() == 0)
    connection = await open_connection(Settings.load(cluster.url))
    await asyncio.gather(*(echo(connection, str(number)) for number in range(20)))
    client_of(connection).doubt()  # redis-py holds the topology for stale now
    await connection.aclose()
    await connection.aclose()
    await wait_until(lambda: ours() == 0)
