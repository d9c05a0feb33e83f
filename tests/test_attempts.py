"""What a script makes of an attempt that is late, or not the call's first (``lua/shared/feed.lua``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.scripting import source
from tests.support.talk import FLOW, dump, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend

TOKEN = b"token-of-1"
SECOND_MS = 1_000


class Caller:
    """One call that deletes a message, whatever it knows of its earlier attempts."""

    def __init__(self, store: SessionStore, raw: Any, message: Message) -> None:
        self._keys, self._raw, self._message = keys_of(store), raw, message

    async def attempt(self, *, since_ms: int | None = None, late: bool = False) -> list[bytes]:
        keys, entry = self._keys, self._message.entry
        latest = int(time.time() * 1e6) + (-1_000_000 if late else 60_000_000)
        arrival = f"{latest}" if since_ms is None else f"{latest},{since_ms}"
        session = (keys.log("chat"), keys.edits("chat"))
        names = (*session, keys.ids, keys.sessions, keys.aliases, keys.feed, keys.builds, keys.transactions)
        names = (*names, keys.adopted(entry.number))
        values = ("chat", TOKEN, arrival, 0, 1_000, 86_400_000, entry.number, str(entry), "")
        reply = await self._raw.eval(source("delete_messages").text, len(names), *names, *values)
        return list(reply)


@pytest.fixture
async def caller(store: SessionStore, backend: Backend) -> Caller:
    await say(store, "kept")
    message = await say(store, "goes")
    await backend.raw(store).delete(keys_of(store).feed)
    return Caller(store, backend.raw(store), message)


async def remember(store: SessionStore, raw: Any, ages_ms: list[int], *, first: bool = False) -> None:
    """Events of others in the feed, that old. ``first``: the oldest of them is the feed's first ever."""
    now_ms = int(time.time() * 1_000)
    pipeline = raw.pipeline(transaction=False)
    for number, age in enumerate(ages_ms):
        fields = {"t": f"other {number}", "e": "delete", **({"o": "1"} if first and not number else {})}
        pipeline.xadd(keys_of(store).feed, fields, id=f"{now_ms - age}-{number}")
    await pipeline.execute()


async def test_an_attempt_after_its_time_changes_nothing_and_is_told_what_time_it_is(
    store: SessionStore, caller: Caller
) -> None:
    await say(store)
    for since_ms in (None, 5 * SECOND_MS):
        before = time.time()
        async with nothing_changes(store):
            status, at = await caller.attempt(late=True, since_ms=since_ms)

        assert status == b"LATE"
        assert int(before * 1e6) <= int(at) <= int(time.time() * 1e6) + 1


@pytest.mark.parametrize("others", [0, 1, 99, 100, 101, 250])
async def test_a_further_attempt_is_answered_as_the_first_was(
    store: SessionStore, backend: Backend, caller: Caller, others: int
) -> None:
    raw = backend.raw(store)
    answer = await caller.attempt()
    pipeline = raw.pipeline(transaction=False)
    for number in range(others):
        pipeline.xadd(keys_of(store).feed, {"t": f"other {number}", "e": "delete"})
    await pipeline.execute()
    state = await dump(store)

    assert answer[0] == b"DELETED"
    assert answer[3]
    assert await caller.attempt(since_ms=30 * SECOND_MS) == answer
    assert await dump(store) == state


@pytest.mark.parametrize("lives", [None, 50_000])
async def test_a_feed_lives_no_longer_and_no_shorter_for_an_answer_from_it(
    store: SessionStore, backend: Backend, caller: Caller, lives: int | None
) -> None:
    raw, feed = backend.raw(store), keys_of(store).feed
    await caller.attempt()
    await (raw.persist(feed) if lives is None else raw.pexpire(feed, lives))
    await caller.attempt(since_ms=30 * SECOND_MS)

    left = await raw.pttl(feed)
    assert left == -1 if lives is None else 40_000 < left <= 50_000


@pytest.mark.parametrize(
    ("ages_ms", "first"),
    [
        ([], False),
        ([20 * SECOND_MS], False),  # from before the call: all of its time is there
        ([20 * SECOND_MS, *range(200, 0, -1)], False),
        ([3 * SECOND_MS], True),  # the first event ever
        ([3 * SECOND_MS, *range(99, 0, -1)], True),
        ([3 * SECOND_MS, *range(100, 0, -1)], True),
    ],
    ids=["no feed", "older", "older, behind others", "first", "first of 100", "first of 101"],
)
async def test_an_attempt_that_is_not_in_a_feed_that_reaches_back_is_the_first(
    store: SessionStore, backend: Backend, caller: Caller, ages_ms: list[int], first: bool
) -> None:
    await remember(store, backend.raw(store), ages_ms, first=first)

    assert (await caller.attempt(since_ms=10 * SECOND_MS))[0] == b"DELETED"
    assert await texts(store) == ["kept"]


@pytest.mark.parametrize(
    "ages_ms",
    [
        [3 * SECOND_MS],
        [13 * SECOND_MS],  # before the call, but clocks differ
        list(range(99, 0, -1)),
        list(range(100, 0, -1)),
        list(range(101, 0, -1)),
        list(range(200, 0, -1)),
    ],
    ids=["1", "1 from before", "99", "100", "101", "200"],
)
async def test_what_an_earlier_attempt_did_is_unknown_where_the_feed_was_trimmed_since(
    store: SessionStore, backend: Backend, caller: Caller, ages_ms: list[int]
) -> None:
    await remember(store, backend.raw(store), ages_ms)

    async with nothing_changes(store):
        assert await caller.attempt(since_ms=10 * SECOND_MS) == [b"UNKNOWN"]
    assert await store.length(FLOW, "chat") == 2
