from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import InvalidCursorError, MessageUpdate, NewMessage
from tests.support.talk import FLOW, at, say, texts

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore

TIMES = [0, 10, 3, 3, 20, 1, 19, 18, 30, 2, 30, 29, 40, 39, 5, 4]


async def talk(store: SessionStore, times: list[int] = TIMES, session: str = "chat") -> list[Message]:
    """Messages of these times, one after the other; in the order they are to be read in."""
    stored = [await say(store, f"{place}", session, timestamp=at(time)) for place, time in enumerate(times)]
    return sorted(stored, key=lambda message: (message.timestamp, message.id))


async def pages(store: SessionStore, size: int, session: str = "chat", **options: object) -> list[Message]:
    """A whole session, read page by page from its end."""
    found: list[Message] = []
    before = None
    while page := await store.history(FLOW, session, limit=size, before=before, **options):  # type: ignore[arg-type]
        found = page + found
        before = page[0].cursor
    return found


async def test_the_newest_messages_come_oldest_first(store: SessionStore) -> None:
    for number in range(5):
        await say(store, str(number))

    assert await texts(store, limit=3) == ["2", "3", "4"]


async def test_a_limit_over_the_length_gives_all(store: SessionStore) -> None:
    expected = await talk(store)

    assert await store.history(FLOW, "chat", limit=10_000) == expected


async def test_a_session_that_is_not_there_has_no_history(store: SessionStore) -> None:
    assert await store.history(FLOW, "chat") == []
    await say(store, session="other")
    assert await store.history(FLOW, "chat") == []
    assert await store.history("elsewhere", "other") == []


async def test_a_history_is_of_its_flow_alone(store: SessionStore) -> None:
    await say(store, "here", flow="one")
    await say(store, "there", flow="two")

    assert await texts(store, flow="one") == ["here"]


@pytest.mark.parametrize("limit", range(1, len(TIMES) + 2))
async def test_the_newest_messages_are_exact_however_late_some_were(store: SessionStore, limit: int) -> None:
    expected = await talk(store)

    assert await store.history(FLOW, "chat", limit=limit) == expected[-limit:]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_are_exact_however_late_some_messages_were(store: SessionStore, size: int) -> None:
    expected = await talk(store)

    assert await pages(store, size) == expected


async def test_pages_of_equal_times_neither_repeat_nor_skip(store: SessionStore) -> None:
    expected = await talk(store, [7] * 12)

    assert await pages(store, 5) == expected


async def test_pages_of_a_merged_session_are_exact(store: SessionStore) -> None:
    expected = await talk(store) + await talk(store, [9, 3, 41, 3, 2], "other")
    await store.rename_session(FLOW, "other", "chat")

    expected.sort(key=lambda message: (message.timestamp, message.id))
    assert [message.id for message in await pages(store, 4)] == [message.id for message in expected]


async def test_a_page_ends_just_before_a_message(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]

    assert await texts(store, before=stored[3], limit=2) == ["1", "2"]
    assert await texts(store, before=stored[0]) == []


async def test_a_cursor_outlives_its_message(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]
    await store.delete_messages([stored[3].id])

    assert await texts(store, before=stored[3].cursor, limit=2) == ["1", "2"]


async def test_a_cursor_outlives_a_rename(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]
    await store.rename_session(FLOW, "chat", "talk")

    assert await texts(store, "talk", before=stored[3].cursor, limit=2) == ["1", "2"]


async def test_a_cursor_stays_where_it_was_when_its_message_is_changed(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]
    changed = await store.update(stored[3].id, MessageUpdate(text="new"))

    assert changed.cursor == stored[3].cursor


