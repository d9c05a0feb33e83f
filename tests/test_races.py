"""Many writers at once, on real servers: whoever is first, nothing is lost, doubled or revived."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import (
    InvalidTimestampError,
    MergeTooLargeError,
    MessageExistsError,
    MessageNotFoundError,
    MessageUpdate,
    NewMessage,
    OwnerMismatchError,
    SessionNotFoundError,
)
from redis_sessions.scripting import source
from tests.support import Proxy, Server
from tests.support.talk import FLOW, at, dump, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend, MakeStore

ROUNDS = 12

# 100 calls at once wait for one another on a slow machine: the deadline is not what is tested here.
pytestmark = pytest.mark.store_options(deadline=timedelta(seconds=60))


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[Proxy]:
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        yield proxy


async def outcomes(*calls: Coroutine[Any, Any, Any]) -> tuple[list[Any], list[BaseException]]:
    """What the calls, all begun at once, returned and raised."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    return [result for result in results if not isinstance(result, BaseException)], errors


async def everything(store: SessionStore, *, flow: str = FLOW) -> Counter[str]:
    """The ids of all messages of a flow, as its sessions have them."""
    found: Counter[str] = Counter()
    for session in await store.sessions(flow, limit=10_000):
        found.update(message.id for message in await store.history(flow, session, limit=10_000))
    return found


def once(*messages: Message) -> Counter[str]:
    return Counter(message.id for message in messages)


async def talk(store: SessionStore, count: int, session: str) -> list[Message]:
    new = [
        NewMessage(text=f"{session} {n}", sender="User", sender_name="Ann", session_id=session)
        for n in range(count)
    ]
    return await store.append_many(FLOW, new)


