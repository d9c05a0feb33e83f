from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_sessions import MessageUpdate
from tests.support.talk import FLOW, at, say

if TYPE_CHECKING:
    from redis_sessions import SessionStore


async def test_a_flow_that_is_not_there_has_no_sessions(store: SessionStore) -> None:
    assert await store.sessions(FLOW) == []


async def test_sessions_come_newest_activity_first(store: SessionStore) -> None:
    for moment, session in enumerate(("a", "b", "c", "a")):
        await say(store, session=session, timestamp=at(moment))

    assert await store.sessions(FLOW) == ["a", "c", "b"]


async def test_sessions_of_equal_time_come_by_id_descending(store: SessionStore) -> None:
    for session in ("b", "ä", "a", "B", "aa"):
        await say(store, session=session, timestamp=at(1))

    assert await store.sessions(FLOW) == ["ä", "b", "aa", "a", "B"]


async def test_sessions_a_microsecond_apart_are_in_order(store: SessionStore) -> None:
    for micro, session in enumerate(("z", "y", "x")):
        await say(store, session=session, timestamp=at(1 + micro / 1_000_000))

    assert await store.sessions(FLOW) == ["x", "y", "z"]


async def test_a_late_message_does_not_take_its_session_back(store: SessionStore) -> None:
    await say(store, session="a", timestamp=at(9))
    await say(store, session="b", timestamp=at(5))
    await say(store, session="a", timestamp=at(1))

    assert await store.sessions(FLOW) == ["a", "b"]


async def test_an_update_is_no_activity(store: SessionStore) -> None:
    message = await say(store, session="a", timestamp=at(1))
    await say(store, session="b", timestamp=at(2))
    await store.update(message.id, MessageUpdate(text="new"))

    assert await store.sessions(FLOW) == ["b", "a"]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [(2, 0, ["4", "3"]), (2, 2, ["2", "1"]), (2, 4, ["0"]), (2, 5, []), (9, 0, ["4", "3", "2", "1", "0"])],
)
async def test_sessions_come_in_pages(
    store: SessionStore, limit: int, offset: int, expected: list[str]
) -> None:
    for number in range(5):
        await say(store, session=str(number), timestamp=at(number))

    assert await store.sessions(FLOW, limit=limit, offset=offset) == expected


@pytest.mark.backends("memory", "valkey")
async def test_pages_of_more_sessions_than_one_command_lists_are_exact(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.history._NAMES", 3)
    for number in range(8):
        await say(store, session=str(number), timestamp=at(number))
    expected = [str(number) for number in reversed(range(8))]

    for offset in range(9):
        for limit in range(1, 10):
            assert await store.sessions(FLOW, limit=limit, offset=offset) == expected[offset : offset + limit]


async def test_sessions_are_of_their_flow_alone(store: SessionStore) -> None:
    await say(store, session="a", flow="one")
    await say(store, session="b", flow="two")

    assert await store.sessions("one") == ["a"]


async def test_listing_sessions_is_one_call(store: SessionStore) -> None:
    for number in range(5):
        await say(store, session=str(number))
    before = store.counters.calls
    await store.sessions(FLOW)

    assert store.counters.calls - before == 1
