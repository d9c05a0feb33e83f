"""What happens between the round trips of a read: it shows a state that was, never parts of two.

The proxy holds a reply that the server has given, or the rest of a pipeline. While the reader waits for it,
the session is renamed, merged, deleted, made anew; then the reader goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import (
    ContentionError,
    MessageExistsError,
    MessageUpdate,
    NewMessage,
    SessionNotFoundError,
)
from redis_sessions.calls import Attempt
from tests.support import Proxy, wait_until
from tests.support.talk import FLOW, at, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend, MakeStore

pytestmark = pytest.mark.backends("valkey", "redis7")

EDITED = 3  # the message whose text was changed before


async def interrupted(
    proxy: Proxy,
    reading: Coroutine[Any, Any, Any],
    command: bytes,
    change: Callable[[], Awaitable[Any]],
    *,
    after: int = 0,
    unsent: bool = False,
) -> Any:
    """What a read gives when something changes as the reply to its ``after``-th ``command`` is on its way.

    With ``unsent``, as the command itself is, and all before it have been answered.
    """
    hold = (proxy.hold_request if unsent else proxy.hold_reply)(command, after=after)
    task = asyncio.create_task(reading)
    await wait_until(lambda: hold.hits or task.done())
    await change()
    hold.release()
    return await task


async def talk(store: SessionStore, session: str = "chat", count: int = 6) -> list[Message]:
    """Messages that say their number; the one of ``EDITED`` says so."""
    new = [
        NewMessage(text=f"{n}", sender="User", sender_name="Ann", session_id=session, timestamp=at(n))
        for n in range(count)
    ]
    messages: list[Message] = []
    for first in range(0, count, 500):
        messages += await store.append_many(FLOW, new[first : first + 500])
    for number in {EDITED, count - 2}:
        messages[number] = await store.update(messages[number].id, MessageUpdate(text=f"{number}, edited"))
    return messages


# --- what comes between ------------------------------------------------------------------------------


async def rename(store: SessionStore, messages: list[Message]) -> None:
    await store.rename_session(FLOW, "chat", "other")


async def rename_and_back(store: SessionStore, messages: list[Message]) -> None:
    await store.rename_session(FLOW, "chat", "other")
    await store.update(messages[0].id, MessageUpdate(text="edited under another name"))
    await store.rename_session(FLOW, "other", "chat")


async def rename_another_in_its_place(store: SessionStore, messages: list[Message]) -> None:
    await store.rename_session(FLOW, "chat", "other")
    await say(store, "another session's", "new")
    await store.rename_session(FLOW, "new", "chat")


async def delete(store: SessionStore, messages: list[Message]) -> None:
    await store.delete_session(FLOW, "chat")


async def delete_and_start_anew(store: SessionStore, messages: list[Message]) -> None:
    await store.delete_session(FLOW, "chat")
    await say(store, "a new session's", "chat")


async def delete_one_by_one_and_start_anew(store: SessionStore, messages: list[Message]) -> None:
    for first in range(0, len(messages), 1000):
        await store.delete_messages([message.id for message in messages[first : first + 1000]])
    await say(store, "a new session's", "chat")


async def delete_the_edited(store: SessionStore, messages: list[Message]) -> None:
    await store.delete_messages([messages[EDITED].id])


async def delete_flow(store: SessionStore, messages: list[Message]) -> None:
    await store.delete_flow(FLOW)


async def merge_into(store: SessionStore, messages: list[Message]) -> None:
    await say(store, "merged in", "new", timestamp=at(2.5))
    await store.rename_session(FLOW, "new", "chat")


async def merge_away(store: SessionStore, messages: list[Message]) -> None:
    await say(store, "there before", "other", timestamp=at(2.5))
    await store.rename_session(FLOW, "chat", "other")


async def move_the_edited_away(store: SessionStore, messages: list[Message]) -> None:
    await store.update(messages[EDITED].id, MessageUpdate(session_id="other"))


async def move_the_edited_away_and_back(store: SessionStore, messages: list[Message]) -> None:
    await store.update(messages[EDITED].id, MessageUpdate(session_id="other"))
    await store.update(messages[EDITED].id, MessageUpdate(session_id="chat", text="moved twice"))


CHANGES = [
    rename,
    rename_and_back,
    rename_another_in_its_place,
    delete,
    delete_and_start_anew,
    delete_one_by_one_and_start_anew,
    delete_the_edited,
    delete_flow,
    merge_into,
    merge_away,
    move_the_edited_away,
    move_the_edited_away_and_back,
]
every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def _texts(found: Any) -> list[str]:
    return [json.loads(item)["text"] if isinstance(item, bytes) else item.text for item in found]


READS: dict[str, Callable[[SessionStore, list[Message]], Coroutine[Any, Any, Any]]] = {
    "history": lambda store, _: store.history(FLOW, "chat"),
    "history_json": lambda store, _: store.history_json(FLOW, "chat"),
    "a filtered history": lambda store, _: store.history(FLOW, "chat", sender="User"),
    "a page": lambda store, messages: store.history(FLOW, "chat", before=messages[-1]),
    "recent": lambda store, _: store.recent(FLOW),
}


class TestBetweenTheTripsOfAnEditedSession:
    @every_change
    @pytest.mark.parametrize("read", READS)
    async def test_a_read_shows_the_state_before_or_after(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any, read: str
    ) -> None:
        messages = await talk(near)
        await READS[read](far, messages)  # connected, and all is as usual
        before = _texts(await READS[read](near, messages))

        found = await interrupted(
            proxy, READS[read](far, messages), b"XREVRANGE", lambda: change(near, messages)
        )

        after = _texts(await READS[read](near, messages))
        assert f"{EDITED}, edited" in before
        assert _texts(found) in (before, after)

    @every_change
    @pytest.mark.parametrize("after", range(4))
    async def test_get_finds_the_message_where_it_is_or_not_at_all(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any, after: int
    ) -> None:
        messages = await talk(near)
        edited = messages[EDITED]

        found = await interrupted(
            proxy, far.get(edited.id), b"HMGET", lambda: change(near, messages), after=after
        )

        assert found in (edited, await near.get(edited.id))

    @every_change
    async def test_an_update_that_read_before_the_change_counts_after_it(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any
    ) -> None:
        messages = await talk(near)
        edited = messages[EDITED]

        async def update() -> Message | None:
            try:
                return await far.update(edited.id, MessageUpdate(sender_name="Bot"))
            except LookupError:
                return None

        updated = await interrupted(proxy, update(), b"XRANGE", lambda: change(near, messages))

        now = await near.get(edited.id)
        assert now == updated
        assert now is None or (now.sender_name == "Bot" and now.text in (edited.text, "moved twice"))

    async def test_an_edit_that_comes_between_is_shown_whole_or_not_at_all(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        messages = await talk(near)
        before = await near.history(FLOW, "chat")

        async def change() -> None:
            for message in messages:
                await near.update(message.id, MessageUpdate(text="new", sender_name="Bot"))

        found = await interrupted(proxy, far.history(FLOW, "chat"), b"XREVRANGE", change)

        assert found in (before, await near.history(FLOW, "chat"))

    async def test_a_session_that_expires_between_the_trips_does_not_show_what_was_edited(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, make_store: MakeStore, backend: Backend
    ) -> None:
        mortal = await make_store(ttl=timedelta(hours=1))
        messages = await talk(mortal)
        before = await texts(near)
        raw, keys = backend.raw(near), keys_of(near)
        log, edits = await raw.pttl(keys.log("chat")), await raw.pttl(keys.edits("chat"))
        assert log + 50_000 < edits < log + 70_000  # so that it is there for those who have seen the log

        async def expire() -> None:
            await raw.delete(keys.log("chat"))

        found = await interrupted(proxy, far.history(FLOW, "chat"), b"XREVRANGE", expire)

        assert _texts(found) in (before, [])
        assert await near.get_many([message.id for message in messages]) == [None] * len(messages)


class TestBetweenTheChunksOfALongRead:
    COUNT = 1_300

    @every_change
    @pytest.mark.parametrize("trip", ["XREVRANGE 0", "HMGET 0", "XREVRANGE 1"])
    async def test_a_long_read_shows_the_state_before_or_after(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any, trip: str
    ) -> None:
        messages = await talk(near, count=self.COUNT)
        before = await texts(near, limit=10_000)
        assert len(before) == self.COUNT
        command, after = trip.split()

        found = await interrupted(
            proxy,
            far.history(FLOW, "chat", limit=10_000),
            command.encode(),
            lambda: change(near, messages),
            after=int(after),
        )

        assert _texts(found) in (before, await texts(near, limit=10_000))

    async def test_late_messages_that_come_between_are_in_their_place_or_not_there(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        await talk(near, count=self.COUNT)
        before = await texts(near, limit=10_000)

        async def change() -> None:
            for number in (2.5, self.COUNT - 5.5):
                await say(near, "late", timestamp=at(number))

        for trip in range(2):
            found = await interrupted(
                proxy, far.history(FLOW, "chat", limit=10_000), b"XREVRANGE", change, after=trip
            )
            after = await texts(near, limit=10_000)
            assert _texts(found) in (before, after)
            before = after

    @every_change
    async def test_pages_that_are_read_across_a_change_repeat_nothing(
        self, near: SessionStore, change: Any
    ) -> None:
        """A cursor outlives its message and its session's name: the pages go on behind it."""
        messages = await talk(near, count=20)
        pages: list[Message] = []
        page = await near.history(FLOW, "chat", limit=5)
        await change(near, messages)
        while page:
            pages = page + pages
            page = await near.history(FLOW, "chat", limit=5, before=page[0])

        ids = [message.id for message in pages]
        assert len(set(ids)) == len(ids)
        order = [(message.timestamp, message.entry) for message in pages]
        assert order == sorted(order)


