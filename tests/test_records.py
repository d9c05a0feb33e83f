"""What the record of a session says after each write: readers know by it what they may believe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_sessions import MessageUpdate, NewMessage
from redis_sessions.entries import Record
from tests.support.talk import FLOW, at, keys_of, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions import SessionStore
    from tests.conftest import Backend

    RecordOf = Callable[..., Awaitable[Record]]

SECOND = 1_000_000


@pytest.fixture
def record_of(store: SessionStore, backend: Backend) -> RecordOf:
    async def record_of(session: str = "chat") -> Record:
        return Record.parse(await backend.raw(store).hget(keys_of(store).ids, b"s" + session.encode()))

    return record_of


async def test_messages_in_their_order_raise_nothing(store: SessionStore, record_of: RecordOf) -> None:
    first = await say(store, timestamp=at(1))
    for seconds in (2, 2, 3):
        await say(store, timestamp=at(seconds))

    assert await record_of() == Record((first.entry.number,), 0, 0)


async def test_the_lateness_is_that_of_the_latest_message(store: SessionStore, record_of: RecordOf) -> None:
    lateness = []
    for seconds in (1, 5, 2, 4):
        await say(store, timestamp=at(seconds))
        lateness.append((await record_of()).lateness)

    assert lateness == [0, 0, 3 * SECOND, 3 * SECOND]


async def test_a_message_is_late_from_the_first_microsecond_on(
    store: SessionStore, record_of: RecordOf
) -> None:
    await say(store, timestamp=at(1.000001))
    await say(store, timestamp=at(1))

    assert (await record_of()).lateness == 1


async def test_a_change_leaves_the_record(store: SessionStore, record_of: RecordOf) -> None:
    message = await say(store)
    before = await record_of()
    await store.update(message.id, MessageUpdate(text="new"))

    assert await record_of() == before


async def test_a_deletion_of_some_messages_is_one_generation(
    store: SessionStore, record_of: RecordOf
) -> None:
    messages = [await say(store) for _ in range(4)]
    await store.delete_messages([message.id for message in messages[:2]])
    await store.delete_messages([messages[2].id])
    await store.delete_messages([messages[2].id])

    assert await record_of() == Record((messages[0].entry.number,), 0, 2)


@pytest.mark.store_options(max_messages=2)
async def test_a_write_that_trims_is_one_generation(store: SessionStore, record_of: RecordOf) -> None:
    generations = []
    for seconds in (1, 5, 2, 6):
        await say(store, timestamp=at(seconds))
        record = await record_of()
        generations.append((record.generation, record.lateness))

    assert generations == [(0, 0), (0, 0), (1, 3 * SECOND), (2, 3 * SECOND)]


@pytest.mark.store_options(max_messages=2)
async def test_a_first_batch_that_is_too_long_is_one_generation(
    store: SessionStore, record_of: RecordOf
) -> None:
    batch = [NewMessage(text=text, sender="U", sender_name="A", session_id="chat") for text in "abc"]
    stored = await store.append_many(FLOW, batch)

    assert await record_of() == Record((stored[0].entry.number,), 0, 1)


async def test_a_rename_is_one_generation(store: SessionStore, record_of: RecordOf) -> None:
    number = (await say(store, timestamp=at(5))).entry.number
    await say(store, timestamp=at(2))
    await store.rename_session(FLOW, "chat", "talk")

    assert await record_of("talk") == Record((number,), 3 * SECOND, 1)


@pytest.mark.parametrize("later", ["old", "new"])
async def test_a_merge_has_all_numbers_and_goes_on_from_the_larger_of_both(
    store: SessionStore, record_of: RecordOf, later: str
) -> None:
    numbers = {}
    for session in ("old", "new"):
        late = 8 if session == later else 3
        numbers[session] = (await say(store, session=session, timestamp=at(10))).entry.number
        await say(store, session=session, timestamp=at(10 - late))
    for _ in range(2):
        gone = await say(store, session=later, timestamp=at(11))
        await store.delete_messages([gone.id])
    await store.rename_session(FLOW, "old", "new")

    assert await record_of("new") == Record((numbers["new"], numbers["old"]), 8 * SECOND, 3)


async def test_a_session_that_a_moved_message_begins_is_like_any_other(
    store: SessionStore, record_of: RecordOf
) -> None:
    message = await say(store)
    moved = await store.update(message.id, MessageUpdate(session_id="new"))

    assert await record_of("new") == Record((moved.entry.number,), 0, 0)


async def test_a_message_that_moves_behind_later_ones_is_late_there(
    store: SessionStore, record_of: RecordOf
) -> None:
    message = await say(store, timestamp=at(1))
    there = await say(store, session="other", timestamp=at(5))
    await store.update(message.id, MessageUpdate(session_id="other"))

    assert await record_of("other") == Record((there.entry.number,), 4 * SECOND, 0)
