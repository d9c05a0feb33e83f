"""A write is acknowledged when as many replicas have it as the settings ask for, and not before."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError

from redis_sessions import (
    BatchError,
    ConfigurationError,
    MessageUpdate,
    NewMessage,
    NotReplicatedError,
    SessionStore,
    StoreUnavailableError,
    Transaction,
    UnsupportedServerError,
)
from redis_sessions.cli.exits import Exit, code_of
from redis_sessions.faults import classify
from redis_sessions.replication import Replication
from redis_sessions.settings import Settings
from tests.support import REDIS_SERVER, Proxy, Server, redis_server, valkey_cluster, valkey_server, wait_until
from tests.support.servers import HOST
from tests.support.talk import FLOW, say, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ENOUGH, TOO_MANY = 1, 2


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary and its one replica."""
    conf = {"repl_diskless_sync_delay": 0, "appendonly": True, "appendfsync": "always"}
    with valkey_server(**conf) as primary, valkey_server(replicaof=(HOST, primary.port), **conf) as replica:
        yield primary, replica


@pytest.fixture
async def primary(pair: tuple[Server, Server]) -> AsyncIterator[Server]:
    server, replica = pair
    await wait_until(lambda: server.client().info("replication").get("slave0", {}).get("state") == "online")
    yield server
    if replica.client().info("replication")["role"] == "master":
        replica.client().replicaof(HOST, server.port)
    server.client().flushall()


async def test_a_write_that_enough_replicas_have_is_acknowledged(primary: Server) -> None:
    async with SessionStore.from_url(primary.url, wait_replicas=ENOUGH) as store:
        await say(store, "hello")
        before = store.round_trips
        await say(store, "again")

        assert store.round_trips == before + 1  # WAIT comes with the write
        assert await texts(store) == ["hello", "again"]


async def test_the_replica_has_it_when_it_is_acknowledged(
    pair: tuple[Server, Server], primary: Server
) -> None:
    _, replica = pair
    async with SessionStore.from_url(primary.url, wait_replicas=ENOUGH) as store:
        for number in range(50):
            await say(store, str(number))
            [key] = replica.client().keys("rs:{*}:log:*")
            assert replica.client().xlen(key) == number + 1


async def test_too_few_replicas_in_time_is_an_error_that_says_the_write_happened(primary: Server) -> None:
    async with SessionStore.from_url(primary.url) as store:
        await say(store, "first")
    async with SessionStore.from_url(primary.url, wait_replicas=TOO_MANY, deadline=1) as store:
        with pytest.raises(NotReplicatedError, match=r"was carried out.*1 of 2 replicas") as caught:
            await say(store, "hello")

        assert (caught.value.replicas, caught.value.wanted) == (1, 2)
        assert caught.value.write_may_have_happened
        assert store.counters.retries == 0
        assert await texts(store) == ["first", "hello"]


async def test_every_verb_waits(primary: Server) -> None:
    async with SessionStore.from_url(primary.url) as store:
        first, second = await say(store, "first"), await say(store, "second")
        await say(store, "third", "other")
        await say(store, "fourth", "stays")
    async with SessionStore.from_url(primary.url, wait_replicas=TOO_MANY, deadline=1) as store:
        run = Transaction(vertex_id="v", status="success", flow_id=FLOW)
        for write in (
            lambda: store.update(first.id, MessageUpdate(text="changed"), flow_id=FLOW),
            lambda: store.update(first.id, MessageUpdate(session_id="other"), flow_id=FLOW),
            lambda: store.delete_messages([second.id], flow_id=FLOW),
            lambda: store.rename_session(FLOW, "other", "another"),
            lambda: store.delete_session(FLOW, "another"),
            lambda: store.add_transaction(run),
            lambda: store.append_many(FLOW, [NewMessage(text="a", sender="User", sender_name="Ann")]),
        ):
            with pytest.raises(NotReplicatedError):
                await write()


async def test_a_call_that_wrote_nothing_is_not_waited_for(primary: Server) -> None:
    async with SessionStore.from_url(primary.url, wait_replicas=TOO_MANY, deadline=1) as store:
        assert await store.delete_session(FLOW, "nothing") == 0
        assert await store.delete_messages(["6f2f2f5e-0000-4000-8000-000000000000"], flow_id=FLOW) == []


async def test_a_new_flow_is_registered_on_the_replicas_before_its_first_message(primary: Server) -> None:
    async with SessionStore.from_url(primary.url, wait_replicas=TOO_MANY, deadline=1) as store:
        with pytest.raises(StoreUnavailableError, match="registration is on 1 of 2") as caught:
            await say(store, "hello")

        assert not caught.value.write_may_have_happened
        assert await texts(store) == []


async def test_a_batch_tells_which_sessions_were_not_replicated(primary: Server) -> None:
    async with SessionStore.from_url(primary.url) as store:
        await say(store, "first")
    async with SessionStore.from_url(
        primary.url, wait_replicas=TOO_MANY, deadline=1, max_text_bytes=9
    ) as store:
        batch = [
            NewMessage(text="a", sender="User", sender_name="Ann", session_id=name) for name in ("x", "y")
        ]
        with pytest.raises((BatchError, NotReplicatedError)):
            await store.append_many(FLOW, batch)

        assert sorted(await store.sessions(FLOW)) == ["chat", "x", "y"]


