"""Appends to sessions that were met, at the same time: together on the way, each for itself in effect."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import InvalidTimestampError, OwnerMismatchError, SessionStore, WrongTypeError
from redis_sessions.scripting import NAMES, source
from tests.support import Proxy, Server
from tests.support.talk import FLOW, at, events_of, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis_sessions import Message
    from tests.conftest import Backend, MakeStore

pytestmark = pytest.mark.store_options(deadline=timedelta(seconds=20))
SESSIONS = [f"chat {number}" for number in range(5)]


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[Proxy]:
    assert isinstance(backend.server, Server)
    for name in NAMES:
        backend.server.client().script_load(source(name).text)
    async with Proxy(backend.server) as proxy:
        yield proxy


@pytest.fixture
async def far(make_store: MakeStore, proxy: Proxy) -> SessionStore:
    """A store behind the proxy that has met the sessions."""
    store = await make_store(proxy.url, deadline=timedelta(seconds=20))
    await begin(store)
    proxy.forget()
    return store


async def begin(store: SessionStore, **fields: Any) -> None:
    for session in SESSIONS:
        await say(store, "first", session, **fields)


async def many(store: SessionStore, count: int = 50) -> list[Message]:
    """Messages to all sessions in turn, all at once."""
    names = [SESSIONS[number % len(SESSIONS)] for number in range(count)]
    return await asyncio.gather(*(say(store, str(number), name) for number, name in enumerate(names)))


async def check(store: SessionStore, stored: list[Message]) -> None:
    """What was answered is what is there, once."""
    found = [message for name in SESSIONS for message in await store.history(FLOW, name, limit=1_000)]
    assert {message.id: message for message in stored} == {
        message.id: message for message in found if message.text != "first"
    }
    assert max(Counter(message.text for message in found if message.text != "first").values()) == 1


async def test_each_call_stores_its_own_message_once(store: SessionStore) -> None:
    await begin(store)
    stored = await many(store)
    assert [message.text for message in stored] == [str(number) for number in range(50)]
    await check(store, stored)


async def test_each_message_has_an_event_of_its_own(store: SessionStore) -> None:
    await begin(store)
    stored = await many(store)
    events = await events_of(store, 55)
    assert Counter(event.message_id for event in events[5:]) == Counter(message.id for message in stored)


@pytest.mark.backends("valkey")
async def test_calls_at_the_same_time_go_in_few_scripts(far: SessionStore, proxy: Proxy) -> None:
    await check(far, await many(far))
    sent = [request for request in proxy.requests if source("append_known").sha in request.raw]
    assert len(sent) <= 5


@pytest.mark.backends("valkey")
async def test_a_group_whose_reply_is_lost_is_stored_once(far: SessionStore, proxy: Proxy) -> None:
    lost = proxy.drop_reply(lambda raw: source("append_known").sha in raw, after=1)
    await check(far, await many(far))
    assert lost.hits == 1


@pytest.mark.backends("valkey")
async def test_a_group_that_is_lost_on_the_way_is_stored_once(far: SessionStore, proxy: Proxy) -> None:
    lost = proxy.drop_request(lambda raw: source("append_known").sha in raw, after=1)
    await check(far, await many(far))
    assert lost.hits == 1


@pytest.mark.backends("valkey")
async def test_a_group_that_comes_after_its_time_stores_nothing(
    far: SessionStore, proxy: Proxy, backend: Backend
) -> None:
    lost = proxy.drop_request(lambda raw: source("append_known").sha in raw, after=1)
    names = [SESSIONS[number % len(SESSIONS)] for number in range(50)]
    calls = [asyncio.create_task(say(far, str(number), name)) for number, name in enumerate(names)]
    await asyncio.wait(calls[1:], return_when=asyncio.FIRST_COMPLETED)
    assert lost.hits == 1
    attempts = [request for request in proxy.requests if source("append_known").sha in request.raw]
    for request in attempts:
        reply: Any = backend.redis.execute_command(*request.args)
        assert reply[0] == b"LATE"
    await check(far, await asyncio.gather(*calls))


async def test_a_call_that_is_given_up_before_it_is_sent_stores_nothing(real_store: SessionStore) -> None:
    await begin(real_store)
    calls = [asyncio.create_task(say(real_store, str(number), SESSIONS[0])) for number in range(10)]
    await asyncio.sleep(0)
    for call in calls[5:]:
        call.cancel()
    await asyncio.wait(calls)
    assert await texts(real_store, SESSIONS[0]) == ["first", *map(str, range(5))]


async def test_a_session_that_others_deleted_starts_afresh(
    store: SessionStore, make_store: MakeStore
) -> None:
    await begin(store)
    other = await make_store()
    await other.delete_session(FLOW, SESSIONS[1])
    stored = await many(store)
    assert len({message.entry.number for message in stored}) == len(SESSIONS)
    await check(store, stored)


async def test_a_session_that_others_renamed_starts_afresh_under_its_old_name(
    store: SessionStore, make_store: MakeStore
) -> None:
    await begin(store)
    other = await make_store()
    await other.rename_session(FLOW, SESSIONS[0], "renamed")
    await say(store, "again", SESSIONS[0])
    assert (await texts(store, "renamed"), await texts(store, SESSIONS[0])) == (["first"], ["again"])


async def test_a_late_message_is_read_in_its_place(store: SessionStore) -> None:
    await begin(store)
    await say(store, "now", SESSIONS[0])
    late = await say(store, "earlier", SESSIONS[0], timestamp=at(0))
    assert await texts(store, SESSIONS[0]) == ["earlier", "first", "now"]
    assert late.timestamp == at(0)


async def test_a_message_too_far_ahead_is_refused(store: SessionStore) -> None:
    await begin(store)
    with pytest.raises(InvalidTimestampError, match="too far ahead"):
        await say(store, "tomorrow", SESSIONS[0], timestamp=datetime.now(UTC) + timedelta(days=2))
    assert await texts(store, SESSIONS[0]) == ["first"]


async def test_another_owner_is_refused(store: SessionStore) -> None:
    await begin(store, owner="ann")
    with pytest.raises(OwnerMismatchError):
        await say(store, "mine", SESSIONS[0], owner="bob")
    await say(store, "hers", SESSIONS[0], owner="ann")
    assert await texts(store, SESSIONS[0]) == ["first", "hers"]


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)])
async def test_the_owner_of_a_flow_and_a_clock_that_is_fast_cost_no_second_call(
    store: SessionStore, ahead: timedelta
) -> None:
    await begin(store, owner="ann")
    before = store.counters.calls
    await say(store, "hers", SESSIONS[0], owner="ann", timestamp=datetime.now(UTC) + ahead)

    assert store.counters.calls - before == 1


async def test_a_feed_that_has_expired_begins_anew(store: SessionStore, backend: Backend) -> None:
    await begin(store)
    await backend.raw(store).delete(keys_of(store).feed)
    message = await say(store, "new", SESSIONS[0])

    [event] = await events_of(store, 1)  # and no gap: it has its first event
    assert event.message_id == message.id


async def test_a_feed_lives_on_from_the_next_message(store: SessionStore, backend: Backend) -> None:
    await begin(store)
    raw: Any = backend.raw(store)
    await raw.pexpire(keys_of(store).feed, 90_000)
    await say(store, "new", SESSIONS[0])

    assert await raw.pttl(keys_of(store).feed) > 86_000_000


async def test_messages_of_one_microsecond_are_all_stored(store: SessionStore) -> None:
    await begin(store)
    moment = datetime.now(UTC)
    stored = await asyncio.gather(
        *(say(store, str(number), SESSIONS[0], timestamp=moment) for number in range(20))
    )
    await check(store, stored)


@pytest.mark.store_options(ttl=timedelta(hours=1))
async def test_a_time_to_live_slides_all_the_same(store: SessionStore, backend: Backend) -> None:
    await begin(store)
    raw: Any = backend.raw(store)
    log = keys_of(store).log(SESSIONS[0])
    await raw.pexpire(log, 10_000)
    await say(store, "second", SESSIONS[0])
    assert await raw.pttl(log) > 3_000_000


async def test_the_feeds_time_to_live_is_set_once_in_some_seconds(
    store: SessionStore, backend: Backend
) -> None:
    raw: Any = backend.raw(store)
    feed, extended = keys_of(store).feed, store._parts.scripts._extended
    times: list[int] = []
    await begin(store)
    for _ in range(4):
        await raw.pexpire(feed, 10_000)
        await say(store, "more", SESSIONS[0])
        times.append(await raw.pttl(feed))
        extended[FLOW] -= 3  # as if it had been so many seconds before

    assert [ttl > 10_000 for ttl in times] == [True, False, True, False]


async def test_the_feeds_time_to_live_is_set_though_what_came_before_was_not_stored_so(
    store: SessionStore, backend: Backend
) -> None:
    raw: Any = backend.raw(store)
    feed = keys_of(store).feed
    await begin(store)
    await raw.delete(keys_of(store).log(SESSIONS[0]))
    await say(store, "begins anew", SESSIONS[0])
    await raw.pexpire(feed, 10_000)
    await say(store, "more", SESSIONS[1])

    assert await raw.pttl(feed) > 10_000


async def test_the_time_to_live_of_another_writer_stays(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    mortal = await make_store(ttl=timedelta(hours=1))
    await begin(mortal)
    await begin(store)
    for _ in range(3):
        await say(store, "more", SESSIONS[0])
    raw: Any = backend.raw(store)
    keys = keys_of(store)
    assert 0 < await raw.pttl(keys.log(SESSIONS[0])) <= 3_600_000
    assert await raw.hget(keys.ids, "ttl") == b"1"


@pytest.mark.store_options(max_messages=3)
async def test_the_oldest_messages_are_trimmed_all_the_same(store: SessionStore) -> None:
    for number in range(5):
        await say(store, str(number), SESSIONS[0])
    assert await texts(store, SESSIONS[0]) == ["2", "3", "4"]


async def test_a_log_that_holds_something_else_fails_its_own_call_only(
    real_store: SessionStore, backend: Backend
) -> None:
    await begin(real_store)
    raw: Any = backend.raw(real_store)
    log = keys_of(real_store).log(SESSIONS[0])
    await raw.delete(log)
    await raw.set(log, "something else")
    found = await asyncio.gather(
        *(say(real_store, "new", session) for session in SESSIONS), return_exceptions=True
    )
    assert [type(answer).__name__ for answer in found] == ["WrongTypeError", *["Message"] * 4]
    assert isinstance(found[0], WrongTypeError)


async def test_sessions_are_listed_by_their_last_message(store: SessionStore) -> None:
    await begin(store)
    for session in (SESSIONS[3], SESSIONS[0]):
        await say(store, "newer", session)
    assert (await store.sessions(FLOW))[:2] == [SESSIONS[0], SESSIONS[3]]
