"""A message that this process has just written is changed in one round trip, and never on a wrong belief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from redis_sessions import MessageNotFoundError, MessageUpdate, SessionStore, UnsupportedFormatError
from redis_sessions.entries import Entry
from redis_sessions.ids import EntryId, draw_number, to_message_id
from redis_sessions.keys import Keys
from redis_sessions.latest import Latest
from tests.support.talk import FLOW, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.conftest import MakeStore

OTHER = "another-flow"


async def trips(store: SessionStore, call: Awaitable[object]) -> int:
    """Round trips to Redis that a call takes."""
    before = store._parts.transport.round_trips
    await call
    return store._parts.transport.round_trips - before


async def test_a_message_that_grows_takes_a_round_trip_a_change(store: SessionStore) -> None:
    message = await say(store, "?")
    await store.update(message.id, MessageUpdate(text="H"), flow_id=FLOW)  # the script is there from now on

    for text in ("He", "Hel", "Hell", "Hello"):
        assert await trips(store, store.update(message.id, MessageUpdate(text=text), flow_id=FLOW)) == 1
    assert await texts(store) == ["Hello"]


async def test_deleting_what_was_just_written_takes_one_round_trip(store: SessionStore) -> None:
    zeroth, first, _, last = [await say(store, text) for text in "0abc"]
    await store.delete_messages([zeroth.id], flow_id=FLOW)  # the script is there from now on

    assert await trips(store, store.delete_messages([first.id, last.id], flow_id=FLOW)) == 1
    assert await texts(store) == ["b"]


async def test_a_change_by_another_process_is_not_overwritten(
    store: SessionStore, make_store: MakeStore
) -> None:
    message = await say(store, "first", sender_name="Ann")
    other = await make_store()
    await other.update(message.id, MessageUpdate(text="second"), flow_id=FLOW)

    changed = await store.update(message.id, MessageUpdate(sender_name="Bob"), flow_id=FLOW)

    assert (changed.text, changed.sender_name) == ("second", "Bob")
    assert [(one.text, one.sender_name) for one in await store.history(FLOW, "chat")] == [("second", "Bob")]


async def test_what_another_process_changed_back_is_changed_again(
    store: SessionStore, make_store: MakeStore
) -> None:
    """As it was is as it is believed to be: that alone must not end the call."""
    message = await say(store, "first")
    other = await make_store()
    await other.update(message.id, MessageUpdate(text="second"), flow_id=FLOW)

    changed = await store.update(message.id, MessageUpdate(text="first"), flow_id=FLOW)

    assert changed.text == "first"
    assert changed.edit
    assert await texts(store) == ["first"]


async def test_a_change_that_changes_nothing_still_looks_whether_the_message_is_there(
    store: SessionStore, make_store: MakeStore
) -> None:
    message = await say(store, "first")
    other = await make_store()
    await other.delete_messages([message.id], flow_id=FLOW)

    with pytest.raises(MessageNotFoundError):
        await store.update(message.id, MessageUpdate(text="first"), flow_id=FLOW)


@pytest.mark.parametrize("gone", ["message", "session", "flow"])
async def test_what_another_process_deleted_is_not_found(
    store: SessionStore, make_store: MakeStore, gone: str
) -> None:
    message = await say(store, "first")
    await say(store, "second")
    other = await make_store()
    deletions: dict[str, Callable[[], Awaitable[object]]] = {
        "message": lambda: other.delete_messages([message.id], flow_id=FLOW),
        "session": lambda: other.delete_session(FLOW, "chat"),
        "flow": lambda: other.delete_flow(FLOW),
    }
    await deletions[gone]()

    assert await store.delete_messages([message.id], flow_id=FLOW) == []
    with pytest.raises(MessageNotFoundError):
        await store.update(message.id, MessageUpdate(text="again"), flow_id=FLOW)


async def test_a_message_whose_session_was_renamed_is_found(
    store: SessionStore, make_store: MakeStore
) -> None:
    first, second = [await say(store, text, "old") for text in "ab"]
    other = await make_store()
    await other.rename_session(FLOW, "old", "new")

    changed = await store.update(first.id, MessageUpdate(text="A"), flow_id=FLOW)
    assert changed.session_id == "new"
    assert await store.delete_messages([second.id], flow_id=FLOW) == [str(second.id)]
    assert await texts(store, "new") == ["A"]


async def test_messages_of_one_session_go_in_one_step_whatever_name_they_are_known_under(
    store: SessionStore,
) -> None:
    first = await say(store, "a", "old")
    await store.rename_session(FLOW, "old", "new")
    second, third = [await say(store, text, "new") for text in "bc"]
    await say(store, "d", "new")
    before = await store.version(FLOW, "new")

    wanted = [first.id, second.id, third.id]
    assert await store.delete_messages(wanted, flow_id=FLOW) == wanted
    raw: Any = store.connection.client
    _, fields = (await raw.xrevrange(keys_of(store).feed, count=1))[0]
    assert fields[b"i"].count(b",") == 2
    assert await texts(store, "new") == ["d"]
    assert await store.version(FLOW, "new") != before


async def test_a_message_that_was_moved_to_another_session_is_found(
    store: SessionStore, make_store: MakeStore
) -> None:
    first, second, _ = [await say(store, text, "old") for text in "abc"]
    other = await make_store()
    for message in (first, second):
        await other.update(message.id, MessageUpdate(session_id="new"), flow_id=FLOW)

    changed = await store.update(first.id, MessageUpdate(text="A"), flow_id=FLOW)
    assert changed.session_id == "new"
    assert await store.delete_messages([second.id], flow_id=FLOW) == [str(second.id)]
    assert (await texts(store, "old"), await texts(store, "new")) == (["c"], ["A"])


async def test_a_flow_that_was_not_asked_for_is_not_touched(store: SessionStore) -> None:
    message = await say(store, "first")
    await say(store, "there", flow=OTHER)

    for flows in ([OTHER], []):
        assert await store.delete_messages([message.id], flows=flows) == []
        with pytest.raises(MessageNotFoundError, match="no message"):
            await store.update(message.id, MessageUpdate(text="taken"), flows=flows)
    assert await texts(store) == ["first"]


async def test_an_id_made_elsewhere_is_looked_up(store: SessionStore) -> None:
    message = await say(store, "first", id=uuid4())
    await say(store, "second")

    await store.update(message.id, MessageUpdate(text="changed"), flow_id=FLOW)
    assert await texts(store) == ["changed", "second"]
    assert await store.delete_messages([message.id], flow_id=FLOW) == [str(message.id)]
    assert await texts(store) == ["second"]


async def test_a_session_of_a_later_format_is_refused_though_its_message_is_known(
    store: SessionStore,
) -> None:
    """A newer worker may have converted it since."""
    message = await say(store, "first")
    await say(store, "second")
    redis: Any = store.connection.client
    ids = keys_of(store).ids
    record = await redis.hget(ids, "schat")
    await redis.hset(ids, "schat", record + b"|later")

    with pytest.raises(UnsupportedFormatError):
        await store.update(message.id, MessageUpdate(text="changed"), flow_id=FLOW)
    with pytest.raises(UnsupportedFormatError):
        await store.delete_messages([message.id], flow_id=FLOW)
    await redis.hset(ids, "schat", record)
    assert await texts(store) == ["first", "second"]


# --- the record of it -------------------------------------------------------------------------------


def entry(number: int, us: int, body: bytes = b"", alias: bytes | None = None) -> Entry:
    return Entry(str(EntryId(us, number)).encode(), b"%d" % us, body, alias)


def id_of(one: Entry) -> str:
    return to_message_id(*one.place)


def test_the_oldest_are_dropped_when_there_are_too_many_bytes() -> None:
    keys, number = Keys("rs").flow(FLOW), draw_number(FLOW)
    latest = Latest(most_bytes=10_000)
    entries = [entry(number, us, b"x" * 1_000) for us in range(1, 21)]
    for one in entries:
        latest.note(keys, FLOW, one)

    known = [one for one in entries if latest.find(id_of(one), None) is not None]
    assert known == entries[-6:]


def test_a_message_is_counted_once_however_often_it_changes() -> None:
    keys, number = Keys("rs").flow(FLOW), draw_number(FLOW)
    latest = Latest(most_bytes=10_000)
    other = entry(number, 1, b"other")
    latest.note(keys, FLOW, other)
    for length in range(1_000):
        latest.note(keys, FLOW, entry(number, 2, b"y" * length))

    assert latest.find(id_of(other), None) is not None


def test_a_long_body_is_not_kept_and_nor_is_what_was_there_before() -> None:
    keys, number = Keys("rs").flow(FLOW), draw_number(FLOW)
    latest = Latest()
    latest.note(keys, FLOW, entry(number, 1, b"short"))
    latest.note(keys, FLOW, entry(number, 1, b"z" * 100_000))

    assert latest.find(id_of(entry(number, 1)), None) is None


def test_an_id_made_elsewhere_is_never_known() -> None:
    keys, number = Keys("rs").flow(FLOW), draw_number(FLOW)
    latest = Latest()
    latest.note(keys, FLOW, entry(number, 1, b"adopted", alias=uuid4().bytes))

    assert latest.find(id_of(entry(number, 1)), None) is None
    assert latest.find(str(UUID(int=7)), None) is None
