from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import FeedGapError, InvalidCursorError, MessageUpdate, NewMessage
from tests.support import wait_until
from tests.support.talk import FLOW, dump, events_of, keys_of, say, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend


async def test_a_stored_message_is_an_event(store: SessionStore) -> None:
    message = await say(store)
    [event] = await events_of(store, 1)

    assert (event.type, event.flow_id, event.session_id) == ("created", FLOW, "chat")
    assert (event.message_id, event.message, event.old_session_id) == (message.id, message, None)


async def test_each_message_of_a_batch_is_an_event(store: SessionStore) -> None:
    batch = [
        NewMessage(text="x", sender="U", sender_name="A", session_id="chat", id=str(uuid4()) if n else None)
        for n in range(3)
    ]
    stored = await store.append_many(FLOW, batch)

    events = await events_of(store, 3)
    assert [event.message_id for event in events] == [message.id for message in stored]
    assert [event.message for event in events] == stored


async def test_an_update_is_an_event(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    changed = await store.update(message.id, MessageUpdate(text="new"))
    events = await events_of(store, 2)

    assert [event.type for event in events] == ["created", "updated"]
    assert (events[1].message_id, events[1].message) == (message.id, changed)


async def test_deleted_messages_are_events(store: SessionStore) -> None:
    messages = [await say(store), await say(store, id=uuid4()), await say(store)]
    await store.delete_messages([messages[1].id, messages[0].id])
    events = await events_of(store, 5)

    assert {(event.type, event.message_id, event.message) for event in events[3:]} == {
        ("deleted", messages[1].id, None),
        ("deleted", messages[0].id, None),
    }


async def test_a_deleted_session_is_one_event(store: SessionStore) -> None:
    await say(store)
    await store.delete_session(FLOW, "chat")
    event = (await events_of(store, 2))[1]

    assert (event.type, event.session_id, event.message_id) == ("deleted", "chat", None)


@pytest.mark.parametrize("merged", [False, True], ids=["rename", "merge"])
async def test_a_rename_is_one_event(store: SessionStore, merged: bool) -> None:
    await say(store)
    await say(store, session="talk" if merged else "other")
    await store.rename_session(FLOW, "chat", "talk")
    event = (await events_of(store, 3))[2]

    assert (event.type, event.old_session_id, event.session_id) == ("renamed", "chat", "talk")


async def test_a_moved_message_is_an_update_to_who_watches_the_flow(store: SessionStore) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(session_id="other"))
    event = (await events_of(store, 2))[1]

    assert (event.type, event.message_id) == ("updated", message.id)
    assert (event.old_session_id, event.session_id) == ("chat", "other")


async def test_a_moved_message_goes_from_one_session_and_comes_to_the_other(store: SessionStore) -> None:
    message = await say(store)
    await say(store, "there", "other")
    await store.update(message.id, MessageUpdate(session_id="other"))

    old = await events_of(store, 2, session_id="chat")
    new = await events_of(store, 2, session_id="other")
    assert [(event.type, event.message_id) for event in old] == [
        ("created", message.id),
        ("deleted", message.id),
    ]
    assert [event.type for event in new] == ["created", "created"]
    assert new[1].message_id == message.id


async def test_who_watches_a_session_sees_that_session_only(store: SessionStore) -> None:
    for session in ("a", "b", "a", "c"):
        await say(store, session=session)
    await store.rename_session(FLOW, "b", "a")

    events = await events_of(store, 3, session_id="a")
    assert [(event.type, event.session_id) for event in events] == [
        ("created", "a"),
        ("created", "a"),
        ("renamed", "a"),
    ]


async def test_what_changes_nothing_is_no_event(store: SessionStore) -> None:
    message = await say(store)
    before = await dump(store)
    await store.update(message.id, MessageUpdate(text="hello"))
    await store.rename_session(FLOW, "chat", "chat")
    await store.delete_session(FLOW, "other")
    await store.delete_messages([uuid4()])

    assert await dump(store) == before


async def test_an_event_shows_the_message_as_it_is_now(store: SessionStore) -> None:
    message, gone = await say(store), await say(store)
    changed = await store.update(message.id, MessageUpdate(text="new"))
    await store.delete_messages([gone.id])
    events = await events_of(store, 2)

    assert [event.message for event in events] == [changed, None]


async def test_watching_goes_on_behind_any_event(store: SessionStore) -> None:
    for number in range(4):
        await say(store, str(number))
    events = await events_of(store, 4)

    rest = await take(store.watch(FLOW, after=events[1].id), 2)
    assert rest == events[2:]


async def test_who_watches_from_now_on_sees_nothing_of_before(store: SessionStore) -> None:
    await say(store, "before")
    watching = asyncio.create_task(take(store.watch(FLOW), 1))

    async def is_seen() -> bool:
        await say(store, "after")
        return watching.done()

    await wait_until(is_seen)
    [event] = await watching
    assert event.message is not None
    assert event.message.text == "after"


async def test_a_waiting_watcher_is_told_of_what_happens(store: SessionStore) -> None:
    await say(store, "1")
    watching = asyncio.create_task(events_of(store, 3))
    await say(store, "2")
    await say(store, "3")

    assert [event.message and event.message.text for event in await watching] == ["1", "2", "3"]


