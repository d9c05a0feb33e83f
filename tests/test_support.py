"""The servers and the proxy are what they say: other tests rest on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
import trustme
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from tests.support import (
    HOST,
    REDIS_SERVER,
    Proxy,
    Server,
    poll,
    redis_server,
    sentinel_trio,
    valkey_cluster,
    valkey_server,
    wait_until,
)
from tests.support.proxy import read_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Client = redis.asyncio.Redis
needs_redis = pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    server.client().flushall()
    async with Proxy(server) as proxy:
        yield proxy


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
async def client(proxy: Proxy, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with _client(proxy, protocol=request.param) as client:
        yield client


def _client(proxy: Proxy, **options: Any) -> Client:
    return redis.asyncio.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0), socket_timeout=10, **options)


class TestServers:
    @pytest.mark.parametrize("start", [valkey_server, pytest.param(redis_server, marks=needs_redis)])
    def test_a_server_takes_its_configuration(self, start: Callable[..., Any]) -> None:
        with start(maxmemory="3mb", requirepass='p@ "w\\', appendonly=True) as server:
            config = server.client().config_get("maxmemory", "appendonly")

            assert config == {"maxmemory": str(3 * 2**20), "appendonly": "yes"}
            assert redis.Redis.from_url(server.url).ping()
            assert redis.Redis.from_url(server.unix_url).ping()

    def test_a_server_is_gone_with_its_folder_at_the_end(self) -> None:
        with valkey_server() as server:
            folder = server.folder

        assert not server.alive
        assert not folder.exists()

    def test_a_server_that_cannot_start_says_why(self) -> None:
        with pytest.raises(RuntimeError, match="Bad directive"), valkey_server(no_such_directive=1):
            pass

    def test_a_port_that_somebody_else_took_first_is_not_the_end(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ports = iter([server.port, server.port, *range(server.port + 1, server.port + 50)])
        monkeypatch.setattr("tests.support.servers.free_port", lambda: next(ports))

        with valkey_server() as other:
            assert other.port != server.port
            assert other.client().ping()

    def test_a_killed_server_has_its_data_again_after_a_restart(self) -> None:
        with valkey_server(appendonly=True) as server:
            server.client().set("key", "value")
            port = server.port
            server.kill()
            with pytest.raises(RedisConnectionError):
                server.client().ping()
            server.restart()

            assert server.port == port
            assert server.client().get("key") == b"value"

    def test_a_paused_server_answers_after_it_resumes(self) -> None:
        with valkey_server() as server:
            impatient = redis.Redis(
                host=HOST, port=server.port, socket_timeout=0.05, retry=Retry(NoBackoff(), 0)
            )
            with contextlib.closing(impatient):
                server.pause()
                with pytest.raises(RedisTimeoutError):
                    impatient.ping()
                server.resume()

                assert server.client().ping()

    def test_a_paused_server_is_stopped_all_the_same(self) -> None:
        with valkey_server() as server:
            server.pause()
            server.stop()

            assert not server.alive
            assert "bye bye" in server.log

    def test_nothing_outlives_a_python_that_is_killed(self) -> None:
        script = (
            "from tests.support import valkey_server\n"
            "with valkey_server() as server:\n"
            "    print(server.client().info('server')['process_id'], server.folder, flush=True)\n"
            "    input()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        ) as python:
            assert python.stdout is not None
            pid, folder = python.stdout.readline().split(maxsplit=1)
            assert _exists(int(pid))
            python.send_signal(signal.SIGKILL)

        poll(lambda: not _exists(int(pid)) and not Path(folder.strip()).exists())


class TestCluster:
    def test_every_primary_has_its_part_and_replicas_follow(self) -> None:
        with valkey_cluster(primaries=3, replicas=1) as cluster:
            for number in range(20):
                cluster.client().set(f"key{number}", number)

            assert sum(node.client().dbsize() for node in cluster.primaries) == 20
            assert all(node.client().dbsize() for node in cluster.primaries)
            assert cluster.node_of("key1").client().get("key1") == b"1"
            for node in cluster.replicas:
                assert node.client().info("replication")["role"] == "slave"

    def test_a_replica_takes_over_when_its_primary_dies(self) -> None:
        with valkey_cluster(replicas=1, cluster_node_timeout=1000) as cluster:
            cluster.client().set("key", "value")
            primary = cluster.node_of("key")
            primary.client().wait(1, 5000)
            primary.kill()
            replica = cluster.replicas[cluster.primaries.index(primary)]
            poll(lambda: replica.client().info("replication")["role"] == "master", 30)

            assert replica.client().get("key") == b"value"


class TestSentinels:
    def test_sentinels_promote_a_replica_when_the_primary_dies(self) -> None:
        with sentinel_trio(requirepass="p@ss", sentinel_password="w@rd") as trio:
            old = trio.primary
            trio.client().set("key", "value")
            old.client().wait(2, 5000)
            old.kill()
            poll(lambda: trio.primary is not old, 30)

            assert trio.client().get("key") == b"value"

    def test_the_url_names_the_sentinels_and_the_service(self) -> None:
        with sentinel_trio("chats") as trio:
            ports = ",".join(f"{HOST}:{sentinel.port}" for sentinel in trio.sentinels)

            assert trio.url == f"redis+sentinel://{ports}/chats"


class TestProxy:
    async def test_what_it_lets_through_arrives_unchanged(self, client: Client) -> None:
        value = bytes(range(256)) * 1000 + b"*3\r\n$5\r\n"
        await client.set("key", value)

        assert await client.get("key") == value

    async def test_every_kind_of_reply_arrives(self, client: Client) -> None:
        await client.hset("hash", mapping={"field": "value"})
        await client.xadd("stream", {"field": "value"}, "5-0")

        assert await client.hgetall("hash") == {b"field": b"value"}
        assert await client.get("missing") is None
        assert await client.zscore("missing", "member") is None
        assert await client.mget("a", "b") == [None, None]
        assert await client.xrange("stream") == [(b"5-0", {b"field": b"value"})]
        assert await client.eval("return {1, {2, {}}, {ok='fine'}, false}", 0) == [1, [2, []], b"fine", None]
        assert await client.smembers("missing") == set()
        assert await client.zadd("scores", {"member": 1.5}) == 1
        assert await client.zscore("scores", "member") == 1.5
        assert (await client.info("server"))["redis_version"]
        with pytest.raises(ResponseError):
            await client.eval("return {err='ERR wrong'}", 0)

    async def test_it_counts_whole_commands_and_replies(self, proxy: Proxy, client: Client) -> None:
        async with client.pipeline(transaction=True) as pipe:
            await pipe.set("a", 1).get("a").execute()
        async with client.pipeline(transaction=False) as pipe:
            await pipe.get("a").get("b").execute()

        assert proxy.commands == ["MULTI", "SET", "GET", "EXEC", "GET", "GET"]
        assert proxy.requests[1].args == (b"SET", b"a", b"1")
        assert proxy.replies == 6
        assert proxy.round_trips == 2

    async def test_a_dropped_reply_belongs_to_a_write_that_happened(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        fault = proxy.drop_reply(matching=b"incr")

        with pytest.raises(RedisConnectionError):
            await client.incr("counter")

        assert server.client().get("counter") == b"1"
        assert fault.hits == 1
        assert await client.incr("counter") == 2

    async def test_a_dropped_request_never_arrives(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        proxy.drop_request(lambda request: b"counter" in request)

        with pytest.raises(RedisConnectionError):
            await client.incr("counter")

        assert server.client().get("counter") is None

    async def test_a_fault_waits_for_its_turn_and_ends_after_its_times(
        self, proxy: Proxy, client: Client
    ) -> None:
        fault = proxy.drop_reply(after=2, times=2)
        outcomes: list[object] = []
        for _ in range(6):
            try:
                outcomes.append(await client.incr("counter"))
            except RedisConnectionError:
                outcomes.append("dropped")

        assert outcomes == [1, 2, "dropped", "dropped", 5, 6]
        assert fault.hits == 2

    async def test_a_fault_waits_for_the_script_that_runs(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        server.client().script_flush()
        script = client.register_script("return redis.call('INCR', KEYS[1])")
        fault = proxy.drop_reply(matching=b"EVAL")

        with pytest.raises(RedisConnectionError):
            await script(keys=["counter"])

        assert proxy.commands == ["EVALSHA", "SCRIPT", "EVALSHA"]
        assert server.client().get("counter") == b"1"
        assert fault.hits == 1

    async def test_a_disarmed_fault_does_nothing(self, proxy: Proxy, client: Client) -> None:
        fault = proxy.drop_reply(times=None)
        fault.disarm()

        assert await client.incr("counter") == 1

    async def test_a_fault_inside_a_transaction_strikes_when_it_has_been_carried_out(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        proxy.drop_reply(matching=b"incr")

        async with client.pipeline(transaction=True) as pipe:
            with pytest.raises(RedisConnectionError):
                await pipe.incr("counter").set("other", 1).execute()

        assert server.client().mget("counter", "other") == [b"1", b"1"]

    async def test_replies_before_the_dropped_one_arrive(self, proxy: Proxy, server: Server) -> None:
        proxy.drop_reply(after=1)
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(_command("INCR a") * 3)

        assert await reader.read() == b":1\r\n"
        assert int(server.client().get("a") or 0) >= 2

        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def test_what_a_server_sends_unasked_is_nobodys_reply(self, proxy: Proxy, server: Server) -> None:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        for words in ("HELLO 3", "CLIENT TRACKING ON", "GET a"):
            writer.write(_command(words))
        await reader.readuntil(b"_\r\n")
        blocked = proxy.hold_reply(matching=b"blpop")
        writer.write(_command("BLPOP list 0"))
        await wait_until(lambda: server.client().info("clients")["blocked_clients"])
        server.client().set("a", 1)
        await reader.readuntil(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n")

        assert blocked.hits == 0

        server.client().rpush("list", "x")
        await blocked.reached()
        blocked.release()

        assert await reader.readexactly(len(_command("list x"))) == _command("list x")

        writer.close()
        await writer.wait_closed()

    async def test_a_held_reply_leaves_time_to_do_something_in_between(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        server.client().set("key", "before")
        hold = proxy.hold_reply(matching=b"get")
        reading = asyncio.create_task(client.get("key"))
        await hold.reached()
        server.client().set("key", "after")
        hold.release()

        assert await reading == b"before"
        assert await client.get("key") == b"after"

    async def test_a_held_request_cuts_a_pipeline_in_two(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        server.client().mset({"one": "before", "two": "before"})
        hold = proxy.hold_request(matching=b"two")
        both = client.pipeline(transaction=False).get("one").get("two")
        reading = asyncio.create_task(both.execute())
        await hold.reached()
        server.client().mset({"one": "after", "two": "after"})
        hold.release()

        assert await reading == [b"before", b"after"]

    async def test_a_hold_does_not_hold_other_connections(self, proxy: Proxy, client: Client) -> None:
        hold = proxy.hold_reply(matching=b"get")
        reading = asyncio.create_task(client.get("key"))
        await hold.reached()

        assert await client.set("key", "value")

        hold.release()
        await reading

    async def test_it_answers_with_an_error_in_the_servers_place(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        proxy.answer("READONLY You can't write against a read only replica.", matching=b"incr")

        with pytest.raises(ResponseError, match="read only"):
            await client.incr("counter")

        assert server.client().get("counter") is None
        assert await client.incr("counter") == 1

    async def test_an_error_in_the_place_of_a_transaction_undoes_it(
        self, proxy: Proxy, client: Client, server: Server
    ) -> None:
        proxy.answer("CLUSTERDOWN The cluster is down", matching=b"incr")

        async with client.pipeline(transaction=True) as pipe:
            with pytest.raises(RedisError, match="cluster is down"):
                await pipe.incr("counter").execute()

        assert server.client().get("counter") is None

    async def test_half_a_reply_is_a_connection_error(self, proxy: Proxy, client: Client) -> None:
        await client.set("key", "x" * 100_000)
        fault = proxy.reset_mid_reply(matching=b"get")

        with pytest.raises(RedisConnectionError):
            await client.get("key")
        assert fault.hits == 1

    async def test_a_delay_outlasts_an_impatient_client(self, proxy: Proxy) -> None:
        async with _client(proxy) as client:
            await client.ping()
            delay = proxy.delay(30)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.ping()
            delay.disarm()

            assert await client.ping()

    async def test_refused_connections_are_accepted_again_afterwards(
        self, proxy: Proxy, client: Client
    ) -> None:
        await client.ping()
        async with proxy.refuse_connections():
            with pytest.raises(RedisConnectionError):
                await client.ping()
            with pytest.raises(RedisConnectionError, match=r"refused|Connect call failed"):
                await client.ping()

        assert await client.ping()

    async def test_a_black_hole_swallows_requests(self, proxy: Proxy, client: Client, server: Server) -> None:
        await client.ping()
        with proxy.black_hole(), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.incr("counter")

        assert server.client().get("counter") is None
        assert await client.incr("counter") == 1

    async def test_a_black_hole_swallows_the_first_word_of_a_new_connection(self, proxy: Proxy) -> None:
        async with _client(proxy) as client:
            with proxy.black_hole(), pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.ping()

            assert await client.ping()

    async def test_a_server_that_is_down_ends_the_connection(self) -> None:
        with valkey_server() as server:
            async with Proxy(server) as proxy, _client(proxy) as client:
                await client.ping()
                server.kill()
                with pytest.raises(RedisConnectionError):
                    await client.ping()
                server.restart()

                assert await client.ping()

    async def test_it_speaks_tls_for_a_server_that_does_not(self, server: Server, tmp_path: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with Proxy(server, ssl=_tls(authority)) as proxy:
            assert proxy.url.startswith("rediss://")
            async with _client(proxy, ssl_ca_certs=str(tmp_path / "ca.pem")) as client:
                assert await client.ping()

    async def test_a_password_is_part_of_its_url(self) -> None:
        with valkey_server(requirepass="p@:/#?ss") as server:
            async with Proxy(server) as proxy, _client(proxy) as client:
                assert await client.ping()

    async def test_it_knows_its_connections(self, proxy: Proxy, client: Client) -> None:
        await client.ping()
        assert len(proxy.connections) == 1

        await client.connection_pool.disconnect()
        await wait_until(lambda: not proxy.connections)

        assert proxy.accepted == 1

    @pytest.mark.parametrize(
        "value",
        [
            b"+OK\r\n",
            b"-ERR wrong\r\n",
            b":-3\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$7\r\n+1\r\n*2\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n",
            b"~1\r\n,1.5\r\n",
            b"|1\r\n+ttl\r\n:3600\r\n*1\r\n_\r\n",
            b"=7\r\ntxt:a\r\n\r\n",
            b">2\r\n+message\r\n#t\r\n",
        ],
    )
    async def test_a_value_ends_where_it_ends(self, value: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(value + b"+NEXT\r\n")

        assert await read_value(reader) == value


class TestWaiting:
    async def test_it_gives_the_first_true_result(self) -> None:
        results = iter([0, None, "yes"])

        assert await wait_until(lambda: next(results)) == "yes"

    async def test_it_awaits_what_is_awaitable(self) -> None:
        async def ready() -> int:
            return 3

        assert await wait_until(ready) == 3

    async def test_it_gives_up_with_the_last_result(self) -> None:
        with pytest.raises(TimeoutError, match=r"last gave \[\]"):
            await wait_until(list, 0.02)


def _tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


def _command(words: str) -> bytes:
    parts = words.encode().split()
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
