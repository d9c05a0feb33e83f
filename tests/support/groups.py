"""Servers that work together: a cluster, and a primary with replicas and Sentinels."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from tests.support.servers import HOST, Server, a_sentinel, a_server, credentials
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Group:
    """Servers that work together. What is done to the group is done to each; ``nodes`` has each one."""

    def __init__(self, nodes: Iterable[Server]) -> None:
        self.nodes = list(nodes)

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    @property
    def alive(self) -> bool:
        return all(node.alive for node in self.nodes)

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        for node in self.nodes:
            node.restart()

    def at(self, port: int) -> Server:
        """The node at a port."""
        return next(node for node in self.nodes if node.port == port)


class ValkeyCluster(Group):
    """A cluster; ``primaries`` and ``replicas`` are as created, before any failover."""

    def __init__(self, primaries: list[Server], replicas: list[Server]) -> None:
        super().__init__([*primaries, *replicas])
        self.primaries = primaries
        self.replicas = replicas
        self._client: redis.RedisCluster | None = None

    @property
    def url(self) -> str:
        addresses = ",".join(f"{HOST}:{node.port}" for node in self.primaries)
        return f"redis+cluster://{credentials(self.nodes[0].password)}{addresses}"

    def client(self) -> redis.RedisCluster:
        """A plain synchronous cluster client, always the same one; closed with the cluster."""
        if self._client is None:
            node = next(node for node in self.nodes if node.alive)
            self._client = redis.RedisCluster(host=HOST, port=node.port, password=node.password)
        return self._client

    def node_of(self, key: str | bytes) -> Server:
        """The primary that has the key's slot now."""
        self.client().nodes_manager.initialize()
        node = self.client().get_node_from_key(key)
        assert node is not None
        return self.at(int(node.port))

    def begin_move(self, slot: int, source: Server, target: Server) -> None:
        """The slot's keys may go from one primary to another; commands for them meet ASK and TRYAGAIN."""
        target.client().execute_command("CLUSTER SETSLOT", slot, "IMPORTING", _id_of(source))
        source.client().execute_command("CLUSTER SETSLOT", slot, "MIGRATING", _id_of(target))

    def move_keys(self, source: Server, target: Server, *keys: str | bytes) -> None:
        source.client().execute_command("MIGRATE", HOST, target.port, "", 0, 5_000, "KEYS", *keys)

    def end_move(self, slot: int, source: Server, target: Server) -> None:
        """The slot is the target's. The others learn it at once; clients by MOVED."""
        others = [
            node
            for node in self.nodes
            if node not in (source, target) and node.client().info("replication")["role"] == "master"
        ]
        for node in (target, source, *others):
            node.client().execute_command("CLUSTER SETSLOT", slot, "NODE", _id_of(target))

    def restart(self) -> None:
        super().restart()
        self.wait_until_ok()

    def wait_until_ok(self, timeout: float = 30) -> None:
        """Wait until every node says that the cluster is complete."""
        for node in self.nodes:
            poll(partial(self._knows_all, node), timeout)

    def _knows_all(self, node: Server) -> bool:
        try:
            info = node.client().execute_command("CLUSTER INFO")
            peers = node.client().execute_command("CLUSTER NODES")
            linked = node.client().info("replication")["role"] == "master" or _is_in_step(node)
        except RedisError:
            return False
        return (
            info["cluster_state"] == "ok"
            and len(peers) == len(self.nodes)
            and not any("handshake" in peer["flags"] for peer in peers.values())
            and linked
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _id_of(node: Server) -> str:
    return str(node.client().execute_command("CLUSTER MYID").decode())


class SentinelTrio(Group):
    """A primary and two replicas, which are the ``nodes``, and three ``sentinels``."""

    def __init__(self, nodes: list[Server], sentinels: list[Server], service: str) -> None:
        super().__init__(nodes)
        self.sentinels = sentinels
        self.service = service

    @property
    def ports(self) -> list[int]:
        """The Sentinels' ports, which are what a client is told."""
        return [sentinel.port for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        addresses = ",".join(f"{HOST}:{port}" for port in self.ports)
        return f"redis+sentinel://{credentials(self.nodes[0].password)}{addresses}/{self.service}"

    @property
    def primary(self) -> Server:
        """The one that the first Sentinel that runs calls primary now."""
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.alive)
        _, port = sentinel.client().execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.service)
        return self.at(int(port))

    def client(self) -> redis.Redis:
        """The client of the primary."""
        return self.primary.client()

    def wait_until_ok(self, timeout: float = 30) -> None:
        """Wait until every Sentinel knows both replicas and both other Sentinels."""
        for sentinel in self.sentinels:
            poll(partial(self._knows_all, sentinel), timeout)

    def _knows_all(self, sentinel: Server) -> bool:
        info = sentinel.client().info("sentinel")["master0"]
        return bool(info["status"] == "ok" and info["slaves"] == 2 and info["sentinels"] == 3)