class TestRecent:
    """The newest messages of a flow are read session by session."""

    async def sessions(self, store: SessionStore) -> dict[str, Message]:
        """Twelve sessions, the last one newest."""
        return {f"s{n}": await say(store, f"{n}", f"s{n}", timestamp=at(n)) for n in range(12)}

    @pytest.mark.parametrize("limit", [12, 100])
    @pytest.mark.parametrize("after", range(4))
    @pytest.mark.parametrize(
        "change", ["append to the oldest", "append to many", "delete the newest", "rename", "merge"]
    )
    async def test_what_was_there_all_the_time_is_shown_once(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: str, after: int, limit: int
    ) -> None:
        there = await self.sessions(near)

        async def act() -> None:
            match change:
                case "append to the oldest":
                    await say(near, "new", "s0", timestamp=at(20))
                case "append to many":
                    for number in (9, 5, 2):
                        await say(near, "new", f"s{number}", timestamp=at(20))
                case "delete the newest":
                    await near.delete_session(FLOW, "s11")
                    there.pop("s11")
                case "rename":
                    for number in range(0, 12, 2):
                        await near.rename_session(FLOW, f"s{number}", f"renamed {number}")
                case "merge":
                    await near.rename_session(FLOW, "s11", "s0")
                    await near.rename_session(FLOW, "s5", "s6")

        found = await interrupted(proxy, far.recent(FLOW, limit=limit), b"ZREVRANGE", act, after=after)

        ids = [message.id for message in found]
        assert len(set(ids)) == len(ids)
        # New ones may push the oldest out of a short list.
        new = [message for message in found if message.text == "new"]
        wanted = sorted(there.values(), key=lambda message: message.timestamp, reverse=True)
        assert {message.id for message in wanted[: limit - len(new)]} <= set(ids)
        order = [(message.timestamp, message.entry) for message in found]
        assert order == sorted(order, reverse=True)

    async def test_a_message_that_moves_during_the_read_is_not_shown_twice(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        there = await self.sessions(near)

        async def move() -> None:
            await near.update(there["s11"].id, MessageUpdate(session_id="s0"))

        found = await interrupted(proxy, far.recent(FLOW), b"ZREVRANGE", move, after=1)

        ids = [message.id for message in found]
        assert len(set(ids)) == len(ids)
        assert set(ids) == {message.id for message in there.values()}


async def test_a_rename_between_reading_and_writing_does_not_rename_another_session(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await talk(near)

    async def change() -> None:
        await near.rename_session(FLOW, "chat", "elsewhere")

    with pytest.raises(SessionNotFoundError):
        await interrupted(proxy, far.rename_session(FLOW, "chat", "mine"), b"HGET", change)
    assert await near.sessions(FLOW) == ["elsewhere"]


async def test_a_session_that_is_replaced_between_reading_and_deleting_is_deleted_as_it_is_then(
    near: SessionStore, far: SessionStore, proxy: Proxy, backend: Backend
) -> None:
    messages = await talk(near)
    await say(near, session="bystander")

    deleted = await interrupted(
        proxy, far.delete_session(FLOW, "chat"), b"HGET", lambda: delete_and_start_anew(near, messages)
    )

    assert deleted == 1
    assert await near.sessions(FLOW) == ["bystander"]
    numbers = [field for field in await backend.raw(near).hkeys(keys_of(near).ids) if field.startswith(b"n")]
    assert len(numbers) == 1


async def test_the_id_of_a_message_is_not_given_again_while_its_session_is_renamed(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    message = await say(near)
    again = say(far, "again", "elsewhere", id=message.id)

    with pytest.raises(MessageExistsError):
        await interrupted(
            proxy, again, b"n%d" % message.entry.number, lambda: near.rename_session(FLOW, "chat", "other")
        )


@pytest.mark.parametrize("moves", [1, 2, 3])
async def test_a_message_that_moves_on_between_two_look_ups_is_found(
    near: SessionStore, far: SessionStore, proxy: Proxy, moves: int
) -> None:
    message = await say(near)
    await near.update(message.id, MessageUpdate(session_id="0"))  # whose only message it is
    looking = asyncio.create_task(far.get(message.id, flow_id=FLOW))
    hold = proxy.hold_reply(b":aliases")
    for number in range(1, moves + 1):
        await hold.reached()
        await near.update(message.id, MessageUpdate(session_id=f"{number}"))
        before, hold = hold, proxy.hold_reply(b":aliases")
        before.release()
    hold.disarm()
    found = await looking
    assert found is not None
    assert found.session_id == f"{moves}"


class TestOneTrip:
    """What comes between the commands of one trip."""

    @every_change
    @pytest.mark.parametrize("command", ["XREVRANGE", "EXISTS"])
    @pytest.mark.parametrize("read", ["history", "history_json"])
    async def test_a_read_shows_the_state_before_or_after(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any, read: str, command: str
    ) -> None:
        messages = [await say(near, f"{number}", timestamp=at(number)) for number in range(6)]
        await near.update(messages[EDITED].id, MessageUpdate(text="edited"))  # the only one
        before = _texts(await READS[read](near, messages))

        found = await interrupted(
            proxy,
            READS[read](far, messages),
            command.encode(),
            lambda: change(near, messages),
            unsent=True,
        )

        assert _texts(found) in (before, _texts(await READS[read](near, messages)))

    @every_change
    @pytest.mark.parametrize("command", ["HMGET", "XRANGE"])
    async def test_get_finds_the_message_where_it_is_or_not_at_all(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, change: Any, command: str
    ) -> None:
        messages = await talk(near)
        edited = messages[EDITED]
        await far.get(edited.id)  # from now on it knows the session

        found = await interrupted(
            proxy, far.get(edited.id), command.encode(), lambda: change(near, messages), unsent=True
        )

        assert found in (edited, await near.get(edited.id))

    async def test_what_is_looked_at_is_looked_at_again_when_its_session_changes(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        messages = await talk(near)
        looking = far._parts.reader.at(keys_of(far), "chat", [messages[EDITED].entry])
        found = await interrupted(
            proxy, looking, b"XRANGE", lambda: move_the_edited_away(near, messages), unsent=True
        )
        assert found == [None]

    async def test_what_is_looked_at_is_given_up_when_its_session_changes_until_the_deadline(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        messages = await talk(near)
        attempt = far._parts.calls.begin()

        async def change() -> None:
            await rename_another_in_its_place(near, messages)
            attempt._deadline = time.monotonic()  # it has taken so long

        looking = far._parts.reader.at(keys_of(far), "chat", [messages[EDITED].entry], attempt)
        with pytest.raises(ContentionError, match="kept changing"):
            await interrupted(proxy, looking, b"XRANGE", change, unsent=True)

    async def test_a_session_that_changed_during_the_trip_is_read_anew(
        self, near: SessionStore, backend: Backend
    ) -> None:
        messages = await talk(near)
        await say(near, session="other")
        keys, reader = keys_of(near), near._parts.reader
        replies = await near._parts.transport.run(keys.ids, *reader.trip(keys, "chat", 3))
        replies[0] = await backend.raw(near).hget(keys.ids, "sother")  # renamed to "chat" a moment later
        window = await reader.newest(keys, "chat", 3, first_trip=replies)
        assert window.restarted
        assert [entry.message_id for entry in window.entries] == [str(one.id) for one in messages[:2:-1]]

    async def test_a_session_that_changes_until_the_deadline_is_given_up(
        self, near: SessionStore, backend: Backend
    ) -> None:
        await talk(near)
        await say(near, session="other")
        keys, reader = keys_of(near), near._parts.reader
        replies = await near._parts.transport.run(keys.ids, *reader.trip(keys, "chat", 3))
        replies[0] = await backend.raw(near).hget(keys.ids, "sother")
        with pytest.raises(ContentionError, match="kept changing"):
            await reader.newest(keys, "chat", 3, first_trip=replies, attempt=Attempt(0))
