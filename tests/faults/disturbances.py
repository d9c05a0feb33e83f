"""The faults. Each does its harm to a deployment under load, mends it, and tells how long that took.

That time is how long the deployment could not have served: until a bare client, which asks who is primary as
all do, had a write acknowledged again by as many replicas as writes wait for; or until the fault was lifted.
Writes resume within it and a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from redis_sessions.connection import MAX_ATTEMPT
from tests.support import poll
from tests.support.servers import HOST
from tests.support.waiting import pause_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from tests.faults.rounds import Worker
    from tests.faults.topologies import Deployment, Topology
    from tests.support import Proxy, Server

HANG = 3.0
TROUBLE = 2.0
"""Seconds that a hanging server, and other lasting trouble, takes."""


@dataclass(frozen=True)
class Disturbance:
    """A fault.

    Attributes:
        topologies: where it can be.
        unsettles: what a primary has done may be lost with it, or be read from it after another took over.
        clocks: seconds that the workers' clocks are off, in turn, for the whole round.
        conf: what servers must be started with.
        options: what stores must be opened with.
        unnoticed: seconds that it may last on for a client: what was swallowed on a connection that is open
            still is given up after an attempt's time.
        apart: seconds between two acknowledged writes when nothing is wrong.
    """

    act: Callable[[Deployment, Sequence[Worker], Sequence[str]], Awaitable[float]]
    topologies: tuple[Topology, ...] = ("single",)
    unsettles: bool = False
    clocks: tuple[float, ...] = (0.0,)
    conf: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    unnoticed: float = 0.0
    apart: float = 0.0

    @property
    def name(self) -> str:
        return self.act.__name__


# --- on the way


async def slow_answers(deployment: Deployment, *_: object) -> float:
    """Three answers a second on each connection, which many calls share."""
    fault = _proxy(deployment).delay(0.3)
    await pause_for(TROUBLE)
    fault.disarm()
    return TROUBLE


async def answers_cut_in_half(deployment: Deployment, *_: object) -> float:
    proxy = _proxy(deployment)
    await _again_and_again(lambda: proxy.reset_mid_reply(times=2))
    return TROUBLE


async def answers_dropped(deployment: Deployment, *_: object) -> float:
    """Scripts are carried out, and nobody learns of it."""
    proxy = _proxy(deployment)
    await _again_and_again(lambda: proxy.drop_reply(b"EVAL", times=3))
    return TROUBLE


async def requests_dropped(deployment: Deployment, *_: object) -> float:
    proxy = _proxy(deployment)
    await _again_and_again(lambda: proxy.drop_request(b"EVAL", times=3))
    return TROUBLE


async def a_black_hole(deployment: Deployment, *_: object) -> float:
    """Connections stay open, and nothing comes through."""
    with _proxy(deployment).black_hole():
        await pause_for(HANG)
    return HANG


# --- one server


async def a_server_that_hangs(deployment: Deployment, *_: object) -> float:
    """SIGSTOP, and SIGCONT after 3 s."""
    server = _server(deployment)
    server.pause()
    await pause_for(HANG)
    server.resume()
    return HANG


async def scripts_forgotten(deployment: Deployment, *_: object) -> float:
    """SCRIPT FLUSH."""
    client = _server(deployment).client()
    await _again_and_again(lambda: client.script_flush())
    return 0.1


async def clients_killed(deployment: Deployment, *_: object) -> float:
    """CLIENT KILL of every connection."""
    client = _server(deployment).client()
    await _again_and_again(lambda: client.client_kill_filter(_type="normal", skipme=True))
    return TROUBLE


async def memory_full(deployment: Deployment, *_: object) -> float:
    """``maxmemory`` is reached, with ``noeviction``."""
    client = _server(deployment).client()
    client.config_set("maxmemory", "1mb")
    await pause_for(TROUBLE)
    client.config_set("maxmemory", "0")
    return TROUBLE


async def disk_full(deployment: Deployment, *_: object) -> float:
    """The append-only file cannot grow: with ``everysec`` the server refuses writes until it can."""
    server = _server(deployment)
    _allow_files_to_grow_by(20_000, server)
    await pause_for(TROUBLE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    started = time.monotonic()
    await _until(lambda: server.client().info("persistence")["aof_last_write_status"] == "ok")
    return TROUBLE + time.monotonic() - started


async def disk_full_and_the_server_ends(deployment: Deployment, *_: object) -> float:
    """The same with ``always``: the server ends itself rather than acknowledge; then there is room again."""
    server = _server(deployment)
    _allow_files_to_grow_by(20_000, server)
    await _until(lambda: not server.alive)
    started = time.monotonic()
    await pause_for(0.5)
    await asyncio.to_thread(server.restart)
    return time.monotonic() - started


async def a_server_killed(deployment: Deployment, *_: object) -> float:
    """kill -9, and a start that replays the append-only file."""
    server = _server(deployment)
    started = time.monotonic()
    server.kill()
    await asyncio.to_thread(server.restart)
    return time.monotonic() - started


async def a_server_killed_between_fsyncs(deployment: Deployment, *_: object) -> float:
    """With ``everysec``: what WAITAOF has seen on the disk is there, and nothing else is acknowledged."""
    return await a_server_killed(deployment)


async def a_server_restarted(deployment: Deployment, *_: object) -> float:
    """SIGTERM, and a start that replays the append-only file."""
    server = _server(deployment)
    started = time.monotonic()
    await asyncio.to_thread(server.restart)
    return time.monotonic() - started


# --- workers


async def clocks_off(*_: object) -> float:
    """Two of the workers' clocks are 90 s off, one ahead and one behind."""
    await pause_for(TROUBLE)
    return 0.1


