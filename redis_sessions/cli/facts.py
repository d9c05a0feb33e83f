"""What can be said about a store in a few commands, whatever its size."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoPermissionError

from redis_sessions.faults import REDIS_FAULTS, classify
from redis_sessions.keys import Keys

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore

Section = dict[str, Any]


async def facts(store: SessionStore) -> dict[str, Any]:
    """The shape of ``info --json``. What the server does not tell is None."""
    started = time.perf_counter()
    await store.ping()
    taken = time.perf_counter() - started
    server, persistence, memory = [
        await _section(store, name) for name in ("server", "persistence", "memory")
    ]
    client, kind = store.connection.client, store.connection.kind
    return {
        "url": store.connection.safe_url,
        "kind": kind,
        "server": "fakeredis" if kind == "memory" else _server(server),
        "version": server.get("valkey_version", server.get("redis_version")),
        "primaries": len(client.get_primaries()) if isinstance(client, RedisCluster) else 1,
        "ping_ms": round(taken * 1_000, 2),
        "prefix": store.settings.prefix,
        "flows": await _flow_count(store),
        "aof": bool(persistence["aof_enabled"]) if "aof_enabled" in persistence else None,
        "snapshots_since_start": persistence.get("rdb_saves"),
        "persisting_fails": _persisting_fails(persistence),
        "used_memory_bytes": memory.get("used_memory"),
        "max_memory_bytes": memory.get("maxmemory") or None,
        "eviction": memory.get("maxmemory_policy"),
    }


async def _flow_count(store: SessionStore) -> int | None:
    """How many flows are registered; None where the user may not ask."""
    try:
        return int(await store.connection.client.scard(Keys(store.settings.prefix).flows))
    except NoPermissionError:
        return None
    except REDIS_FAULTS as cause:
        raise classify(cause).error(False) from cause


async def _section(store: SessionStore, name: str) -> Section:
    """A section of INFO (in a cluster, of one primary); empty where the server does not give it."""
    client = store.connection.client
    with contextlib.suppress(*REDIS_FAULTS):
        if isinstance(client, RedisCluster):
            return dict(await client.info(name, target_nodes=client.get_primaries()[0]))
        return dict(await client.info(name))
    return {}


def _server(section: Section) -> str | None:
    if not section:
        return None
    return str(section.get("server_name", "redis"))


def _persisting_fails(section: Section) -> bool | None:
    if not section:
        return None
    return "err" in (section.get("rdb_last_bgsave_status"), section.get("aof_last_write_status"))
