from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, NewMessage, Transaction, VertexBuild, WrongTypeError
from redis_sessions.ids import address_of, to_raw
from redis_sessions.scripting import StaleError
from tests.support.talk import FLOW, all_keys, at, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend


async def test_deleted_messages_are_gone_and_others_stay(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(5)]
    deleted = await store.delete_messages([stored[3].id, stored[1].id])

    assert deleted == [stored[3].id, stored[1].id]
    assert await texts(store) == ["0", "2", "4"]
    assert await store.get_many([stored[1].id, stored[2].id]) == [None, stored[2]]


async def test_ids_that_are_not_there_are_passed_over(store: SessionStore) -> None:
    message, deleted = await say(store), await say(store)
    await store.delete_messages([deleted.id])

    assert await store.delete_messages([uuid4(), message.id, deleted.id]) == [message.id]


async def test_an_id_given_twice_is_deleted_once(store: SessionStore) -> None:
    message = await say(store)

    assert await store.delete_messages([message.id, message.id.upper()]) == [message.id]


async def test_deleting_no_messages_does_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        assert await store.delete_messages([]) == []


async def test_messages_of_several_sessions_and_flows_are_deleted_together(store: SessionStore) -> None:
    stored = [
        await say(store, session=session, flow=flow) for session in ("a", "b") for flow in ("one", "two")
    ]
    kept = [await say(store, "kept", session=session, flow="one") for session in ("a", "b")]
    ids = [message.id for message in stored]

    assert await store.delete_messages(ids) == ids
    assert await store.history("one", "a") == [kept[0]]
    assert await store.flows() == ["one"]


@pytest.mark.parametrize("where", [{"flow_id": "two"}, {"flows": ["two"]}, {"flows": []}])
async def test_messages_are_deleted_in_the_named_flows_only(
    store: SessionStore, where: dict[str, str]
) -> None:
    message = await say(store, flow="one")
    await say(store, flow="two")
    async with nothing_changes(store):
        assert await store.delete_messages([message.id], **where) == []  # type: ignore[arg-type]