async def a_worker_killed(_: object, workers: Sequence[Worker], *__: object) -> float:
    """kill -9 of a worker in the middle of everything, and another in its place."""
    await workers[0].replace()
    return 0.5


# --- Sentinel


async def sentinel_primary_killed(deployment: Deployment, *_: object) -> float:
    return await _fail_over(deployment, lambda primary: primary.kill(), lambda primary: primary.restart())


async def sentinel_primary_killed_with_files(deployment: Deployment, *_: object) -> float:
    """The same where a write is acknowledged once it is in the files of two (WAITAOF)."""
    return await sentinel_primary_killed(deployment)


async def sentinel_primary_hangs(deployment: Deployment, *_: object) -> float:
    """SIGSTOP for longer than it takes to replace it; then it comes back, and thinks it is primary still."""
    return await _fail_over(deployment, lambda primary: primary.pause(), lambda primary: primary.resume())


async def sentinel_replica_killed(deployment: Deployment, *_: object) -> float:
    trio = deployment.trio
    assert trio is not None
    replica = next(node for node in trio.nodes if node is not trio.primary)
    replica.kill()
    await pause_for(TROUBLE)
    await asyncio.to_thread(replica.restart)
    return 0.1


async def a_sentinel_killed(deployment: Deployment, *_: object) -> float:
    trio = deployment.trio
    assert trio is not None
    trio.sentinels[0].kill()
    await pause_for(TROUBLE)
    await asyncio.to_thread(trio.sentinels[0].restart)
    return 0.1


async def _fail_over(
    deployment: Deployment, harm: Callable[[Server], object], mend: Callable[[Server], object]
) -> float:
    trio = deployment.trio
    assert trio is not None
    old = trio.primary
    started = time.monotonic()
    harm(old)
    await _until(lambda: trio.primary is not old and _takes_writes(trio.primary, "probe"))
    took = time.monotonic() - started
    await pause_for(max(HANG - took, 0.5))
    await asyncio.to_thread(mend, old)
    return took


# --- a cluster


