"""Many watchers, one reader."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import (
    FeedGapError,
    NewMessage,
    SessionStore,
    StoreClosedError,
    StoreUnavailableError,
    WrongTypeError,
)
from redis_sessions.watchers import MAX_EVENTS
from tests.support import valkey_server, wait_until
from tests.support.talk import events_of, keys_of, say, take

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from redis_sessions import Event
    from tests.conftest import Backend

FLOWS = [f"flow-{number}" for number in range(40)]


def text_of(event: Event) -> str | None:
    return event.message.text if event.message is not None else None


@contextlib.asynccontextmanager
async def watching(
    store: SessionStore, *flows: str, **options: Any
) -> AsyncIterator[list[AsyncGenerator[Event, None]]]:
    """Watches that have begun: each has seen its flow's first message."""
    async with contextlib.AsyncExitStack() as stack:
        watches = []
        for flow in dict.fromkeys(flows):
            await say(store, "first", flow=flow)
        for flow in flows:
            watch = store.watch(flow, after="0-0", **options)
            watches.append(await stack.enter_async_context(contextlib.aclosing(watch)))
        await asyncio.gather(*(anext(watch) for watch in watches))
        yield watches


async def messages_at(store: SessionStore, texts: list[str], flow: str) -> None:
    batch = [NewMessage(text=text, sender="U", sender_name="A", session_id="chat") for text in texts]
    for first in range(0, len(batch), 100):
        await store.append_many(flow, batch[first : first + 100])


async def test_all_feeds_wait_on_one_connection(valkey_store: SessionStore, backend: Backend) -> None:
    def waits() -> int:
        clients: list[dict[str, str]] = backend.redis.client_list()
        return sum(client["cmd"] == "xread" and "b" in client["flags"] for client in clients)

    async with watching(valkey_store, *FLOWS, *FLOWS) as watches:
        nexts = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await wait_until(lambda: waits() == 1)
        for flow in FLOWS:
            await say(valkey_store, flow, flow=flow)
        assert [text_of(event) for event in await asyncio.gather(*nexts)] == [*FLOWS, *FLOWS]
        assert waits() <= 1


async def test_a_changed_message_is_read_once_for_all_who_watch(valkey_store: SessionStore) -> None:
    async def trips(watchers: int) -> int:
        async with watching(valkey_store, *["flow"] * watchers) as watches:
            nexts = [asyncio.ensure_future(anext(watch)) for watch in watches]
            before = valkey_store.round_trips
            await say(valkey_store, flow="flow")
            await asyncio.gather(*nexts)
            return valkey_store.round_trips - before

    assert await trips(50) <= await trips(1) + 2


async def test_a_flow_that_comes_to_be_watched_need_not_wait_for_the_others(real_store: SessionStore) -> None:
    async with watching(real_store, "quiet") as [quiet]:
        waiting = asyncio.ensure_future(anext(quiet))
        for number in range(5):
            flow = f"new-{number}"
            await say(real_store, "before", flow=flow)
            async with watching(real_store, flow) as [watch]:
                next_one = asyncio.ensure_future(anext(watch))
                started = time.monotonic()
                await say(real_store, "now", flow=flow)
                while text_of(await next_one) != "now":
                    next_one = asyncio.ensure_future(anext(watch))
                assert time.monotonic() - started < 0.7
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_slow_watcher_gets_everything_once_and_in_order(store: SessionStore) -> None:
    texts = [str(number) for number in range(3 * MAX_EVENTS)]
    async with watching(store, "flow", "flow") as [slow, fast]:
        writing = asyncio.create_task(messages_at(store, texts, "flow"))
        assert [text_of(await anext(fast)) for _ in texts] == texts
        await writing
        assert [text_of(await anext(slow)) for _ in texts] == texts
        await say(store, "last", flow="flow")
        assert [text_of(await anext(watch)) for watch in (slow, fast)] == ["last", "last"]


@pytest.mark.store_options(feed_max_events=200)
async def test_a_watcher_that_is_slower_than_the_feed_is_long_is_told_so(store: SessionStore) -> None:
    async with watching(store, "flow") as [slow]:
        for number in range(MAX_EVENTS + 400):
            await say(store, str(number), flow="flow")
        with pytest.raises(FeedGapError) as caught:
            await take(slow, MAX_EVENTS + 400)
    # It may have been cut off long before the last of those were written: then there is another gap.
    place, seen = caught.value.resume_after, ""
    while seen != "next":
        await say(store, "next", flow="flow")
        try:
            async with contextlib.aclosing(store.watch("flow", after=place)) as rest:
                while seen != "next":
                    seen = text_of(await anext(rest)) or ""
        except FeedGapError as again:
            place = again.resume_after


