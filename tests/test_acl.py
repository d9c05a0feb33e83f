"""The list of what the store's user may do is enough for everything, and nothing of it is too much."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, NewMessage, SessionStore, Transaction, VertexBuild, acl, connection
from redis_sessions.errors import AuthenticationError, RedisSessionsError
from tests.faults import topologies as faults
from tests.faults.topologies import guarded
from tests.support import REDIS_SERVER, Server, ValkeyCluster, redis_server, valkey_cluster, valkey_server
from tests.support.groups import sentinel_trio
from tests.support.servers import HOST
from tests.support.talk import at, say
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

USER, PASSWORD = "store", "s3cret"
NEEDS_DEBIAN = pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Server]:
    with valkey_server(maxmemory="200mb") as server:
        yield server


@pytest.fixture(scope="module")
def redis7() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as cluster:
        yield cluster


def give_user(server: Server, prefix: str, *, since_7_2: bool = True, without: str | None = None) -> None:
    """(Re)make the store's user, with all its rules or all but one, and forget what was refused so far."""
    client = server.client()
    words = [word for word in acl.rules(prefix, since_7_2=since_7_2).split() if word != f"+{without}"]
    client.execute_command("ACL SETUSER", USER, "reset", "on", f">{PASSWORD}", *words)
    client.execute_command("ACL LOG", "RESET")


def refused(client: redis.Redis) -> list[str]:
    """What was refused to the store's user, newest first."""
    return [entry["object"] for entry in client.acl_log() if entry["username"] == USER]


def open_store(url: str, prefix: str, **options: Any) -> SessionStore:
    return SessionStore.from_url(
        url, **({"prefix": prefix, "username": USER, "password": PASSWORD} | options)
    )


async def do_everything(url: str, prefix: str, **options: Any) -> None:
    """Every operation of the store, with and without what makes it take another way."""
    async with open_store(url, prefix, **options) as store:
        first = await say(store, timestamp=at(1), owner="ann")
        await say(store, timestamp=at(0))  # late
        await say(store, id=uuid4(), session="adopted")
        await say(store, id=uuid4(), session="gone")
        await store.delete_session("flow", "gone")
        await store.append_many(
            "flow", [NewMessage(text="x", sender="U", sender_name="A", session_id="chat")] * 2
        )
        await store.update(first.id, MessageUpdate(text="new"))
        await store.update(first.id, MessageUpdate(session_id="elsewhere"), flow_id="flow")
        await store.history("flow", "chat")
        await store.recent("flow")
        await store.version("flow", "chat")
        await store.sessions_of(["flow"])
        await store.find_sessions(["chat"], ["flow"])
        await store.has_flow("flow")
        [_ async for _ in store.export_json("flow", "chat")]
        async with contextlib.aclosing(store.watch("flow", after="0-0")) as events:
            await anext(events)
        await store.rename_session("flow", "adopted", "chat")
        await store.rename_session("flow", "chat", "elsewhere")
        gone = await say(store, session="elsewhere")
        await store.delete_messages([gone.id])
        await store.set_owner("flow", "bob")
        await store.flows(owner="bob")
        await store.flows()
        await store.put_build(VertexBuild(flow_id="flow", id="v", valid=True))
        await store.builds("flow")
        await store.add_transaction(Transaction(flow_id="flow", vertex_id="v", status="success"))
        await store.transactions("flow")
        await store.job_builds("flow", "job")
        await store.delete_job_builds("flow", ["job"])
        await store.trim_builds(1_000)
        await store.delete_transactions("flow", lambda one: True)
        await store.delete_builds("flow")
        await store.begin_deletion("flow")
        await store.deletions()
        await store.end_deletion("flow")
        await store.delete_session("flow", "elsewhere")
        await store.delete_flow("flow")
        await store.count("caller", window=timedelta(minutes=1))
        await store.counted("caller")
        await store.ping()
    async with open_store(url, prefix, ttl=timedelta(seconds=5), max_messages=1, **options) as store:
        await say(store, id=uuid4())
        await say(store, id=uuid4())
        await store.sessions("flow")
    async with open_store(url, prefix, **options) as store:
        await say(store)  # of a session that no longer expires
        await store.delete_flow("flow")