async def test_of_a_deleted_adopted_message_no_id_is_left_while_its_session_goes_on(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    message = await say(store, id=uuid4())
    await store.delete_messages([message.id])

    assert not await backend.raw(store).exists(keys_of(store).aliases)
    assert not [key for key in await all_keys(store) if b":adopted:" in key]


async def test_of_messages_of_one_microsecond_each_is_changed_and_deleted_for_itself(
    store: SessionStore, backend: Backend
) -> None:
    stored = [await say(store, str(number), timestamp=at(1), id=uuid4()) for number in range(4)]
    await store.update(stored[2].id, MessageUpdate(text="changed"))
    await store.delete_messages([stored[3].id, stored[1].id])

    assert await texts(store) == ["0", "changed"]
    assert await backend.raw(store).scard(keys_of(store).adopted(stored[0].entry.number)) == 2


async def test_adopted_and_edited_messages_are_deleted(store: SessionStore, backend: Backend) -> None:
    message = await say(store, id=uuid4())
    await store.update(message.id, MessageUpdate(text="new"))
    await say(store, "kept")

    assert await store.delete_messages([message.id]) == [message.id]
    assert await texts(store) == ["kept"]
    assert await store.get(message.id) is None
    assert not await backend.raw(store).exists(keys_of(store).edits("chat"))


async def test_more_messages_than_one_script_takes_are_deleted(store: SessionStore) -> None:
    batch = [NewMessage(text="x", sender="U", sender_name="A", session_id="chat") for _ in range(500)]
    stored = [*await store.append_many(FLOW, batch), *await store.append_many(FLOW, batch[:100])]
    ids = [message.id for message in stored]

    assert await store.delete_messages(ids[:-1]) == ids[:-1]
    assert await store.history(FLOW, "chat") == [stored[-1]]


async def test_a_session_goes_with_its_last_message(store: SessionStore) -> None:
    messages = [await say(store), await say(store)]
    await say(store, "kept", "other")
    await store.delete_messages([message.id for message in messages])

    assert await store.sessions(FLOW) == ["other"]
    assert await store.history(FLOW, "chat") == []


async def test_a_session_whose_newest_message_is_deleted_is_listed_by_the_one_before(
    store: SessionStore,
) -> None:
    await say(store, session="a", timestamp=at(1))
    await say(store, session="b", timestamp=at(2))
    newest = await say(store, session="a", timestamp=at(3))
    await store.delete_messages([newest.id])

    assert await store.sessions(FLOW) == ["b", "a"]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_where_the_newest_message_stands_among_those_deleted_does_not_matter(
    store: SessionStore, backend: Backend, place: int
) -> None:
    kept = await say(store, timestamp=at(1))
    older = [await say(store, timestamp=at(moment)) for moment in (2, 3)]
    newest = await say(store, timestamp=at(4))
    older.insert(place, newest)
    await store.delete_messages([message.id for message in older])

    assert await backend.raw(store).zscore(keys_of(store).sessions, "chat") == kept.entry.us


async def test_a_session_whose_older_messages_are_deleted_keeps_its_place(store: SessionStore) -> None:
    older = [await say(store, session="a", timestamp=at(moment)) for moment in (1, 2)]
    await say(store, session="a", timestamp=at(4), id=uuid4())
    await say(store, session="b", timestamp=at(3))
    await store.delete_messages([message.id for message in older])

    assert await store.sessions(FLOW) == ["a", "b"]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_session_of_plain_messages_is_not_deleted_in_part_where_its_adopted_ids_hold_something_else(
    store: SessionStore, backend: Backend, count: int
) -> None:
    await say(store, "kept", "other")
    messages = [await say(store) for _ in range(count)]
    await backend.raw(store).set(keys_of(store).adopted(messages[0].entry.number), "something else")

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await store.delete_messages([message.id for message in messages])


async def delete_directly(store: SessionStore, *messages: Message) -> None:
    """By the script, without the look at the messages before it, which would notice much in its stead."""
    parts = store._parts
    entries = [
        (message.entry, None if message.entry == address_of(message.id) else to_raw(message.id))
        for message in messages
    ]
    await parts.scripts.delete_messages(keys_of(store), "chat", entries, attempt=parts.calls.begin())


@pytest.mark.parametrize("kind", ["log", "edits", "sessions", "aliases", "adopted", "feed"])
@pytest.mark.parametrize("left", ["some", "none"])
async def test_where_a_key_that_it_needs_holds_something_else_a_deletion_changes_nothing(
    store: SessionStore, backend: Backend, kind: str, left: str
) -> None:
    await say(store, "kept", "other")
    messages = [await say(store, id=uuid4()), await say(store)]
    if left == "some":
        messages.pop()
    keys, number = keys_of(store), messages[0].entry.number
    of_session = {"log": keys.log("chat"), "edits": keys.edits("chat"), "adopted": keys.adopted(number)}
    key = of_session.get(kind) or getattr(keys, kind)
    await backend.raw(store).delete(key)
    await backend.raw(store).set(key, "something else")

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await delete_directly(store, *messages)


@pytest.mark.parametrize("named", [None, "other"])
@pytest.mark.parametrize("place", [0, 1])
async def test_where_one_of_the_numbers_names_another_session_or_none_nothing_is_deleted(
    store: SessionStore, backend: Backend, place: int, named: str | None
) -> None:
    messages = [await say(store, session="one"), await say(store, session="chat")]
    await say(store, "kept", "chat")
    await store.rename_session(FLOW, "one", "chat")
    field, ids = f"n{messages[place].entry.number}", keys_of(store).ids
    if named is None:
        await backend.raw(store).hdel(ids, field)
    else:
        await backend.raw(store).hset(ids, field, named)

    async with nothing_changes(store):
        with pytest.raises(StaleError, match="MOVED"):
            await delete_directly(store, *messages)


async def test_a_session_is_deleted_with_everything_in_it(store: SessionStore) -> None:
    messages = [await say(store), await say(store, id=uuid4()), await say(store)]
    await store.update(messages[0].id, MessageUpdate(text="new"))

    assert await store.delete_session(FLOW, "chat") == 3
    assert await store.history(FLOW, "chat") == []
    assert await store.get_many([message.id for message in messages]) == [None] * 3
    assert await store.sessions(FLOW) == []


async def test_deleting_a_session_that_is_not_there_does_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        assert await store.delete_session(FLOW, "other") == 0
        assert await store.delete_session("elsewhere", "chat") == 0


async def test_a_deleted_session_starts_afresh(store: SessionStore) -> None:
    old = await say(store, "old")
    await store.update(old.id, MessageUpdate(text="edited"))
    await store.delete_session(FLOW, "chat")
    new = await say(store, "new", timestamp=old.timestamp)

    assert await store.history(FLOW, "chat") == [new]
    assert await store.get(old.id) is None


async def test_a_session_is_deleted_in_its_flow_only(store: SessionStore) -> None:
    await say(store, flow="one")
    await say(store, flow="two")
    await store.delete_session("one", "chat")

    assert await texts(store, flow="two") == ["hello"]


@pytest.mark.parametrize("verb", ["delete the session", "delete its messages"])
@pytest.mark.parametrize("left", ["a build", "a transaction"])
async def test_a_flow_that_has_something_else_stays_its_owners_when_its_last_session_is_deleted(
    store: SessionStore, left: str, verb: str
) -> None:
    message = await say(store, owner="ann")
    if left == "a build":
        await store.put_build(VertexBuild(flow_id=FLOW, id="v", valid=True))
    else:
        await store.add_transaction(Transaction(flow_id=FLOW, vertex_id="v", status="success"))
    if verb == "delete the session":
        await store.delete_session(FLOW, "chat")
    else:
        await store.delete_messages([message.id])

    assert await store.flows(owner="ann") == [FLOW]


async def test_a_merged_session_is_deleted_with_all_ids_that_it_took_over(store: SessionStore) -> None:
    one, two = await say(store, session="one", id=uuid4()), await say(store, session="two", id=uuid4())
    await say(store, "kept", "other")
    await store.rename_session(FLOW, "one", "two")

    assert await store.delete_session(FLOW, "two") == 2
    assert await store.get_many([one.id, two.id]) == [None, None]
    again = await say(store, session="one", id=one.id)
    assert await store.get(one.id) == again


async def test_deleting_a_session_is_one_call_whatever_its_length(store: SessionStore) -> None:
    await say(store, "kept", "other")
    for _ in range(10):
        await say(store)
    before = store.counters.calls
    await store.delete_session(FLOW, "chat")

    assert store.counters.calls - before == 1