async def cluster_primary_killed(deployment: Deployment, _: object, flows: Sequence[str]) -> float:
    cluster = deployment.cluster
    assert cluster is not None
    old = cluster.node_of(_key(flows[0]))
    partner = _partner(cluster.nodes, old)
    started = time.monotonic()
    old.kill()
    await _until(lambda: _role(partner) == "master")
    await asyncio.to_thread(old.restart)
    await _until(lambda: _takes_writes(partner, _key(flows[0])), 60)
    return time.monotonic() - started


async def cluster_replica_killed(deployment: Deployment, _: object, flows: Sequence[str]) -> float:
    cluster = deployment.cluster
    assert cluster is not None
    primary = cluster.node_of(_key(flows[0]))
    replica = _partner(cluster.nodes, primary)
    started = time.monotonic()
    replica.kill()
    await pause_for(0.5)
    await asyncio.to_thread(replica.restart)
    await _until(lambda: _takes_writes(primary, _key(flows[0])), 60)
    return time.monotonic() - started


async def cluster_primary_hangs(deployment: Deployment, _: object, flows: Sequence[str]) -> float:
    """SIGSTOP for longer than it takes to replace it."""
    cluster = deployment.cluster
    assert cluster is not None
    old = cluster.node_of(_key(flows[0]))
    partner = _partner(cluster.nodes, old)
    started = time.monotonic()
    old.pause()
    await _until(lambda: _role(partner) == "master")
    await pause_for(max(HANG - (time.monotonic() - started), 0.5))
    old.resume()
    await _until(lambda: _takes_writes(partner, _key(flows[0])), 60)
    return time.monotonic() - started


async def cluster_failover(deployment: Deployment, _: object, flows: Sequence[str]) -> float:
    """CLUSTER FAILOVER, there and back."""
    cluster = deployment.cluster
    assert cluster is not None
    longest = 0.0
    for _turn in range(2):
        old = cluster.node_of(_key(flows[0]))
        new = _partner(cluster.nodes, old)
        started = time.monotonic()
        new.client().execute_command("CLUSTER FAILOVER")
        await _until(partial(_takes_writes, new, _key(flows[0])))
        longest = max(longest, time.monotonic() - started)
        await pause_for(0.5)
        await settle(deployment)
    return longest


async def slots_migrated(deployment: Deployment, _: object, flows: Sequence[str]) -> float:
    """A flow's slot goes to another primary key by key, and back: MOVED, ASK and TRYAGAIN."""
    cluster = deployment.cluster
    assert cluster is not None
    slot = key_slot(flows[0].encode())
    longest = 0.0
    for _turn in range(2):
        source = cluster.node_of(_key(flows[0]))
        target = next(
            node
            for node in cluster.nodes
            if node not in (source, _partner(cluster.nodes, source)) and _role(node) == "master"
        )
        started = time.monotonic()
        cluster.begin_move(slot, source, target)
        while keys := source.client().execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            cluster.move_keys(source, target, *keys)
            await pause_for(0.02)
        cluster.end_move(slot, source, target)
        longest = max(longest, time.monotonic() - started)
        await pause_for(0.5)
    return longest


# --- between them


def primary_of(deployment: Deployment) -> Server | None:
    """The primary that the Sentinels name now, if there are any."""
    return deployment.trio.primary if deployment.trio is not None else None


async def settle(deployment: Deployment, seen: Server | None = None) -> float:
    """Wait until the deployment is whole again: every replica in step, every Sentinel of one mind.

    When (CLOCK_MONOTONIC) the Sentinels named another primary than ``seen`` for the last time, as far as was
    seen; on a cluster, when it was whole. Sentinel takes some 10 s to make a replica of a former primary.
    """
    changed = float("-inf")
    if deployment.trio is not None:
        trio = deployment.trio
        primary = seen or trio.primary

        def is_whole() -> bool:
            nonlocal changed, primary
            if trio.primary is not primary:
                changed, primary = time.monotonic(), trio.primary
            return _serves(primary, 2)

        await _until(is_whole, 60)
        await asyncio.to_thread(trio.wait_until_ok)
    if deployment.cluster is not None:
        await asyncio.to_thread(deployment.cluster.wait_until_ok)
        changed = time.monotonic()
    return changed


