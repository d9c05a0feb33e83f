from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from redis_sessions import (
    BatchError,
    InvalidInputError,
    InvalidTimestampError,
    MessageExistsError,
    NewMessage,
    TooLargeError,
)
from redis_sessions.ids import address_of, flow_hash, hash_of
from tests.support.talk import FLOW, at, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend


def new(text: str, session: str | None = "chat", **fields: object) -> NewMessage:
    return NewMessage.model_validate(
        {"text": text, "sender": "User", "sender_name": "Ann", "session_id": session, **fields}
    )


FULL = {
    "text": "Hello, “world” 👋",
    "sender": "Machine",
    "sender_name": "Bot",
    "timestamp": at(1.000001),
    "user_id": "33333333-3333-3333-3333-333333333333",
    "run_id": "44444444-4444-4444-4444-444444444444",
    "context_id": "ctx",
    "files": ["flow/a b.png", "flow/ü.pdf"],
    "error": True,
    "edit": True,
    "category": "error",
    "content_blocks": [{"title": "Steps", "contents": [{"type": "text", "text": "x", "id": "9"}]}],
    "session_metadata": {"a": None, "b": [1, 2.5, {"c": True}]},
    "duration": 12.5,
    "properties": {"icon": "🤖", "state": "partial", "source": {"id": "x"}, "unknown": [1]},
}


async def test_what_is_stored_is_what_was_given(store: SessionStore) -> None:
    message = await store.append(FLOW, session_id="chat", **FULL)  # type: ignore[arg-type]

    dumped = message.model_dump()
    properties = dumped.pop("properties")
    assert dumped == {
        **{name: value for name, value in FULL.items() if name != "properties"},
        "id": message.id,
        "flow_id": FLOW,
        "session_id": "chat",
    }
    assert properties["unknown"] == [1]
    assert (properties["icon"], properties["state"], properties["source"]["id"]) == ("🤖", "partial", "x")


async def test_what_is_read_is_what_was_stored(store: SessionStore) -> None:
    stored = await store.append(FLOW, session_id="chat", **FULL)  # type: ignore[arg-type]

    assert await store.history(FLOW, "chat") == [stored]
    assert await store.get(stored.id) == stored


async def test_a_message_without_a_session_is_in_the_session_named_like_its_flow(store: SessionStore) -> None:
    message = await store.append(FLOW, text="hello", sender="User", sender_name="Ann")

    assert message.session_id == FLOW
    assert await store.sessions(FLOW) == [FLOW]


async def test_a_message_without_a_time_is_of_now(store: SessionStore) -> None:
    before = datetime.now(UTC)
    message = await say(store)

    assert before - timedelta(microseconds=1) <= message.timestamp <= datetime.now(UTC)


async def test_the_time_zone_of_a_timestamp_does_not_matter(store: SessionStore) -> None:
    elsewhere = at(0).astimezone(timezone(timedelta(hours=5, minutes=45)))
    message = await say(store, timestamp=elsewhere)

    assert message.timestamp == at(0)
    assert message.timestamp.utcoffset() == timedelta(0)


async def test_the_first_microsecond_of_1970_can_be_stored(store: SessionStore) -> None:
    message = await say(store, timestamp=datetime(1970, 1, 1, tzinfo=UTC))

    assert (await store.history(FLOW, "chat")) == [message]


async def test_an_id_is_an_rfc_9562_uuid_of_version_8(store: SessionStore) -> None:
    identity = UUID((await say(store)).id)

    assert (identity.version, identity.variant) == (8, "specified in RFC 4122")


async def test_an_id_holds_the_time_and_the_hash_of_the_flow(store: SessionStore) -> None:
    message = await say(store, timestamp=at(3))

    address = address_of(message.id)
    assert address is not None
    assert address.us == int(at(3).timestamp()) * 1_000_000
    assert hash_of(address.number) == flow_hash(FLOW)


