from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import MessageUpdate
from tests.support.talk import FLOW, at, keys_of, say

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend


async def fill(store: SessionStore, sessions: int, times: list[int]) -> list[Message]:
    """Messages of these times, dealt to sessions; newest first."""
    stored = [
        await say(store, str(place), f"s{place * 7 % sessions}", timestamp=at(time))
        for place, time in enumerate(times)
    ]
    return sorted(stored, key=lambda message: (message.timestamp, message.cursor), reverse=True)


async def test_a_flow_that_is_not_there_has_no_messages(store: SessionStore) -> None:
    assert await store.recent(FLOW) == []


async def test_the_newest_messages_of_all_sessions_come_newest_first(store: SessionStore) -> None:
    for moment, session in enumerate("abcab"):
        await say(store, f"{session}{moment}", session, timestamp=at(moment))

    assert [message.text for message in await store.recent(FLOW)] == ["b4", "a3", "c2", "b1", "a0"]


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 20, 50, 100])
async def test_the_newest_messages_of_many_sessions_are_exact(store: SessionStore, limit: int) -> None:
    expected = await fill(store, 12, [n * 37 % 50 for n in range(50)])
    times = [message.timestamp for message in expected[:limit]]

    recent = await store.recent(FLOW, limit=limit)
    assert [message.timestamp for message in recent] == times
    assert len({message.id for message in recent}) == min(limit, 50)


@pytest.mark.backends("memory", "valkey")
async def test_the_newest_messages_of_more_sessions_than_one_command_lists_are_exact(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.history._NAMES", 3)
    expected = await fill(store, 12, [n * 37 % 50 for n in range(50)])

    for limit in (1, 5, 20, 50):
        assert await store.recent(FLOW, limit=limit) == expected[:limit]


async def test_pages_of_the_newest_messages_neither_repeat_nor_skip(store: SessionStore) -> None:
    await fill(store, 9, [n // 2 for n in range(40)])

    whole = await store.recent(FLOW, limit=100)
    paged = [m for offset in range(0, 48, 7) for m in await store.recent(FLOW, limit=7, offset=offset)]
    assert paged == whole
    assert len({message.id for message in whole}) == 40


async def test_messages_of_a_session_with_late_messages_are_in_order(store: SessionStore) -> None:
    await say(store, "5", "a", timestamp=at(5))
    await say(store, "1", "a", timestamp=at(1))
    await say(store, "3", "b", timestamp=at(3))
    await say(store, "2", "a", timestamp=at(2))

    assert [message.text for message in await store.recent(FLOW)] == ["5", "3", "2", "1"]
    assert [message.text for message in await store.recent(FLOW, limit=2, offset=1)] == ["3", "2"]


async def test_changed_messages_are_shown_as_they_are_now(store: SessionStore) -> None:
    message = await say(store, "old", timestamp=at(1))
    await say(store, "other", "b", timestamp=at(2))
    changed = await store.update(message.id, MessageUpdate(text="new"))

    assert (await store.recent(FLOW))[1] == changed


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"sender": "Machine"}, ["3", "1"]),
        ({"include_errors": False}, ["2", "0"]),
        ({"sender": "Machine", "include_errors": False}, []),
        ({"sender": "User", "include_errors": False}, ["2", "0"]),
        ({"user_id": "ann", "sender": "Machine"}, ["1"]),
    ],
)
async def test_only_messages_that_are_wanted_are_found(
    store: SessionStore, wanted: dict[str, Any], expected: list[str]
) -> None:
    for number, user in enumerate(("ann", "ann", "bob", "bob")):
        odd = bool(number % 2)
        sender = "Machine" if odd else "User"
        await say(
            store, f"{number}", f"s{number}", sender=sender, error=odd, user_id=user, timestamp=at(number)
        )

    assert [message.text for message in await store.recent(FLOW, **wanted)] == expected


async def test_corrupt_messages_count_for_nothing(store: SessionStore, backend: Backend) -> None:
    stored = [await say(store, str(number), timestamp=at(number)) for number in range(5)]
    corrupt = f"9000000000000000-{stored[0].entry.number}"
    await backend.raw(store).xadd(keys_of(store).log("chat"), {b"b": b"by hand"}, id=corrupt)

    assert [message.text for message in await store.recent(FLOW, limit=2, offset=1)] == ["3", "2"]


async def test_messages_of_one_time_in_many_sessions_have_one_order(store: SessionStore) -> None:
    for number in range(12):
        await say(store, session=str(number), timestamp=at(1))
    whole = await store.recent(FLOW)

    for limit in range(1, 12):
        assert await store.recent(FLOW, limit=limit) == whole[:limit]


async def test_messages_of_other_flows_are_not_among_them(store: SessionStore) -> None:
    mine = await say(store, flow="one")
    await say(store, flow="two")

    assert await store.recent("one") == [mine]


async def test_an_offset_past_the_end_gives_nothing(store: SessionStore) -> None:
    await say(store)

    assert await store.recent(FLOW, offset=1) == []
