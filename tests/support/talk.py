"""Short forms for tests that talk to a store."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster

from redis_sessions.keys import FlowKeys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from redis_sessions import Event, Message, SessionStore

FLOW = "flow"
_START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment in the past; the later, the more ``seconds``."""
    return _START + timedelta(seconds=seconds)


async def say(
    store: SessionStore, text: str = "hello", session: str = "chat", *, flow: str = FLOW, **fields: Any
) -> Message:
    """Store a message."""
    fields = {"sender": "User", "sender_name": "Ann", **fields}
    return await store.append(flow, text=text, session_id=session, **fields)


def fields(message: Message | None, **changes: Any) -> dict[str, Any]:
    """What a message holds, with some of it changed."""
    assert message is not None
    return {**message.model_dump(), **changes}


async def texts(store: SessionStore, session: str = "chat", *, flow: str = FLOW, **options: Any) -> list[str]:
    """What the newest messages of a session say, oldest first."""
    return [message.text for message in await store.history(flow, session, **options)]


async def take(events: AsyncGenerator[Event, None], count: int, timeout: float = 10) -> list[Event]:  # noqa: ASYNC109
    """The next ``count`` events; then the watch is over."""
    async with asyncio.timeout(timeout), contextlib.aclosing(events):
        return [await anext(events) for _ in range(count)]


async def events_of(store: SessionStore, count: int, *, flow: str = FLOW, **options: Any) -> list[Event]:
    """The first ``count`` events of a flow, from the beginning of its feed."""
    return await take(store.watch(flow, after="0-0", **options), count)


def keys_of(store: SessionStore, flow: str = FLOW) -> FlowKeys:
    return FlowKeys(store.settings.prefix, flow)


async def all_keys(store: SessionStore) -> list[bytes]:
    """Every key under the store's prefix, on every node, sorted."""
    raw: Any = store.connection.client
    everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(raw, RedisCluster) else {}
    prefix = store.settings.prefix.encode() + b":"
    return sorted(key for key in await raw.keys("*", **everywhere) if key.startswith(prefix))


async def dump(store: SessionStore) -> dict[bytes, Any]:
    """Everything under all keys of the store's prefix: type, content, and whether it expires."""
    raw: Any = store.connection.client
    found = {}
    for key in await all_keys(store):
        kind = (await raw.type(key)).decode()
        content: Any
        if kind == "stream":
            info = await raw.xinfo_stream(key)
            content = (await raw.xrange(key), info["last-generated-id"])
        elif kind == "hash":
            content = await raw.hgetall(key)
        elif kind == "zset":
            content = await raw.zrange(key, 0, -1, withscores=True)
        elif kind == "set":
            content = await raw.smembers(key)
        elif kind == "list":
            content = await raw.lrange(key, 0, -1)
        else:
            content = await raw.get(key)
        found[key] = (kind, content, await raw.pttl(key) >= 0)
    return found


@contextlib.asynccontextmanager
async def nothing_changes(store: SessionStore) -> AsyncIterator[None]:
    """Whatever happens inside, all keys are afterwards as they were before."""
    before = await dump(store)
    yield
    assert await dump(store) == before