@pytest.mark.parametrize(
    ("kind", "since_7_2"), [("valkey", True), pytest.param("redis7", False, marks=NEEDS_DEBIAN)]
)
async def test_the_rules_are_enough(kind: str, since_7_2: bool, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    give_user(server, "rs", since_7_2=since_7_2)
    server.client().script_flush()

    await do_everything(f"{server.url.removesuffix('/0')}/3", "rs")

    assert refused(server.client()) == []


@NEEDS_DEBIAN
async def test_with_tls_on_redis_7_0_the_rules_are_enough_and_not_one_is_too_much(tmp_path: Path) -> None:
    """Redis counts the calls of each command that is granted; refused ones are in its log."""
    elsewhere = {*acl.IN_A_CLUSTER, *acl.MENDING, *acl.WAITING, "ping"}  # of idle connections
    with guarded("redis7", tmp_path, {}) as (server, authority):
        url = f"rediss://{HOST}:{server.conf('tls-port')}/3"
        options = {"username": faults.USER, "password": faults.PASSWORD, "tls_ca_file": str(authority)}
        server.client().config_resetstat()

        await do_everything(url, "rs", **options)

        counted = server.client().info("commandstats")
        assert server.client().acl_log() == []
    used = {name.removeprefix("cmdstat_") for name, each in counted.items() if each["calls"]}
    assert {*acl.commands(since_7_2=False)} - elsewhere - used == set()


async def test_the_rules_are_enough_on_sentinels() -> None:
    with sentinel_trio() as trio:
        give_user(trio.nodes[0], "rs")
        give_user(trio.nodes[1], "rs")
        give_user(trio.nodes[2], "rs")
        for sentinel in trio.sentinels:
            sentinel.client().execute_command(
                "ACL SETUSER", USER, "on", f">{PASSWORD}", *acl.sentinel_rules().split()
            )
        options = {"sentinel_username": USER, "sentinel_password": PASSWORD}

        async with open_store(trio.url, "rs", **options) as store:
            await say(store)

        assert [command for sentinel in trio.sentinels for command in refused(sentinel.client())] == []


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("rs", ["rs:flows", "rs:{f}:ids"], ["rs", "rs2:flows", "other"]),
        ("a*c", ["a*c:flows"], ["abc:flows"]),
        ("[ab]?\\", ["[ab]?\\:flows"], ["ax\\:flows", "[ab]x\\:flows"]),
        ("my app", ["my app:flows"], ["my:flows", "app:flows"]),
    ],
)
def test_keys_of_another_prefix_are_out_of_reach(
    valkey: Server, prefix: str, inside: list[str], outside: list[str]
) -> None:
    give_user(valkey, prefix)
    run = valkey.client().execute_command

    for key in inside:
        assert run("ACL DRYRUN", USER, "HGET", key, "x") == b"OK"
    for key in outside:
        assert run("ACL DRYRUN", USER, "HGET", key, "x") != b"OK"


@pytest.mark.parametrize(
    "command",
    [
        "ACL LIST",
        "CLIENT KILL TYPE normal",
        "CLIENT LIST",
        "CONFIG GET *",
        "DEBUG SLEEP 0",
        "DEL rs:flows",
        "FLUSHALL",
        "FLUSHDB",
        "FUNCTION LIST",
        "KEYS *",
        "MIGRATE 127.0.0.1 1 rs:flows 0 1",
        "MONITOR",
        "PUBLISH channel text",
        "REPLICAOF NO ONE",
        "SAVE",
        "SCAN 0",
        "SCRIPT FLUSH",
        "SHUTDOWN",
        "SUBSCRIBE channel",
        "SWAPDB 0 1",
    ],
)
def test_what_the_store_does_not_do_it_may_not_do(valkey: Server, command: str) -> None:
    give_user(valkey, "rs")

    answer = valkey.client().execute_command("ACL DRYRUN", USER, *command.split())

    assert b"no permissions" in answer


