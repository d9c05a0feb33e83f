"""Calls that share a connection: what one of them meets is nobody else's business."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions import StoreClosedError
from redis_sessions.connection import open_connection
from redis_sessions.settings import Settings
from redis_sessions.transport import Transport
from tests.support import Proxy, Server, valkey_cluster, valkey_server, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis_sessions.clients import Cluster


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@contextlib.asynccontextmanager
async def transport(url: str, **options: Any) -> AsyncIterator[Transport]:
    connection = await open_connection(Settings.load(url, **options))
    transport = Transport(connection)
    try:
        yield transport
    finally:
        await transport.aclose()
        await connection.aclose()


async def echo(transport: Transport, text: str) -> str:
    (reply,) = await transport.run(b"", ("ECHO", text))
    return str(reply.decode())


async def test_calls_at_the_same_time_share_a_connection_and_get_their_own_replies(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url) as shared:
        texts = [str(number) for number in range(200)]
        assert await asyncio.gather(*(echo(shared, text) for text in texts)) == texts
        assert proxy.accepted == 1


async def test_calls_to_a_node_of_a_cluster_share_a_connection() -> None:
    with valkey_cluster() as cluster:
        async with transport(cluster.url) as shared:

            async def said(number: int) -> bytes:
                key = b"key %d" % number
                await shared.run(key, ("SET", key, number))
                (answer,) = await shared.run(key, ("GET", key))
                return bytes(answer)

            assert await asyncio.gather(*map(said, range(300))) == [b"%d" % number for number in range(300)]
            for node in cluster.nodes:
                ours = [
                    client for client in node.client().client_list() if client["name"] == "redis-sessions"
                ]
                assert len(ours) <= 1 + 1  # and one that asked for the topology


async def test_with_one_connection_to_a_node_those_who_share_it_and_those_who_wait_take_turns() -> None:
    with valkey_cluster() as cluster:
        async with transport(cluster.url, max_connections=1) as shared:
            for _ in range(3):
                waiting = shared.run(b"k", ("XREAD", "BLOCK", 20, "STREAMS", "k", "$"))
                asked = (shared.run(b"k", ("EXISTS", "k")) for _ in range(2))
                assert await asyncio.gather(waiting, *asked) == [[None], [0], [0]]


async def test_a_node_of_a_cluster_that_comes_back_is_talked_to_again() -> None:
    with valkey_cluster() as cluster:
        async with transport(cluster.url) as shared:
            assert await shared.run(b"k", ("EXISTS", "k")) == [0]
            cluster.kill()
            with pytest.raises(RedisError):
                await shared.run(b"k", ("EXISTS", "k"))
            cluster.restart()
            cluster.wait_until_ok()

            async def answers() -> bool:
                with contextlib.suppress(RedisError):
                    return await shared.run(b"k", ("EXISTS", "k")) == [0]
                return False

            await wait_until(answers)
    gc.collect()  # a connection that was left open is told now


async def test_connections_to_a_node_that_a_cluster_has_no_more_are_closed() -> None:
    with valkey_cluster() as cluster:
        async with transport(cluster.url) as shared:
            await shared.run(b"k", ("EXISTS", "k"))
            node, client = cluster.node_of("k").client(), cast("Cluster", shared._client)
            [before] = [one["id"] for one in node.client_list() if one["cmd"] == "exists"]
            manager = client.nodes_manager
            manager.set_nodes(manager.nodes_cache, {}, remove_old=True)  # as where all have left it
            client.doubt()

            assert await shared.run(b"k", ("EXISTS", "k")) == [0]
            await wait_until(lambda: before not in [one["id"] for one in node.client_list()])


async def test_an_error_reply_is_the_one_calls_that_caused_it(server: Server) -> None:
    async with transport(server.url) as shared:
        replies = await asyncio.gather(
            echo(shared, "one"),
            shared.run(b"", ("NONSENSE",)),
            echo(shared, "other"),
            return_exceptions=True,
        )
        assert (replies[0], replies[2]) == ("one", "other")
        assert "unknown command" in str(replies[1])


async def test_a_cancelled_call_leaves_the_others_their_replies(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url) as shared:
        await echo(shared, "open")
        held = proxy.hold_reply(matching=b"first")
        first, second = (asyncio.create_task(echo(shared, text)) for text in ("first", "second"))
        await held.reached()
        first.cancel()
        await asyncio.wait([first])
        held.release()
        assert (first.cancelled(), await second, proxy.accepted) == (True, "second", 1)


async def test_a_call_that_was_cancelled_alone_leaves_its_answer_to_nobody(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url) as shared:
        held = proxy.hold_reply(matching=b"cancelled")
        call = asyncio.create_task(echo(shared, "cancelled"))
        await held.reached()
        call.cancel()
        await asyncio.wait([call])
        held.release()
        assert (await echo(shared, "mine"), proxy.accepted) == ("mine", 2)


async def test_calls_cancelled_at_any_step_disturb_no_other(server: Server) -> None:
    async with transport(server.url, max_connections=3) as shared:
        for steps in range(40):
            texts = [f"{steps}-{number}" for number in range(6)]
            calls = [asyncio.create_task(echo(shared, text)) for text in texts]
            for _ in range(steps % 20):
                await asyncio.sleep(0)
            for cancelled in calls[::2]:
                cancelled.cancel()
            assert await asyncio.gather(*calls[1::2]) == texts[1::2]
            await asyncio.wait(calls)
        (clients,) = await shared.run(b"", ("CLIENT", "LIST"))
        assert clients.count(b"name=redis-sessions") <= 3


async def test_a_call_without_an_answer_times_out_and_later_ones_get_a_new_connection(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url, deadline=0.4) as shared:
        held = proxy.hold_reply(matching=b"lost")
        with pytest.raises(RedisTimeoutError, match="no answer"):
            await echo(shared, "lost")
        assert (await echo(shared, "next"), proxy.accepted) == ("next", 2)
        held.release()


async def test_a_connection_that_breaks_fails_all_calls_on_it(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url) as shared:
        await echo(shared, "open")
        proxy.drop_reply(matching=b"second")
        calls = [asyncio.create_task(echo(shared, text)) for text in ("first", "second", "third")]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert found[0] == "first"
        assert [type(error) for error in found[1:]] == [RedisConnectionError] * 2
        assert await echo(shared, "again") == "again"


async def test_what_redis_lets_wait_holds_up_nobody_else(server: Server) -> None:
    async with transport(server.url) as shared:
        waiting = asyncio.create_task(shared.run(b"", ("XREAD", "BLOCK", 500, "STREAMS", "nothing", "$")))
        assert await echo(shared, "meanwhile") == "meanwhile"
        assert not waiting.done()
        assert await waiting == [None]


async def test_with_one_connection_those_who_share_it_and_those_who_wait_take_turns(server: Server) -> None:
    async with transport(server.url, max_connections=1) as shared:
        for _ in range(3):
            waiting = shared.run(b"", ("XREAD", "BLOCK", 20, "STREAMS", "nothing", "$"))
            found = await asyncio.gather(echo(shared, "one"), waiting, echo(shared, "other"))
            assert found == ["one", [None], "other"]


async def test_a_large_request_has_a_connection_of_its_own(server: Server) -> None:
    async with Proxy(server) as proxy, transport(proxy.url) as shared:
        large = "x" * 300_000
        assert await asyncio.gather(echo(shared, "small"), echo(shared, large)) == ["small", large]
        assert proxy.accepted == 2


async def test_a_closed_server_and_its_restart_are_noticed_between_calls() -> None:
    with valkey_server() as server:
        async with transport(server.url) as shared:
            await echo(shared, "before")
            server.kill()
            with pytest.raises(RedisConnectionError):
                await echo(shared, "gone")
            server.restart()
            assert await echo(shared, "back") == "back"


async def test_a_closed_transport_opens_no_connection(server: Server) -> None:
    async with transport(server.url) as shared:
        await echo(shared, "open")
        await shared.aclose()
        with pytest.raises(StoreClosedError):
            await echo(shared, "closed")


async def test_connections_go_back_to_redis_py_in_order(server: Server) -> None:
    async with transport(server.url) as shared:
        await echo(shared, "ours")
        await shared.aclose()
        client: Any = shared._client
        assert await client.echo("redis-py's") == b"redis-py's"
        assert await client.client_list(_type="normal") != []
        assert len(client.connection_pool._available_connections) == 1