async def test_a_retry_waits_for_what_the_first_attempt_wrote(
    pair: tuple[Server, Server], primary: Server
) -> None:
    """The first attempt's connection is lost; WAIT on another would be satisfied by nothing at all."""
    _, replica = pair
    async with (
        Proxy(primary) as proxy,
        SessionStore.from_url(proxy.url, wait_replicas=ENOUGH, deadline=2) as store,
    ):
        await say(store, "first")
        replica.pause()
        try:
            lost = proxy.drop_reply(b"EVALSHA")
            with pytest.raises(NotReplicatedError):
                await say(store, "hello")
        finally:
            replica.resume()

        assert lost.hits == 1
        assert await texts(store) == ["first", "hello"]


async def test_a_retry_finds_the_first_attempt_and_then_the_replicas(primary: Server) -> None:
    async with Proxy(primary) as proxy, SessionStore.from_url(proxy.url, wait_replicas=ENOUGH) as store:
        await say(store, "first")
        proxy.drop_reply(b"WAIT")
        await say(store, "hello")

        assert await texts(store) == ["first", "hello"]
        assert store.counters.retries == 1


async def test_wait_aof_waits_for_the_disks(primary: Server) -> None:
    async with Proxy(primary) as proxy:
        async with SessionStore.from_url(proxy.url, wait_replicas=ENOUGH, wait_aof=True) as store:
            await say(store, "hello")
        async with SessionStore.from_url(proxy.url, wait_aof=True) as store:
            await say(store, "again")
            assert await texts(store) == ["hello", "again"]

        waits = [request.args[:3] for request in proxy.requests if request.name == b"WAITAOF"]
        assert waits[-1] == (b"WAITAOF", b"1", b"0")
        assert (b"WAITAOF", b"1", b"1") in waits


async def test_wait_aof_without_append_only_files_says_that_the_write_happened() -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url) as store:
            await say(store, "first")
        async with SessionStore.from_url(server.url, wait_aof=True) as store:
            with pytest.raises(NotReplicatedError, match="refuses to wait") as caught:
                await say(store, "hello")

            assert isinstance(caught.value.__cause__, ResponseError)
            assert await texts(store) == ["first", "hello"]


@pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed")
async def test_wait_aof_needs_a_server_that_has_it() -> None:
    with redis_server() as server, pytest.raises(UnsupportedServerError, match="WAITAOF"):
        await SessionStore.from_url(server.url, wait_aof=True).open()


async def test_memory_has_nothing_to_wait_for() -> None:
    with pytest.raises(ConfigurationError, match="wait_replicas"):
        await SessionStore.from_url("memory://", wait_replicas=1).open()


async def test_on_a_cluster_each_shard_waits_for_its_own_replica() -> None:
    with valkey_cluster(3, 1) as cluster:
        async with SessionStore.from_url(cluster.url, wait_replicas=1) as store:
            for number in range(12):
                await say(store, "hello", flow=f"flow-{number}")
            assert len(await store.flows()) == 12
        async with SessionStore.from_url(cluster.url, wait_replicas=2, deadline=1) as store:
            started = time.monotonic()
            with pytest.raises(NotReplicatedError):
                await say(store, "again", flow="flow-1")
            assert time.monotonic() - started < 2
            assert await texts(store, flow="flow-1") == ["hello", "again"]


def test_a_primary_that_was_demoted_while_it_waited_is_asked_again_whether_it_wrote() -> None:
    for text in (
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "WAIT cannot be used with replica instances.",
        "WAITAOF cannot be used with replica instances.",
    ):
        fault = classify(ResponseError(text))
        assert (fault.retry, fault.maybe_done) == (True, True)


def test_the_command_line_does_not_call_it_unavailable() -> None:
    assert code_of(NotReplicatedError("stored")) is Exit.UNKNOWN


@pytest.mark.parametrize(
    ("options", "answer", "told"),
    [
        ({"wait_replicas": 2}, 1, "on 1 of 2 replicas only"),
        ({"wait_aof": True}, [0, 0], "not in the append-only file of the primary yet: "),
        (
            {"wait_aof": True, "wait_replicas": 1},
            [0, 0],
            "of the primary yet, and in those of 0 of 1 replicas",
        ),
        ({"wait_aof": True, "wait_replicas": 1}, [1, 0], "files of the primary and 0 of 1 replicas only"),
    ],
)
async def test_an_error_says_what_the_write_is_not_safe_on(options: Any, answer: Any, told: str) -> None:
    """What Redis answers when its time is over; a disk that is so slow cannot be had here."""

    class Late:
        async def replies(self, *_: Any) -> list[Any]:
            return [b"OK", answer]

    connection: Any = SimpleNamespace(attempt_timeout=2.0)
    transport: Any = Late()
    replication = Replication(transport, connection, Settings(url="redis://localhost", **options))

    with pytest.raises(NotReplicatedError, match=re.escape(told)):
        await replication.run(b"key", ("SET", "key", "value"), bool)