class TestRename:
    async def test_one_of_a_hundred_renames_wins(self, real_store: SessionStore) -> None:
        store = real_store
        messages = await talk(store, 50, "chat")

        results, errors = await outcomes(
            *(store.rename_session(FLOW, "chat", f"name {number}") for number in range(100))
        )

        (winner,) = results
        assert {type(error) for error in errors} == {SessionNotFoundError}
        assert len(errors) == 99
        assert await store.sessions(FLOW) == [winner.session_id]
        assert await everything(store) == once(*messages)
        assert all(await store.get_many([message.id for message in messages]))

    async def test_appends_during_renames_are_all_kept_once(self, real_store: SessionStore) -> None:
        store = real_store
        first = await say(store, session="chat")

        async def rename_about() -> None:
            for number in range(30):
                await store.rename_session(FLOW, "chat", f"old {number}")
                await say(store, session="chat")

        async def append() -> list[Message]:
            return [await say(store, f"text {number}", session="chat") for number in range(60)]

        results, errors = await outcomes(rename_about(), append(), append())

        assert errors == []
        found = await everything(store)
        assert set(found.values()) == {1}
        assert once(first, *results[1], *results[2]) <= found
        assert found.total() == 1 + 30 + 120
        assert all(await store.get_many(found))

    async def test_a_merged_session_is_found_by_all_its_ids_after_more_renames(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        messages: list[Message] = []
        for name in ("a", "b", "c"):
            messages += await talk(store, 3, name)
        for old, new in (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")):
            await store.rename_session(FLOW, old, new)

        ids = [message.id for message in messages]
        found = await store.get_many(ids)
        assert [message.session_id for message in found if message] == ["a"] * 9
        assert await store.delete_messages(ids) == ids
        assert [key for key in await dump(store) if not key.endswith(b":feed")] == []

    async def test_renames_back_and_forth_lose_nothing(self, real_store: SessionStore) -> None:
        store = real_store
        messages = await talk(store, 10, "a") + await talk(store, 10, "b")
        names = ["a", "b", "c"]

        await outcomes(
            *(
                store.rename_session(FLOW, names[number % 3], names[(number * 7 + 1) % 3])
                for number in range(60)
            )
        )

        assert await everything(store) == once(*messages)
        assert all(await store.get_many([message.id for message in messages]))

    async def test_of_two_sessions_renamed_to_the_same_name_one_merges(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        for _ in range(ROUNDS):
            messages = await talk(store, 5, "a") + await talk(store, 5, "b")

            results, errors = await outcomes(
                store.rename_session(FLOW, "a", "both"), store.rename_session(FLOW, "b", "both")
            )

            assert errors == []
            assert sorted(result.outcome for result in results) == ["merged", "renamed"]
            assert await everything(store) == once(*messages)
            await store.delete_session(FLOW, "both")


class TestMerge:
    async def test_appends_to_both_sides_of_a_merge_are_kept_once(self, real_store: SessionStore) -> None:
        store = real_store
        for _ in range(ROUNDS):
            messages = await talk(store, 200, "a") + await talk(store, 200, "b")

            results, errors = await outcomes(
                *(say(store, session="a") for _ in range(10)),
                store.rename_session(FLOW, "a", "b"),
                *(say(store, session=name) for name in ("a", "b") for _ in range(10)),
            )

            assert errors == []
            appended = [result for result in results if hasattr(result, "id")]
            assert await everything(store) == once(*messages, *appended)
            for session in ("a", "b"):
                shown = await store.history(FLOW, session, limit=1000)
                assert shown == sorted(shown, key=lambda message: (message.timestamp, message.entry))
                await store.delete_session(FLOW, session)

    async def test_updates_and_deletes_during_a_merge_count(self, real_store: SessionStore) -> None:
        store = real_store
        for _ in range(ROUNDS):
            left, right = await talk(store, 20, "a"), await talk(store, 20, "b")

            results, errors = await outcomes(
                *(store.update(message.id, MessageUpdate(text="new")) for message in left[:10]),
                store.rename_session(FLOW, "a", "b"),
                *(store.update(message.id, MessageUpdate(text="new")) for message in right[:10]),
                *(store.delete_messages([message.id]) for message in (left[-1], right[-1])),
            )

            assert errors == []
            assert len(results) == 23
            shown = await store.history(FLOW, "b")
            assert once(*shown) == once(*left[:-1], *right[:-1])
            assert {message.id for message in shown if message.text == "new"} == {
                message.id for message in left[:10] + right[:10]
            }
            await store.delete_session(FLOW, "b")

    async def test_a_session_can_be_merged_into_sixty_three_times(self, real_store: SessionStore) -> None:
        store = real_store
        messages = await talk(store, 1, "all")
        for number in range(63):
            messages += await talk(store, 1, "other")
            await store.rename_session(FLOW, "other", "all")
            assert len(await store.history(FLOW, "all")) == number + 2
        messages += await talk(store, 1, "other")

        with pytest.raises(MergeTooLargeError):
            await store.rename_session(FLOW, "other", "all")

        assert await everything(store) == once(*messages)
        assert all(await store.get_many([message.id for message in messages]))
        assert await store.delete_session(FLOW, "all") == 64
        await store.delete_session(FLOW, "other")
        assert [key for key in await dump(store) if not key.endswith(b":feed")] == []


class TestUpdate:
    async def test_an_update_never_revives_a_deleted_message(self, real_store: SessionStore) -> None:
        store = real_store
        for number in range(ROUNDS):
            message = await say(store)
            kept = await say(store) if number % 2 else None

            results, errors = await outcomes(
                *(store.update(message.id, MessageUpdate(text=f"text {n}")) for n in range(5)),
                store.delete_messages([message.id]),
                *(store.update(message.id, MessageUpdate(text=f"later {n}")) for n in range(5)),
            )

            assert [message.id] in results
            assert {type(error) for error in errors} <= {MessageNotFoundError}
            assert await store.get(message.id) is None
            assert await everything(store) == (once(kept) if kept else Counter())
            with pytest.raises(MessageNotFoundError):
                await store.update(message.id, MessageUpdate(text="once more"))
            await store.delete_session(FLOW, "chat")
        assert [key for key in await dump(store) if not key.endswith(b":feed")] == []

    async def test_an_update_and_a_deleted_session_leave_no_edit_behind(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        for _ in range(ROUNDS):
            message = await say(store)
            _, errors = await outcomes(
                store.update(message.id, MessageUpdate(text="new")),
                store.delete_session(FLOW, "chat"),
                say(store, "afresh"),
            )

            assert {type(error) for error in errors} <= {MessageNotFoundError}
            assert await store.get(message.id) is None
            await store.delete_session(FLOW, "chat")
            assert [key for key in await dump(store) if not key.endswith(b":feed")] == []

    async def test_concurrent_updates_of_different_fields_all_survive(self, real_store: SessionStore) -> None:
        store = real_store
        for _ in range(ROUNDS):
            message = await say(store, "old")

            _, errors = await outcomes(
                store.update(message.id, MessageUpdate(text="new")),
                store.update(message.id, MessageUpdate(sender_name="Bot")),
                store.update(message.id, MessageUpdate(files=["a.txt"])),
                store.update(message.id, MessageUpdate(session_metadata={"a": 1})),
                store.update(message.id, MessageUpdate(session_id="moved")),
                store.rename_session(FLOW, "chat", "renamed"),
            )

            assert {type(error) for error in errors} <= {SessionNotFoundError}
            stored = await store.get(message.id)
            assert stored is not None
            assert (stored.text, stored.sender_name, stored.files) == ("new", "Bot", ["a.txt"])
            assert (stored.session_metadata, stored.session_id, stored.edit) == ({"a": 1}, "moved", True)
            await store.delete_session(FLOW, "moved")


class TestIds:
    @pytest.mark.parametrize("session", ["one", "many"])
    async def test_an_explicit_id_that_is_appended_at_once_is_there_once(
        self, real_store: SessionStore, session: str
    ) -> None:
        store = real_store
        for _ in range(ROUNDS):
            message_id = str(uuid4())

            results, errors = await outcomes(
                *(
                    say(store, session="chat" if session == "one" else f"chat {n}", id=message_id)
                    for n in range(4)
                )
            )

            assert [result.id for result in results] == [message_id]
            assert {type(error) for error in errors} == {MessageExistsError}
            assert await everything(store) == Counter([message_id])
            await store.delete_messages([message_id])

    async def test_an_explicit_id_can_come_back_after_its_message_went(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        message_id = str(uuid4())
        own = await say(store, session="own")
        await store.delete_messages([own.id])
        for wanted in (message_id, own.id):
            for number in range(3):
                await say(store, f"{number}", id=wanted)
                await store.update(wanted, MessageUpdate(session_id="elsewhere"))
                with pytest.raises(MessageExistsError):
                    await say(store, "again", id=wanted)
                await store.delete_session(FLOW, "elsewhere")
                assert await store.get(wanted) is None

    async def test_concurrent_moves_leave_the_message_in_one_session(self, real_store: SessionStore) -> None:
        store = real_store
        for _ in range(ROUNDS):
            message, other = await say(store), await say(store)

            moved, errors = await outcomes(
                *(store.update(message.id, MessageUpdate(session_id=f"to {n}")) for n in range(6))
            )

            assert errors == []
            assert len(moved) == 6
            assert await everything(store) == once(message, other)
            stored = await store.get(message.id)
            assert stored is not None
            assert await store.history(FLOW, stored.session_id) == [stored]
            await store.delete_messages([message.id, other.id])
        assert [key for key in await dump(store) if not key.endswith(b":feed")] == []

    async def test_a_message_that_moved_back_and_forth_is_found_and_goes(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        message, other = await say(store, session="a"), await say(store, session="a")
        for number in range(4):
            moved = await store.update(message.id, MessageUpdate(session_id="ab"[number % 2]))
            await store.update(message.id, MessageUpdate(text=f"{number}"))
            assert moved.id == message.id
            stored = await store.get(message.id)
            assert stored is not None
            assert (stored.text, stored.session_id) == (f"{number}", "ab"[number % 2])
        await store.delete_session(FLOW, "a")  # its first session, where nothing of it is left

        assert await texts(store, "b") == ["3"]
        assert await store.get(other.id) is None
        assert await store.delete_messages([message.id]) == [message.id]
        assert [key for key in await dump(store) if not key.endswith(b":feed")] == []

    async def test_moves_in_both_directions_double_nothing(self, real_store: SessionStore) -> None:
        store = real_store
        left, right = await talk(store, 10, "a"), await talk(store, 10, "b")

        _, errors = await outcomes(
            *(store.update(message.id, MessageUpdate(session_id="b")) for message in left),
            *(store.update(message.id, MessageUpdate(session_id="a")) for message in right),
            store.rename_session(FLOW, "a", "c"),
        )

        assert errors == []
        assert await everything(store) == once(*left, *right)


class TestFlows:
    async def test_a_flow_with_data_is_never_left_unregistered(self, real_store: SessionStore) -> None:
        store = real_store
        for number in range(3 * ROUNDS):
            flow = f"flow {number}"
            message = await say(store, flow=flow, owner="ann")

            (deleted, appended), errors = await outcomes(
                store.delete_messages([message.id], flow_id=flow), say(store, flow=flow, owner="ann")
            )

            assert errors == []
            assert deleted == [message.id]
            assert flow in await store.flows()
            assert flow in await store.flows(owner="ann")
            assert await store.get(appended.id) == appended
            await store.delete_session(flow, "chat")
            assert await store.flows() == []
            assert await store.flows(owner="ann") == []

    @pytest.mark.backends("valkey", "redis7")
    async def test_a_flow_that_is_deleted_while_an_append_registers_it_is_registered_again(
        self, make_real_store: MakeStore, proxy: Proxy
    ) -> None:
        near, far = await make_real_store(), await make_real_store(proxy.url)
        hold = proxy.hold_reply(b"\r\nSADD\r\n")  # the command, not a script that uses it
        task = asyncio.create_task(say(far, owner="ann"))
        await hold.reached()
        message = await say(near, owner="ann")
        await near.delete_messages([message.id])
        assert await near.flows() == []
        hold.release()
        await task

        assert await near.flows() == [FLOW]
        assert await near.flows(owner="ann") == [FLOW]

    @pytest.mark.backends("valkey", "redis7")
    async def test_a_flow_that_comes_back_while_a_delete_takes_it_out_is_registered_again(
        self, make_real_store: MakeStore, proxy: Proxy
    ) -> None:
        near, far = await make_real_store(), await make_real_store(proxy.url)
        await say(near, owner="ann")
        script = source("delete_session")
        hold = proxy.hold_reply(lambda raw: script.sha in raw or script.text in raw)
        task = asyncio.create_task(far.delete_session(FLOW, "chat"))
        await hold.reached()
        await say(near, owner="ann")
        hold.release()
        await task

        assert await near.flows() == [FLOW]
        assert await near.flows(owner="ann") == [FLOW]

    async def test_a_refused_first_write_registers_nothing(self, real_store: SessionStore) -> None:
        store = real_store
        with pytest.raises(InvalidTimestampError):
            await say(store, owner="ann", timestamp=at(1e9))
        assert await dump(store) == {}

        message_id = str(uuid4())
        await say(store, id=message_id)
        before = await dump(store)
        with pytest.raises(MessageExistsError):
            await say(store, session="other", id=message_id, owner="ann")
        assert await dump(store) == before

    async def test_the_first_to_name_an_owner_has_the_flow(self, real_store: SessionStore) -> None:
        store = real_store
        for number in range(ROUNDS):
            flow = f"flow {number}"
            results, errors = await outcomes(
                *(say(store, flow=flow, owner=owner) for owner in ("ann", "bob", "eve"))
            )

            assert len(results) == 1
            assert {type(error) for error in errors} == {OwnerMismatchError}
            owner = await store.owner(flow)
            assert owner is not None
            for other in ("ann", "bob", "eve"):
                assert (flow in await store.flows(owner=other)) == (other == owner)

    async def test_after_concurrent_changes_of_owner_only_the_last_has_the_flow(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        owners = ["ann", "bob", "eve", None]
        await say(store)
        for _ in range(ROUNDS):
            _, errors = await outcomes(*(store.set_owner(FLOW, owner) for owner in owners * 2))

            assert errors == []
            owner = await store.owner(FLOW)
            assert owner in owners
            for other in ("ann", "bob", "eve"):
                assert await store.flows(owner=other) == ([FLOW] if other == owner else [])
            assert await store.flows() == [FLOW]

    async def test_deleting_a_flow_against_appends_leaves_it_whole_or_gone(
        self, real_store: SessionStore
    ) -> None:
        store = real_store
        for _ in range(ROUNDS):
            await talk(store, 3, "a")
            await talk(store, 3, "b")
            _, errors = await outcomes(
                store.delete_flow(FLOW),
                *(say(store, session=name) for name in ("a", "b", "c") for _ in range(3)),
            )

            assert errors == []
            left = await everything(store)
            assert await store.flows() == ([FLOW] if left else [])
            assert all(await store.get_many(left))
            await store.delete_flow(FLOW)
            assert await dump(store) == {}


class TestNumbers:
    """A session's number is never another's: ids are made of it, and readers know a session by it."""

    @pytest.mark.backends("valkey", "redis7")
    async def test_a_session_that_goes_during_an_append_does_not_leave_its_number_to_the_next(
        self, real_store: SessionStore, make_real_store: MakeStore, proxy: Proxy
    ) -> None:
        store = await make_real_store(url=proxy.url)
        before = await say(real_store)
        script = source("append")
        hold = proxy.hold_reply(lambda raw: script.sha in raw or script.text in raw)
        appending = asyncio.create_task(say(store, id=str(uuid4())))  # it is told the session's number
        await hold.reached()
        await real_store.delete_session(FLOW, "chat")
        hold.release()

        assert (await appending).entry.number != before.entry.number

    @pytest.mark.backends("valkey", "redis7")
    async def test_a_session_that_goes_during_a_move_does_not_leave_its_number_to_the_next(
        self, real_store: SessionStore, make_real_store: MakeStore, proxy: Proxy
    ) -> None:
        store = await make_real_store(url=proxy.url)
        message, before = await say(real_store), await say(real_store, session="target")
        hold = proxy.hold_reply(b"starget")
        moving = asyncio.create_task(store.update(message.id, MessageUpdate(session_id="target")))
        await hold.reached()
        await real_store.delete_session(FLOW, "target")
        hold.release()

        assert (await moving).entry.number != before.entry.number
        assert await texts(real_store, session="target") == [message.text]


class TestExpiry:
    async def test_an_id_of_an_expired_message_can_be_used_again(
        self, backend: Backend, make_real_store: MakeStore
    ) -> None:
        store = await make_real_store(ttl=timedelta(hours=1))
        message_id = str(uuid4())
        await say(store, id=message_id)
        await expire(backend, store, "chat")

        message = await say(store, "again", session="other", id=message_id)

        assert await store.get(message_id) == message
        assert await store.sessions(FLOW) == ["other"]

    async def test_an_id_can_be_used_again_though_the_list_of_adopted_ids_expired_first(
        self, backend: Backend, make_real_store: MakeStore
    ) -> None:
        # The list lives a week longer than the session did at the time; appends without ids do not
        # prolong it, and a session can live for ever.
        store = await make_real_store(ttl=timedelta(hours=1))
        message_id = str(uuid4())
        message = await say(store, id=message_id)
        await say(store, session="other")
        await backend.raw(store).delete(keys_of(store).adopted(message.entry.number))
        await store.delete_session(FLOW, "chat")

        message = await say(store, "again", id=message_id)

        assert await store.get(message_id) == message

    @pytest.mark.parametrize("write", ["update", "move", "rename", "delete"])
    async def test_every_write_that_sets_a_time_to_live_has_expired_names_looked_for(
        self, backend: Backend, make_real_store: MakeStore, write: str
    ) -> None:
        endless, store = await make_real_store(), await make_real_store(ttl=timedelta(hours=1))
        first, message = await say(endless), await say(endless)
        session = {"move": "moved", "rename": "renamed"}.get(write, "chat")
        match write:
            case "update":
                await store.update(message.id, MessageUpdate(text="new"))
            case "move":
                await store.update(message.id, MessageUpdate(session_id=session))
            case "rename":
                await store.rename_session(FLOW, "chat", session)
            case "delete":
                await store.delete_messages([first.id])
        await expire(backend, store, session)

        assert session not in await store.sessions(FLOW)

    async def test_edits_in_a_session_that_became_endless_by_a_merge_do_not_expire(
        self, backend: Backend, make_real_store: MakeStore
    ) -> None:
        endless, store = await make_real_store(), await make_real_store(ttl=timedelta(hours=1))
        message = await say(store, session="mortal")
        await store.update(message.id, MessageUpdate(text="new"))
        await say(endless, session="endless")

        await endless.rename_session(FLOW, "endless", "mortal")

        keys = keys_of(store)
        assert await backend.raw(store).pttl(keys.log("mortal")) == -1
        assert await backend.raw(store).pttl(keys.edits("mortal")) == -1


async def expire(backend: Backend, store: SessionStore, session: str) -> None:
    """What the server does when a session's time has come; its edits and adopted ids live longer."""
    assert await backend.raw(store).delete(keys_of(store).log(session)) == 1