@contextlib.contextmanager
def valkey_cluster(
    primaries: int = 3, replicas: int = 0, *, kind: str = "valkey", **conf: Any
) -> Iterator[ValkeyCluster]:
    """A cluster with ``replicas`` replicas for each of its primaries, complete and known to all."""
    conf = {
        "cluster_enabled": True,
        "cluster_announce_ip": HOST,
        "cluster_node_timeout": 5000,
        "cluster_replica_validity_factor": 0,
        "repl_diskless_sync_delay": 0,
        **({"masterauth": conf["requirepass"]} if "requirepass" in conf else {}),
        **conf,
    }
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(a_server(kind, **conf)) for _ in range(primaries * (1 + replicas))]
        cluster = ValkeyCluster(nodes[:primaries], nodes[primaries:])
        stack.callback(cluster.close)
        for number, node in enumerate(nodes):
            node.client().execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            for other in nodes[:number]:
                node.client().execute_command("CLUSTER MEET", HOST, other.port)
        for number, node in enumerate(cluster.primaries):
            first, after = (16_384 * n // primaries for n in (number, number + 1))
            node.client().execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
        for number, node in enumerate(cluster.replicas):
            primary = cluster.primaries[number % primaries].client().execute_command("CLUSTER MYID")
            poll(partial(_replicates, node, primary), timeout=30)
        cluster.wait_until_ok()
        yield cluster


def _replicates(node: Server, primary: bytes) -> bool:
    try:
        node.client().execute_command("CLUSTER REPLICATE", primary)
    except RedisError:  # it has not heard of this primary yet
        return False
    return True


@contextlib.contextmanager
def sentinel_trio(
    service: str = "sessions",
    *,
    kind: str = "valkey",
    down_after_ms: int = 1000,
    sentinel_password: str | None = None,
    **conf: Any,
) -> Iterator[SentinelTrio]:
    """A primary with two replicas, watched by three Sentinels that agree; all of ``kind``, Valkey.

    ``conf`` is for the data servers; a ``requirepass`` in it is told to replicas and Sentinels too.
    """
    password = conf.get("requirepass")
    conf = {"repl_diskless_sync_delay": 0, **({"masterauth": password} if password else {}), **conf}
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(a_server(kind, **conf))
        replicas = [
            stack.enter_context(a_server(kind, replicaof=(HOST, primary.port), **conf)) for _ in range(2)
        ]
        for replica in replicas:
            poll(partial(_is_in_step, replica), timeout=30)
        settings: list[tuple[object, ...]] = [
            ("monitor", service, HOST, primary.port, 2),
            ("down-after-milliseconds", service, down_after_ms),
            ("failover-timeout", service, 5 * down_after_ms),
        ]
        if password:
            settings.append(("auth-pass", service, password))
        if sentinel_password:
            settings.append(("sentinel-pass", sentinel_password))
        access = {"requirepass": sentinel_password} if sentinel_password else {}
        sentinels = [stack.enter_context(a_sentinel(kind, sentinel=settings, **access)) for _ in range(3)]
        trio = SentinelTrio([primary, *replicas], sentinels, service)
        trio.wait_until_ok()
        yield trio


def _is_in_step(replica: Server) -> bool:
    return bool(replica.client().info("replication").get("master_link_status") == "up")