@pytest.mark.parametrize("cursor", ["", "x", "0-0", "é", "AAAA", "_" * 32])
async def test_what_is_no_cursor_is_refused(store: SessionStore, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.history(FLOW, "chat", before=cursor)


async def test_long_histories_are_read_whole(store: SessionStore) -> None:
    for _ in range(6):
        batch = [NewMessage(text="x", sender="U", sender_name="A", session_id="chat") for _ in range(500)]
        await store.append_many(FLOW, batch)

    read = await store.history(FLOW, "chat", limit=5_000)
    assert len({message.id for message in read}) == 3_000
    assert read == sorted(read, key=lambda message: (message.timestamp, message.id))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"user_id": "ann"}, ["0", "1"]),
        ({"sender": "Machine"}, ["1", "3"]),
        ({"sender_name": "Bot"}, ["2", "3"]),
        ({"context_id": "c"}, ["0", "3"]),
        ({"include_errors": False}, ["0", "2"]),
        ({"sender": "Machine", "include_errors": False}, []),
        ({"user_id": "ann", "context_id": "c"}, ["0"]),
        ({"sender": ""}, []),
        ({"sender": "machine"}, []),
    ],
)
async def test_a_history_has_only_the_messages_that_are_wanted(
    store: SessionStore, wanted: dict[str, object], expected: list[str]
) -> None:
    await say(store, "0", user_id="ann", context_id="c")
    await say(store, "1", user_id="ann", sender="Machine", error=True)
    await say(store, "2", user_id="bob", sender_name="Bot")
    await say(store, "3", sender="Machine", sender_name="Bot", context_id="c", error=True)

    assert await texts(store, **wanted) == expected


async def test_a_limit_counts_the_wanted_messages_only(store: SessionStore) -> None:
    for number in range(300):
        await say(store, str(number), user_id="ann" if number % 100 == 0 else "bob")

    assert await texts(store, user_id="ann", limit=2) == ["100", "200"]


async def test_pages_of_wanted_messages_are_exact(store: SessionStore) -> None:
    for place, time in enumerate(TIMES):
        await say(store, str(place), timestamp=at(time), sender="Machine" if place % 3 else "User")
    expected = [message for message in await store.history(FLOW, "chat") if message.sender == "User"]

    assert await pages(store, 2, sender="User") == expected


async def test_wanted_are_messages_by_what_they_are_now(store: SessionStore) -> None:
    message = await say(store, "hello", sender="User")
    await store.update(message.id, MessageUpdate(sender="Machine"))

    assert await texts(store, sender="User") == []
    assert await texts(store, sender="Machine") == ["hello"]


async def test_a_history_shows_changed_messages_as_they_are_now(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]
    await store.update(stored[2].id, MessageUpdate(text="new"))

    assert await texts(store) == ["0", "1", "new", "3", "4"]
    assert await texts(store, limit=2, before=stored[3]) == ["1", "new"]


async def test_a_history_is_one_call(store: SessionStore) -> None:
    await talk(store, list(range(10)))
    before = store.counters.calls
    await store.history(FLOW, "chat", limit=5)

    assert store.counters.calls - before == 1


async def test_a_history_with_changed_messages_is_two_calls(store: SessionStore) -> None:
    stored = await talk(store, list(range(10)))
    await store.update(stored[0].id, MessageUpdate(text="new"))
    before = store.counters.calls
    await store.history(FLOW, "chat", limit=5)

    assert store.counters.calls - before == 2


async def test_a_history_as_json_is_the_same_history(store: SessionStore) -> None:
    stored = await talk(store)
    await store.update(stored[3].id, MessageUpdate(text="new"))
    cursor = stored[9].cursor

    spliced = [json.loads(item) for item in await store.history_json(FLOW, "chat", limit=4, before=cursor)]
    read = await store.history(FLOW, "chat", limit=4, before=cursor)
    assert [(item["id"], item["text"], item["session_id"]) for item in spliced] == [
        (message.id, message.text, message.session_id) for message in read
    ]


async def test_a_message_is_found_by_its_id_alone(store: SessionStore) -> None:
    message = await say(store, flow="one")
    await say(store, flow="two")

    assert await store.get(message.id) == message
    assert await store.get(message.id.upper()) == message
    assert await store.get(message.id.replace("-", "")) == message


async def test_messages_are_looked_for_in_the_named_flows_only(store: SessionStore) -> None:
    message = await say(store, flow="one")
    await say(store, flow="two")

    assert await store.get(message.id, flow_id="two") is None
    assert await store.get(message.id, flows=["two"]) is None
    assert await store.get(message.id, flows=[]) is None
    assert await store.get(message.id, flows=["two", "one"]) == message


async def test_many_messages_come_in_the_order_asked_for(store: SessionStore) -> None:
    one = await say(store, flow="one")
    two = await say(store, flow="two", id=uuid4())
    unknown = str(uuid4())

    assert await store.get_many([two.id, unknown, one.id, two.id]) == [two, None, one, two]
    assert await store.get_many([]) == []