@pytest.mark.parametrize(
    "command", sorted({*acl.commands()} - {*acl.IN_A_CLUSTER, *acl.MENDING, "ping", "wait", "waitaof"})
)
async def test_no_command_can_be_left_out(valkey: Server, command: str) -> None:
    give_user(valkey, "rs", without=command)
    valkey.client().script_flush()
    valkey.client().flushall()

    with contextlib.suppress(RedisSessionsError):
        await do_everything(f"{valkey.url.removesuffix('/0')}/3", "rs")

    assert set(refused(valkey.client())) == {command}


async def test_ping_cannot_be_left_out(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEALTH_CHECK_INTERVAL", 0.01)
    give_user(valkey, "rs", without="ping")

    async def uses_an_idle_connection() -> bool:
        await store.owner("flow")
        return bool(refused(valkey.client()))

    async with open_store(valkey.url, "rs", deadline=timedelta(seconds=1)) as store:
        with contextlib.suppress(RedisSessionsError):
            await wait_until(uses_an_idle_connection, interval=0.02)

    assert set(refused(valkey.client())) == {"ping"}


@pytest.mark.parametrize(
    ("command", "options"), [("wait", {"wait_replicas": 1}), ("waitaof", {"wait_aof": True})]
)
@pytest.mark.parametrize("without", [True, False], ids=["without", "with"])
async def test_waiting_for_replicas(
    valkey: Server, command: str, options: dict[str, Any], without: bool
) -> None:
    give_user(valkey, "rs", without=command if without else None)
    async with open_store(valkey.url, "rs", deadline=timedelta(seconds=0.2), **options) as store:
        with pytest.raises(RedisSessionsError):  # there are no replicas, and no file
            await say(store)

    assert refused(valkey.client()) == ([command] if without else [])


def test_what_scripts_call_is_in_the_list() -> None:
    folder = Path(acl.__file__).parent / "lua"
    called = {
        name.lower()
        for script in folder.rglob("*.lua")
        for name in re.findall(r"redis\.p?call\('(\w+)'", script.read_text())
    }

    assert called - {"xinfo"} <= {*acl.KEYSPACE, *acl.MENDING, *acl.SERVER}


async def test_the_rules_are_enough_in_a_cluster(cluster: ValkeyCluster) -> None:
    for node in cluster.nodes:
        give_user(node, "rs")

    await do_everything(cluster.url, "rs")
    await read_from_a_slot_on_the_move(cluster, "rs")

    assert {command for node in cluster.nodes for command in refused(node.client())} == set()


@pytest.mark.parametrize("command", acl.IN_A_CLUSTER)
async def test_no_command_can_be_left_out_in_a_cluster(cluster: ValkeyCluster, command: str) -> None:
    for node in cluster.nodes:
        give_user(node, "rs", without=command)

    with contextlib.suppress(RedisSessionsError):
        await read_from_a_slot_on_the_move(cluster, "rs")

    assert {command for node in cluster.nodes for command in refused(node.client())} == {command}


async def read_from_a_slot_on_the_move(cluster: ValkeyCluster, prefix: str) -> None:
    """Let the client be told to ASK the node that a slot moves to."""
    slot = cluster.client().keyslot("{moving}")
    old = cluster.node_of("{moving}")
    new = next(node for node in cluster.primaries if node is not old)
    ids = {node: node.client().execute_command("CLUSTER MYID").decode() for node in (old, new)}
    new.client().execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[old])
    old.client().execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[new])
    try:
        async with open_store(cluster.url, prefix) as store:
            assert await store.owner("moving") is None
    finally:
        for node in (old, new):
            node.client().execute_command("CLUSTER SETSLOT", slot, "STABLE")


async def test_a_command_that_a_script_lacks_is_an_error_that_names_the_rules(valkey: Server) -> None:
    give_user(valkey, "rs", without="xadd")

    async with open_store(valkey.url, "rs", deadline=timedelta(seconds=2)) as store:
        with pytest.raises(AuthenticationError, match=r"docs/security\.md has the rules"):
            await say(store)


@pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed")
async def test_redis_7_0_words_it_otherwise_and_is_understood_too() -> None:
    with redis_server() as server:
        give_user(server, "rs", since_7_2=False, without="xadd")
        async with open_store(server.url, "rs", deadline=timedelta(seconds=2)) as store:
            with pytest.raises(AuthenticationError, match=r"docs/security\.md has the rules"):
                await say(store)
