"""The server: whether it can be used, how safe the data is there, and how much room is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from redis_sessions.doctor.commands import refused_commands
from redis_sessions.doctor.report import Fact
from redis_sessions.errors import RedisSessionsError
from redis_sessions.formats import FORMAT, check_format
from redis_sessions.nodes import Node, primaries
from redis_sessions.server import OLDEST_REDIS

if TYPE_CHECKING:
    from redis_sessions.doctor.report import State
    from redis_sessions.parts import Parts
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore

_SLOTS = 16_384
_SKEW_WARNING = 1.0
_FULL, _FILLING = 0.95, 0.8
_MIB = 2**20
Info = dict[str, Any]


async def check_server(store: SessionStore) -> list[Fact]:
    """What there is to say about the server; of a cluster, about each of its primaries."""
    parts = store._parts
    facts = [await _connection(store), await _format(parts)]
    if parts.connection.kind == "memory":
        text = "memory:// keeps sessions in this process only: they are gone when it ends"
        return [*facts, Fact("persistence", "note", text)]
    nodes = await primaries(parts)
    for node in nodes:
        where = f" of {node.name}" if len(nodes) > 1 else ""
        info: Info = {}
        for section in ("server", "persistence", "memory", "replication"):
            info |= await _section(node, section)
        facts += [
            Fact(fact.name + where, fact.state, fact.text)
            for fact in (
                _version(info),
                _persistence(info),
                _eviction(info, store.settings),
                await _expiry(node, store.settings),
                _memory(info),
                _replication(info, store.settings),
                await _clock(node, store.settings),
            )
        ]
    facts += [await _acl(parts)]
    if isinstance(parts.connection.client, RedisCluster):
        facts.append(await _slots(nodes[0]))
    return facts


async def _connection(store: SessionStore) -> Fact:
    started = time.perf_counter()
    await store.ping()
    taken = (time.perf_counter() - started) * 1_000
    return Fact("connection", "ok", f"{store.connection.safe_url} answers in {taken:.1f} ms")


async def _format(parts: Parts) -> Fact:
    stored = await check_format(parts.calls, parts.transport, parts.keys)
    text = f"{FORMAT}" + (
        ""
        if stored == FORMAT
        else "; messages of older ones may be there too (redis-sessions migrate --dry-run)"
    )
    return Fact("format", "ok", text)


async def _section(node: Node, name: str) -> Info:
    try:
        return await node.info(name)
    except RedisSessionsError:
        return {}


def _version(info: Info) -> Fact:
    if "redis_version" not in info:
        return _not_told("version")
    compatible = str(info["redis_version"])
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = str(info.get("valkey_version", compatible))
    state: State = "ok" if tuple(map(int, compatible.split(".")[:2])) >= OLDEST_REDIS else "problem"
    return Fact("version", state, f"{name} {version}")


def _persistence(info: Info) -> Fact:
    if "aof_enabled" not in info:
        return _not_told("persistence")
    failing = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if failing:
        text = f"the server fails to write its data to disk ({', '.join(failing)}): its log says why"
        return Fact("persistence", "problem", text)
    if info["aof_enabled"]:
        return Fact("persistence", "ok", "append-only file")
    saves = info.get("rdb_saves")
    snapshots = f" ({saves:,} snapshots since it started)" if saves is not None else ""
    text = f"no append-only file: a crash loses what no snapshot has{snapshots} (appendonly yes)"
    return Fact("persistence", "warning", text)


def _eviction(info: Info, settings: Settings) -> Fact:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return _not_told("eviction")
    if not info.get("maxmemory") or policy == "noeviction":
        return Fact("eviction", "ok", str(policy))
    if str(policy).startswith("allkeys"):
        text = f"{policy}: when memory is full this server throws sessions away, in parts (noeviction)"
        return Fact("eviction", "problem", text)
    text = f"{policy}: when memory is full this server throws away sessions with a time to live (noeviction)"
    return Fact("eviction", "warning" if settings.ttl is None else "problem", text)


async def _expiry(node: Node, settings: Settings) -> Fact:
    """Redis frees what expires in the way of all others unless it is told not to; Valkey does not since 8."""
    name = "lazyfree-lazy-expire"
    try:
        reply = await node.run("CONFIG GET", name)
    except RedisSessionsError:
        text = f"not told: this user may not use CONFIG; with a time to live, {name} is to be yes"
        return Fact("expiry", "note", text)
    if str(dict(reply).get(name)) == "yes":
        return Fact("expiry", "ok", "what expires is freed in the background")
    text = f"the end of a very long session keeps all others waiting ({name} yes)"
    return Fact("expiry", "note" if settings.ttl is None else "warning", text)


def _memory(info: Info) -> Fact:
    if "used_memory" not in info:
        return _not_told("memory")
    used, most = int(info["used_memory"]), int(info.get("maxmemory") or 0)
    if not most:
        total = int(info.get("total_system_memory") or 0)
        state: State = "warning" if total and used > total * _FILLING else "ok"
        rest = f" of the machine's {total / _MIB:,.0f} MiB" if total else ""
        return Fact("memory", state, f"{used / _MIB:,.1f} MiB{rest}, no limit (maxmemory 0)")
    part = used / most
    state = "problem" if part >= _FULL else "warning" if part >= _FILLING else "ok"
    text = f"{used / _MIB:,.1f} of {most / _MIB:,.1f} MiB ({part:.0%}); writes are refused at 100%"
    return Fact("memory", state, text)


def _replication(info: Info, settings: Settings) -> Fact:
    if "role" not in info:
        return _not_told("replication")
    if info["role"] != "master":
        return Fact("replication", "problem", "this is a replica: it refuses writes")
    replicas = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict)]
    online = [replica for replica in replicas if replica.get("state") == "online"]
    behind = max((int(info["master_repl_offset"]) - int(one["offset"]) for one in online), default=0)
    text = f"{len(online)} of {len(replicas)} replicas online" if replicas else "no replicas"
    if online:
        text += f", at most {behind:,} bytes behind"
    if len(online) < settings.wait_replicas:
        return Fact("replication", "problem", f"{text}; writes wait for {settings.wait_replicas} of them")
    return Fact("replication", "ok" if len(online) == len(replicas) else "warning", text)


async def _clock(node: Node, settings: Settings) -> Fact:
    """Half of the trip is taken for the way there."""
    before = time.time()
    seconds, microseconds = await node.run("TIME")
    after = time.time()
    skew = int(seconds) + int(microseconds) / 1e6 - (before + after) / 2
    unsure = (after - before) / 2
    text = f"this machine's clock differs by {skew:+.3f} s (± {unsure:.3f} s)"
    if -skew > settings.max_ahead.total_seconds():
        return Fact("clock", "problem", f"{text}: its messages are refused (max_ahead)")
    return Fact("clock", "warning" if abs(skew) - unsure > _SKEW_WARNING else "ok", text)


async def _acl(parts: Parts) -> Fact:
    try:
        refused = await refused_commands(parts)
    except (RedisSessionsError, RedisError) as error:
        return Fact("acl", "warning", f"cannot be told: {error}")
    if refused:
        text = f"this user may not use {', '.join(refused)}: the calls that need them fail"
        return Fact("acl", "problem", text)
    return Fact("acl", "ok", "this user may use every command and script that is needed")


async def _slots(node: Node) -> Fact:
    reply = await node.run("CLUSTER INFO")
    state, covered = str(reply["cluster_state"]), int(reply["cluster_slots_ok"])
    text = f"{covered:,} of {_SLOTS:,} slots are served, state {state}"
    return Fact("slots", "ok" if state == "ok" and covered == _SLOTS else "problem", text)


def _not_told(name: str) -> Fact:
    return Fact(name, "note", "not told: this user may not use INFO")