async def test_ids_grow_in_the_order_of_arrival(store: SessionStore) -> None:
    ids = [(await say(store, timestamp=at(moment))).id for moment in (5, 5, 3, 7, 1)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 5


async def test_uuids_are_taken_for_all_names(store: SessionStore) -> None:
    flow, session, user, run, identity, owner = (uuid4() for _ in range(6))
    message = await store.append(
        flow,
        text="hello",
        sender="User",
        sender_name="Ann",
        session_id=session,
        user_id=user,
        run_id=run,
        id=identity,
        owner=owner,
    )

    assert (message.flow_id, message.session_id) == (str(flow), str(session))
    assert (message.user_id, message.run_id, message.id) == (str(user), str(run), str(identity))
    assert await store.flows(owner=owner) == [str(flow)]
    assert await store.history(flow, session, user_id=user) == [message]


async def test_a_late_message_keeps_its_time_and_its_place(store: SessionStore) -> None:
    await say(store, "second", timestamp=at(2))
    late = await say(store, "first", timestamp=at(1))

    assert late.timestamp == at(1)
    assert await texts(store) == ["first", "second"]


async def test_a_session_is_listed_by_its_last_entry_though_that_came_late(
    store: SessionStore, backend: Backend
) -> None:
    await say(store, timestamp=at(1))
    newest = await say(store, timestamp=at(5))
    await store.delete_messages([newest.id])
    late = await say(store, timestamp=at(2))

    assert late.entry.us == newest.entry.us
    assert await backend.raw(store).zscore(keys_of(store).sessions, "chat") == late.entry.us


async def test_messages_of_equal_time_are_in_the_order_of_arrival(store: SessionStore) -> None:
    for number in range(20):
        await say(store, str(number), timestamp=at(1))

    assert await texts(store) == [str(number) for number in range(20)]


@pytest.mark.store_options(max_batch=600)
async def test_more_messages_of_one_microsecond_than_its_counter_holds_stay_in_order(
    store: SessionStore,
) -> None:
    stored = await store.append_many(FLOW, [new(str(n), timestamp=at(1)) for n in range(600)])
    after = await say(store, "after", timestamp=at(1))

    read = await store.history(FLOW, "chat", limit=1_000)
    assert read == [*stored, after]
    assert {message.timestamp for message in read} == {at(1)}
    assert len({message.id for message in read}) == 601
    places = [address_of(message.id) for message in read]
    assert all(place is not None and place.seq < 2**53 for place in places)
    assert len({place.number for place in places if place}) == 1
    first = stored[0].entry.us
    assert [(message.entry.us - first, message.entry.seq >> 44) for message in read] == [
        divmod(n, 512) for n in range(601)
    ]


async def test_a_message_of_its_own_microsecond_counts_from_0_also_behind_a_late_one(
    store: SessionStore,
) -> None:
    await say(store, timestamp=at(5))
    stored = await store.append_many(FLOW, [new("late", timestamp=at(1)), new("later", timestamp=at(6))])

    assert [message.entry.seq >> 44 for message in stored] == [1, 0]


async def test_an_id_is_not_given_out_twice_when_the_newest_message_was_deleted(store: SessionStore) -> None:
    await say(store, "old", timestamp=at(1))
    deleted = await say(store, timestamp=at(2))
    await store.delete_messages([deleted.id])
    again = await say(store, timestamp=at(2))

    assert again.id > deleted.id
    assert again.timestamp == at(2)


async def test_an_id_is_not_given_out_twice_when_the_session_was_deleted(store: SessionStore) -> None:
    deleted = await say(store, timestamp=at(1))
    await store.delete_session(FLOW, "chat")
    again = await say(store, timestamp=at(1))

    assert again.id != deleted.id
    assert await store.get(deleted.id) is None


async def test_a_new_session_takes_the_first_number_that_is_free(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = itertools.chain([7, 7, 7, 7, 8, 7], itertools.count(9))
    monkeypatch.setattr("secrets.randbits", lambda bits: next(drawn))

    numbers = [(await say(store, session=session)).entry.number for session in ("one", "two")]
    assert [number & (2**28 - 1) for number in numbers] == [7, 8]


async def test_a_batch_comes_back_in_the_order_given(store: SessionStore) -> None:
    batch = [new(str(n), session, timestamp=at(-n)) for n in range(10) for session in ("a", "b")]
    stored = await store.append_many(FLOW, batch)

    assert [(m.text, m.session_id) for m in stored] == [(m.text, m.session_id) for m in batch]
    assert await texts(store, "a") == [str(n) for n in range(9, -1, -1)]


async def test_a_batch_without_messages_stores_nothing(store: SessionStore) -> None:
    assert await store.append_many(FLOW, []) == []
    assert await store.flows() == []


async def test_a_batch_with_one_unacceptable_message_stores_none_of_its_session(store: SessionStore) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    await say(store)
    async with nothing_changes(store):
        with pytest.raises(InvalidTimestampError):
            await store.append_many(FLOW, [new("a"), new("b", timestamp=ahead)])


async def test_a_batch_says_which_sessions_were_stored_and_which_were_not(store: SessionStore) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    with pytest.raises(BatchError) as caught:
        await store.append_many(FLOW, [new("x", "bad", timestamp=ahead), new("y", "good"), new("z", "good")])

    assert [message.text for message in caught.value.stored] == ["y", "z"]
    assert list(caught.value.failed) == ["bad"]
    assert isinstance(caught.value.failed["bad"], InvalidTimestampError)
    assert await store.history(FLOW, "good") == caught.value.stored
    assert await store.sessions(FLOW) == ["good"]


async def test_a_batch_in_which_every_session_fails_alike_raises_that_failure(store: SessionStore) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    with pytest.raises(InvalidTimestampError):
        await store.append_many(FLOW, [new("x", "a", timestamp=ahead), new("y", "b", timestamp=ahead)])


@pytest.mark.store_options(max_batch=3)
async def test_a_batch_over_the_limit_of_one_session_is_refused_whole(store: SessionStore) -> None:
    with pytest.raises(TooLargeError):
        await store.append_many(FLOW, [new("x", "small"), *(new("y", "large") for _ in range(4))])
    assert await store.flows() == []


@pytest.mark.store_options(max_batch_bytes=1_000)
async def test_a_batch_of_too_many_bytes_of_one_session_is_refused_whole(store: SessionStore) -> None:
    with pytest.raises(TooLargeError, match="max_batch_bytes is 1,000"):
        await store.append_many(FLOW, [new("x", "small"), *(new("y" * 600, "large") for _ in range(2))])
    assert await store.flows() == []
    assert len(await store.append_many(FLOW, [new("x" * 2_000, "one"), new("x" * 300, "another")])) == 2


async def test_the_largest_batch_is_stored(store: SessionStore) -> None:
    stored = await store.append_many(FLOW, [new("x", id=str(UUID(int=n + 1))) for n in range(500)])

    assert await store.history(FLOW, "chat", limit=2_000) == stored


async def test_a_batch_with_the_same_id_twice_is_refused(store: SessionStore) -> None:
    identity = str(uuid4())
    with pytest.raises(InvalidInputError):
        await store.append_many(FLOW, [new("a", "one", id=identity), new("b", "two", id=identity.upper())])
    assert await store.flows() == []


async def test_an_explicit_id_is_kept(store: SessionStore) -> None:
    identity = str(uuid4())
    message = await say(store, id=identity)

    assert message.id == identity
    assert await store.get(identity) == message
    assert await store.history(FLOW, "chat") == [message]


async def test_an_explicit_id_that_is_there_already_is_refused(store: SessionStore) -> None:
    identity = str(uuid4())
    await say(store, id=identity)
    async with nothing_changes(store):
        with pytest.raises(MessageExistsError):
            await say(store, "other", "elsewhere", id=identity)


@pytest.mark.store_options(max_batch=10_000)
@pytest.mark.parametrize("place", [0, 999, 1_000])
@pytest.mark.backends("memory", "valkey")
async def test_an_explicit_id_that_is_there_already_is_found_in_any_place_of_a_large_batch(
    store: SessionStore, place: int
) -> None:
    there = await say(store, session="other", id=uuid4())
    batch = [new("x", id=uuid4()) for _ in range(1_001)]
    batch[place] = new("again", id=there.id)
    async with nothing_changes(store):
        with pytest.raises(MessageExistsError):
            await store.append_many(FLOW, batch)


async def test_an_explicit_id_may_be_in_two_flows(store: SessionStore) -> None:
    identity = str(uuid4())
    one = await say(store, "one", flow="one", id=identity)
    two = await say(store, "two", flow="two", id=identity)

    assert await store.get(identity, flow_id="one") == one
    assert await store.get(identity, flow_id="two") == two


async def test_the_id_of_a_message_of_this_flow_cannot_be_taken(store: SessionStore) -> None:
    message = await say(store)
    async with nothing_changes(store):
        with pytest.raises(MessageExistsError):
            await say(store, "other", "elsewhere", id=message.id)


async def test_the_id_of_a_deleted_message_may_be_given_again(store: SessionStore) -> None:
    for identity in (str(uuid4()), (await say(store)).id):
        await store.delete_messages([identity])
        message = await say(store, "again", id=identity)
        assert await store.get(identity) == message
        await store.delete_messages([identity])
        assert await store.get(identity) is None


async def test_the_id_of_a_deleted_message_may_be_given_again_though_its_session_is_there(
    store: SessionStore,
) -> None:
    deleted, _ = await say(store), await say(store, "stays")
    await store.delete_messages([deleted.id])

    again = await say(store, "again", id=deleted.id)
    assert await store.get(deleted.id) == again


async def test_the_id_of_a_message_that_is_gone_may_be_given_again_though_the_maps_lead_elsewhere(
    store: SessionStore, backend: Backend
) -> None:
    gone, _ = await say(store, session="gone"), await say(store)
    await store.delete_session(FLOW, "gone")
    await backend.raw(store).hset(keys_of(store).ids, b"n%d" % gone.entry.number, "chat")

    assert (await say(store, "again", id=gone.id)).text == "again"


async def test_an_explicit_id_may_come_back_when_its_session_is_deleted(store: SessionStore) -> None:
    identity = str(uuid4())
    await say(store, "other", "kept")
    for _ in range(2):
        message = await say(store, id=identity)
        assert await store.get(identity) == message
        await store.delete_session(FLOW, "chat")


async def test_an_append_is_one_call_once_the_flow_is_known(store: SessionStore) -> None:
    await say(store)
    before = store.counters.calls
    await say(store)
    await store.append_many(FLOW, [new("a"), new("b")])

    assert store.counters.calls - before == 2