async def test_a_flow_that_is_not_there_yet_can_be_watched(store: SessionStore) -> None:
    watching = asyncio.create_task(events_of(store, 1))
    message = await say(store)

    assert [event.message_id for event in await watching] == [message.id]


async def test_events_of_other_flows_are_not_seen(store: SessionStore) -> None:
    await say(store, flow="other")
    mine = await say(store)

    assert [event.message_id for event in await events_of(store, 1)] == [mine.id]


@pytest.mark.store_options(feed_max_events=2)
async def test_a_watcher_that_fell_behind_is_told_so(store: SessionStore, backend: Backend) -> None:
    await say(store)
    [first] = await events_of(store, 1)
    await say(store)
    await backend.raw(store).xtrim(keys_of(store).feed, maxlen=1, approximate=False)

    with pytest.raises(FeedGapError) as caught:
        await take(store.watch(FLOW, after=first.id), 1)
    await say(store, "next")
    [event] = await take(store.watch(FLOW, after=caught.value.resume_after), 1)
    assert event.message is not None
    assert event.message.text == "next"


async def test_who_watches_from_the_beginning_is_told_when_it_is_gone(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    await say(store)
    await backend.raw(store).xtrim(keys_of(store).feed, maxlen=1, approximate=False)

    with pytest.raises(FeedGapError):
        await events_of(store, 1)


async def test_a_watcher_is_told_when_the_feed_expired(store: SessionStore, backend: Backend) -> None:
    await say(store)
    [first] = await events_of(store, 1)
    await backend.raw(store).delete(keys_of(store).feed)

    with pytest.raises(FeedGapError):
        await take(store.watch(FLOW, after=first.id), 1)


@pytest.mark.store_options(feed_max_events=10)
async def test_a_feed_keeps_about_as_many_events_as_it_is_to(store: SessionStore, backend: Backend) -> None:
    for _ in range(400):
        await say(store)

    # Trimming is by whole nodes of 100 entries.
    assert await backend.raw(store).xlen(keys_of(store).feed) <= 200


WRITES: dict[str, Callable[[SessionStore, Message], Awaitable[object]]] = {
    "append": lambda store, _: say(store, session="new"),
    "append where something is trimmed": lambda store, _: say(store),
    "update": lambda store, message: store.update(message.id, MessageUpdate(text="new")),
    "move": lambda store, message: store.update(message.id, MessageUpdate(session_id="new")),
    "rename": lambda store, _: store.rename_session(FLOW, "chat", "new"),
    "delete messages": lambda store, message: store.delete_messages([message.id]),
    "delete a session": lambda store, _: store.delete_session(FLOW, "chat"),
}


async def fill_feed(raw: Any, feed: bytes) -> None:
    """More events than it is to have, and not long to live."""
    pipeline = raw.pipeline(transaction=False)
    for _ in range(400):
        pipeline.xadd(feed, {"x": "y"})
    await pipeline.execute()
    await raw.pexpire(feed, 90_000)


async def check_feed(raw: Any, feed: bytes) -> None:
    """A write has left no more than 100 events, and a day."""
    assert await raw.xlen(feed) <= 200  # servers drop whole nodes of 100 entries
    assert await raw.pttl(feed) > 86_000_000


@pytest.mark.store_options(feed_max_events=100, max_messages=2)
@pytest.mark.parametrize("verb", WRITES)
async def test_each_write_keeps_the_feed_from_growing_and_from_expiring(
    store: SessionStore, backend: Backend, verb: str
) -> None:
    _, message = await say(store), await say(store)
    await fill_feed(backend.raw(store), keys_of(store).feed)
    await WRITES[verb](store, message)

    await check_feed(backend.raw(store), keys_of(store).feed)


async def test_a_feed_expires_after_a_day_without_writes(store: SessionStore, backend: Backend) -> None:
    await say(store)

    left = await backend.raw(store).pttl(keys_of(store).feed)
    assert 86_000_000 < left <= 86_400_000


@pytest.mark.parametrize("after", ["", "1", "-", "0-0-0", "a-b", "$", "18446744073709551616-0", "٣-٣"])
async def test_what_is_no_event_id_is_refused(store: SessionStore, after: str) -> None:
    await say(store)
    with pytest.raises(InvalidCursorError):
        await take(store.watch(FLOW, after=after), 1)


@pytest.mark.parametrize("after", ["1-0", "18446744073709551615-18446744073709551615"])
async def test_an_event_id_that_the_flow_never_gave_is_a_gap(store: SessionStore, after: str) -> None:
    await say(store)
    with pytest.raises(FeedGapError):
        await take(store.watch(FLOW, after=after), 1)


async def test_what_others_put_into_the_feed_is_passed_over(store: SessionStore, backend: Backend) -> None:
    await say(store, "1")
    for fields in ({"x": "y"}, {"e": "append", "s": "chat"}, {"e": "update", "s": b"\xff", "i": "?"}):
        await backend.raw(store).xadd(keys_of(store).feed, fields)
    await say(store, "2")

    events = await events_of(store, 2)
    assert [event.message and event.message.text for event in events] == ["1", "2"]