async def test_watchers_of_sessions_and_of_their_flow_see_the_same_events(store: SessionStore) -> None:
    async with (
        watching(store, "flow") as [everything],
        contextlib.aclosing(store.watch("flow", session_id="a", after="0-0")) as of_a,
        contextlib.aclosing(store.watch("flow", session_id="b", after="0-0")) as of_b,
    ):
        nexts = [asyncio.ensure_future(anext(watch)) for watch in (of_a, of_b)]
        for number in range(20):
            await say(store, str(number), "ab"[number % 2], flow="flow")
        all_events = [await anext(everything) for _ in range(20)]
        a = [await nexts[0], *[await anext(of_a) for _ in range(9)]]
        b = [await nexts[1], *[await anext(of_b) for _ in range(9)]]

    assert all_events[::2] == a
    assert all_events[1::2] == b


async def test_whoever_joins_whenever_misses_nothing_and_gets_nothing_twice(store: SessionStore) -> None:
    dice = random.Random(7)
    flows = FLOWS[:4]
    wanted = {flow: [f"{flow} {number}" for number in range(60)] for flow in flows}

    async def write(flow: str) -> None:
        for text in wanted[flow]:
            await say(store, text, flow=flow)

    async def read(flow: str) -> list[str | None]:
        """All events, in several watches, each behind the last event of the one before."""
        seen: list[str | None] = []
        after = "0-0"
        while len(seen) < len(wanted[flow]):
            count = min(dice.randint(1, 25), len(wanted[flow]) - len(seen))
            events = await take(store.watch(flow, after=after), count, timeout=60)
            seen += [text_of(event) for event in events]
            after = events[-1].id
        return seen

    readers = [(flow, asyncio.create_task(read(flow))) for flow in flows for _ in range(6)]
    await asyncio.gather(*(write(flow) for flow in flows))
    for flow, reader in readers:
        assert await reader == wanted[flow]


async def test_a_feed_that_is_no_stream_any_more_fails_its_own_watchers_only(
    real_store: SessionStore, backend: Backend
) -> None:
    store = real_store
    async with watching(store, "broken", "whole") as [broken, whole]:
        failing = asyncio.ensure_future(anext(broken))
        raw = backend.raw(store)
        async with contextlib.AsyncExitStack() as stack:
            key = keys_of(store, "broken").feed
            await raw.delete(key)
            await raw.set(key, "x")
            stack.push_async_callback(raw.delete, key)
            await say(store, "now", flow="whole")
            assert text_of(await anext(whole)) == "now"
            with pytest.raises(WrongTypeError):
                await failing


async def test_closing_the_store_ends_all_watching(backend: Backend) -> None:
    async with (
        SessionStore.from_url(backend.url, prefix=backend.prefix) as store,
        watching(store, "a", "b") as watches,
    ):
        nexts = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await store.aclose()
        for waiting in nexts:
            with pytest.raises(StoreClosedError):
                await waiting


async def test_redis_that_goes_away_is_told_to_all_and_nothing_is_lost() -> None:
    with valkey_server(appendonly=True, appendfsync="always") as server:
        async with (
            SessionStore.from_url(server.url, deadline=timedelta(seconds=0.5)) as store,
            watching(store, "a", "a", "b") as watches,
        ):
            nexts = [asyncio.ensure_future(anext(watch)) for watch in watches]
            await say(store, "before", flow="a")
            first, second = await nexts[0], await nexts[1]
            assert first == second
            nexts[0] = asyncio.ensure_future(anext(watches[0]))
            server.kill()
            for waiting in (nexts[0], nexts[2]):
                with pytest.raises(StoreUnavailableError):
                    await waiting
            server.restart()
            await say(store, "after", flow="a")
            [event] = await take(store.watch("a", after=first.id), 1)
            assert text_of(event) == "after"


async def test_a_watch_that_ends_leaves_the_others_alone(store: SessionStore) -> None:
    async with watching(store, "flow", "flow") as [one, other]:
        await one.aclose()
        await say(store, "now", flow="flow")
        assert text_of(await anext(other)) == "now"
    assert len(await events_of(store, 2, flow="flow")) == 2