# --- what they are made of


def _proxy(deployment: Deployment) -> Proxy:
    assert deployment.proxy is not None
    return deployment.proxy


def _server(deployment: Deployment) -> Server:
    assert deployment.server is not None
    return deployment.server


def _key(flow: str) -> str:
    return f"{{{flow}}}"


async def _again_and_again(harm: Callable[[], object]) -> None:
    end = time.monotonic() + TROUBLE
    while time.monotonic() < end:
        harm()
        await pause_for(0.2)


async def _until(condition: Callable[[], Any], timeout: float = 30) -> Any:  # noqa: ASYNC109
    def holds() -> Any:
        with contextlib.suppress(RedisError, OSError):
            return condition()
        return None

    return await asyncio.to_thread(partial(poll, holds, timeout, interval=0.02))


def _role(node: Server) -> str:
    return str(node.client().info("replication")["role"])


def _serves(node: Server, replicas: int) -> bool:
    """Whether it is a primary with so many replicas in step."""
    info = node.client().info("replication")
    online = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict)]
    return info["role"] == "master" and sum(each["state"] == "online" for each in online) >= replicas


def _takes_writes(node: Server, key: str) -> bool:
    """Whether a bare client's write is acknowledged, and a replica has it."""
    with contextlib.closing(redis.Redis(host=HOST, port=node.port, socket_timeout=0.5)) as client:
        pipeline = client.pipeline(transaction=False).set(key, "probe")
        written, replicas = pipeline.wait(1, 200).execute()
    return bool(written and replicas >= 1)


def _allow_files_to_grow_by(size: int, server: Server) -> None:
    largest = max(path.stat().st_size for path in server.folder.rglob("*") if path.is_file())
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (largest + size, resource.RLIM_INFINITY))


def _partner(nodes: Sequence[Server], node: Server) -> Server:
    """The other of a primary and its replica: nodes of a cluster are three primaries, then their replicas."""
    place = list(nodes).index(node)
    return nodes[(place + len(nodes) // 2) % len(nodes)]


def _all() -> Iterator[Disturbance]:
    for act in (slow_answers, answers_cut_in_half):
        yield Disturbance(act)
    for act in (answers_dropped, requests_dropped, a_black_hole):
        yield Disturbance(act, unnoticed=MAX_ATTEMPT)
    for act in (a_server_that_hangs, scripts_forgotten, clients_killed, a_server_killed, a_server_restarted):
        yield Disturbance(act, ("single", "tls+acl"))
    yield Disturbance(memory_full, conf={"maxmemory-policy": "noeviction"})
    yield Disturbance(disk_full, conf={"appendfsync": "everysec"})
    yield Disturbance(disk_full_and_the_server_ends)
    yield Disturbance(
        a_server_killed_between_fsyncs,
        conf={"appendfsync": "everysec"},
        options={"wait_aof": True},
        apart=1.0,
    )
    yield Disturbance(clocks_off, clocks=(90.0, -90.0, 0.0, 0.0))
    yield Disturbance(a_worker_killed, ("single", "sentinel", "cluster"))
    for act in (sentinel_primary_killed, sentinel_primary_hangs):
        yield Disturbance(act, ("sentinel",), unsettles=True)
    yield Disturbance(
        sentinel_primary_killed_with_files, ("sentinel",), unsettles=True, options={"wait_aof": True}
    )
    for act in (sentinel_replica_killed, a_sentinel_killed):
        yield Disturbance(act, ("sentinel",))
    for act in (cluster_primary_killed, cluster_primary_hangs, cluster_failover):
        yield Disturbance(act, ("cluster",), unsettles=True)
    for act in (cluster_replica_killed, slots_migrated):
        yield Disturbance(act, ("cluster",))


DISTURBANCES = tuple(_all())
