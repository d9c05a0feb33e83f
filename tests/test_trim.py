from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, NewMessage, WrongTypeError
from redis_sessions.ids import draw_number
from tests.support.talk import FLOW, all_keys, at, events_of, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore

keeping_three = pytest.mark.store_options(max_messages=3)


@keeping_three
async def test_a_session_keeps_its_newest_messages(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]

    assert await texts(store) == ["2", "3", "4"]
    assert await store.get_many([message.id for message in stored[:3]]) == [None, None, stored[2]]


@pytest.mark.store_options(max_messages=1)
async def test_a_session_may_keep_its_last_message_only(store: SessionStore) -> None:
    for number in range(3):
        await say(store, str(number))

    assert await texts(store) == ["2"]


@keeping_three
async def test_each_session_is_trimmed_for_itself(store: SessionStore) -> None:
    for number in range(4):
        await say(store, str(number))
    await say(store, session="other")

    assert (len(await texts(store)), len(await texts(store, "other"))) == (3, 1)


@keeping_three
async def test_a_batch_over_the_length_keeps_its_last_messages(store: SessionStore) -> None:
    await say(store, "before")
    batch = [NewMessage(text=str(n), sender="U", sender_name="A", session_id="chat") for n in range(5)]
    await store.append_many(FLOW, batch)

    assert await texts(store) == ["2", "3", "4"]


@keeping_three
async def test_a_batch_of_adopted_messages_over_the_length_keeps_its_last(
    store: SessionStore, backend: Backend
) -> None:
    batch = [
        NewMessage(text=str(n), sender="U", sender_name="A", session_id="chat", id=str(uuid4()))
        for n in range(5)
    ]
    stored = await store.append_many(FLOW, batch)

    assert await store.history(FLOW, "chat") == stored[2:]
    assert await store.get_many([message.id for message in stored]) == [None, None, *stored[2:]]
    assert await backend.raw(store).hlen(keys_of(store).aliases) == 3
    deleted = [event.message_id for event in await events_of(store, 7) if event.type == "deleted"]
    assert deleted == [message.id for message in stored[:2]]


@keeping_three
async def test_what_a_batch_trims_of_itself_and_of_the_session_is_what_is_told(
    store: SessionStore, backend: Backend
) -> None:
    before = await say(store)
    batch = [
        NewMessage(text=str(n), sender="U", sender_name="A", session_id="chat", id=str(uuid4()))
        for n in range(5)
    ]
    stored = await store.append_many(FLOW, batch)

    assert await store.history(FLOW, "chat") == stored[2:]
    assert await backend.raw(store).hlen(keys_of(store).aliases) == 3
    deleted = [event.message_id for event in await events_of(store, 9) if event.type == "deleted"]
    assert deleted == [before.id, *(message.id for message in stored[:2])]


@keeping_three
async def test_edits_go_with_trimmed_messages(store: SessionStore, backend: Backend) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(text="new"))
    for _ in range(3):
        await say(store)

    assert not await backend.raw(store).exists(keys_of(store).edits("chat"))


@keeping_three
async def test_adopted_ids_go_with_trimmed_messages(store: SessionStore, backend: Backend) -> None:
    message = await say(store, id=uuid4())
    for _ in range(3):
        await say(store)

    assert await store.get(message.id) is None
    assert not await backend.raw(store).exists(keys_of(store).aliases)
    assert not [key for key in await all_keys(store) if b":adopted:" in key]
    await say(store, id=message.id)


@keeping_three
async def test_what_is_trimmed_of_a_merged_session_goes_with_its_ids(
    store: SessionStore, make_store: MakeStore
) -> None:
    unlimited = await make_store()
    stored = [
        await say(unlimited, str(number), "one" if number % 2 else "two", id=uuid4()) for number in range(6)
    ]
    await unlimited.rename_session(FLOW, "one", "two")
    await say(store, "new", "two")

    assert await texts(store, "two") == ["4", "5", "new"]
    assert await store.get_many([message.id for message in stored[:4]]) == [None] * 4


@keeping_three
async def test_a_lowered_limit_takes_hold_with_the_next_message(
    store: SessionStore, make_store: MakeStore
) -> None:
    unlimited = await make_store()
    for number in range(10):
        await say(unlimited, str(number))
    await say(store, "new")

    assert await texts(store) == ["8", "9", "new"]


@keeping_three
async def test_one_write_trims_a_long_session_in_bounded_steps(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    unlimited = await make_store()
    batch = [NewMessage(text="x", sender="U", sender_name="A", session_id="chat") for _ in range(125)]
    for _ in range(2):
        await unlimited.append_many(FLOW, batch)
    lengths = []
    for _ in range(4):
        await say(store)
        lengths.append(await backend.raw(store).xlen(keys_of(store).log("chat")))

    assert lengths == [150, 50, 3, 3]


@keeping_three
async def test_reads_are_exact_while_late_messages_are_trimmed(store: SessionStore) -> None:
    for moment in (5, 1, 4, 2, 6, 3):
        await say(store, str(moment), timestamp=at(moment))

    assert await texts(store) == ["2", "3", "6"]
    assert await texts(store, limit=1) == ["6"]


@keeping_three
async def test_trimmed_messages_are_told_to_watchers(store: SessionStore) -> None:
    stored = [await say(store, id=uuid4() if number else None) for number in range(5)]
    events = await events_of(store, 7)

    deleted = [event.message_id for event in events if event.type == "deleted"]
    assert deleted == [stored[0].id, stored[1].id]


@keeping_three
async def test_foreign_entries_are_trimmed_like_others(store: SessionStore, backend: Backend) -> None:
    await say(store, "1", timestamp=at(1))
    place = f"{int(at(2).timestamp()) * 1_000_000}-{draw_number('other')}"
    await backend.raw(store).xadd(keys_of(store).log("chat"), {"b": "?", "i": uuid4().bytes}, id=place)
    for number in range(2, 5):
        await say(store, str(number), timestamp=at(number))

    assert await texts(store) == ["2", "3", "4"]


async def test_long_messages_are_trimmed_some_at_a_time(make_store: MakeStore) -> None:
    filling = await make_store()
    for number in range(6):
        await say(filling, f"{number}" * 700_000)
    store = await make_store(max_messages=2)
    await say(store, "short")
    assert await store.length(FLOW, "chat") == 4  # three were some 2 MB
    await say(store, "short")

    assert await texts(store) == ["short", "short"]


@keeping_three
@pytest.mark.parametrize("kind", ["edits", "aliases"])
async def test_where_a_key_that_trimming_needs_holds_something_else_nothing_is_stored(
    store: SessionStore, backend: Backend, kind: str
) -> None:
    for _ in range(3):
        await say(store, id=uuid4())
    key = keys_of(store).edits("chat") if kind == "edits" else keys_of(store).aliases
    await backend.raw(store).delete(key)
    await backend.raw(store).set(key, "something else")

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await say(store, "new")
