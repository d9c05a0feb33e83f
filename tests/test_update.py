from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import InvalidInputError, MessageNotFoundError, MessageUpdate, Properties, TooLargeError
from tests.support.talk import FLOW, all_keys, at, fields, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend


async def test_an_update_changes_the_text_and_says_that_it_was_edited(store: SessionStore) -> None:
    message = await say(store, "old")
    changed = await store.update(message.id, MessageUpdate(text="new"))

    assert fields(changed) == fields(message, text="new", edit=True)
    assert await store.history(FLOW, "chat") == [changed]
    assert await store.get(message.id) == changed


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "Machine"},
        {"sender_name": "Bot"},
        {"context_id": "c"},
        {"files": ["a.png"]},
        {"files": []},
        {"error": True},
        {"edit": True},
        {"category": "warning"},
        {"content_blocks": [{"title": "t", "contents": [{"type": "text", "text": None}]}]},
        {"session_metadata": {"a": None}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_an_update_changes_what_it_names_and_nothing_else(
    store: SessionStore, change: dict[str, object]
) -> None:
    message = await say(store, files=["old.png"], context_id="old", session_metadata={"old": 1})
    changed = await store.update(message.id, MessageUpdate.model_validate(change))

    assert fields(changed) == fields(message, **change)
    assert await store.history(FLOW, "chat") == [changed]


async def test_properties_are_replaced_whole(store: SessionStore) -> None:
    message = await say(store, properties={"icon": "a", "state": "partial", "own": 1})
    changed = await store.update(message.id, MessageUpdate(properties=Properties(text_color="red")))

    assert changed.properties == Properties(text_color="red")
    assert await store.get(message.id) == changed


async def test_the_same_text_is_no_edit(store: SessionStore) -> None:
    message = await say(store, "hello")

    assert not (await store.update(message.id, MessageUpdate(text="hello"))).edit


async def test_a_new_text_is_an_edit_whatever_else_is_said(store: SessionStore) -> None:
    message = await say(store, "hello")

    assert (await store.update(message.id, MessageUpdate(text="new", edit=False))).edit


async def test_an_update_that_changes_nothing_writes_nothing(store: SessionStore) -> None:
    message = await say(store, "hello")
    async with nothing_changes(store):
        assert await store.update(message.id, MessageUpdate()) == message
        assert await store.update(message.id, MessageUpdate(text="hello", sender="User")) == message


async def test_an_update_leaves_time_and_place(store: SessionStore) -> None:
    first, second = await say(store, "1", timestamp=at(1)), await say(store, "2", timestamp=at(2))
    changed = await store.update(first.id, MessageUpdate(text="one"))

    assert (changed.timestamp, changed.cursor) == (first.timestamp, first.cursor)
    assert await store.history(FLOW, "chat") == [changed, second]


async def test_the_last_of_several_updates_holds(store: SessionStore) -> None:
    message = await say(store, "0")
    for number in range(1, 4):
        await store.update(message.id, MessageUpdate(text=str(number)))

    assert await texts(store) == ["3"]


async def test_a_message_is_updated_by_its_id_in_any_flow(store: SessionStore) -> None:
    await say(store, "other", flow="two")
    message = await say(store, flow="one")
    await store.update(message.id, MessageUpdate(text="new"))

    assert await texts(store, flow="one") == ["new"]
    assert await texts(store, flow="two") == ["other"]


async def test_a_message_with_an_explicit_id_is_updated(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    changed = await store.update(message.id, MessageUpdate(text="new"), flow_id=FLOW)

    assert changed.id == message.id
    assert await store.history(FLOW, "chat") == [changed]


@pytest.mark.parametrize("where", [{"flow_id": "two"}, {"flows": ["two"]}, {"flows": []}])
async def test_an_update_looks_in_the_named_flows_only(store: SessionStore, where: dict[str, str]) -> None:
    message = await say(store, flow="one")
    await say(store, flow="two")
    async with nothing_changes(store):
        with pytest.raises(MessageNotFoundError):
            await store.update(message.id, MessageUpdate(text="new"), **where)  # type: ignore[arg-type]


async def test_flow_id_and_flows_contradict_each_other(store: SessionStore) -> None:
    message = await say(store)
    with pytest.raises(InvalidInputError):
        await store.update(message.id, MessageUpdate(text="new"), flow_id=FLOW, flows=[FLOW])


async def test_an_update_of_a_message_that_is_not_there_stores_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        with pytest.raises(MessageNotFoundError):
            await store.update(uuid4(), MessageUpdate(text="new"))


@pytest.mark.store_options(max_text_bytes=10, max_message_bytes=1_000)
@pytest.mark.parametrize("change", [{"text": "x" * 11}, {"files": ["x" * 1_000]}], ids=["text", "message"])
async def test_an_update_over_the_limits_is_refused(store: SessionStore, change: dict[str, object]) -> None:
    message = await say(store)
    async with nothing_changes(store):
        with pytest.raises(TooLargeError):
            await store.update(message.id, MessageUpdate.model_validate(change))


async def test_an_updated_message_follows_its_session_to_a_new_name(store: SessionStore) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(text="new"))
    await store.rename_session(FLOW, "chat", "talk")
    changed = await store.update(message.id, MessageUpdate(sender="Machine"))

    assert (changed.text, changed.sender, changed.session_id) == ("new", "Machine", "talk")
    assert await store.history(FLOW, "talk") == [changed]


# --- moving -----------------------------------------------------------------------------------------


async def test_a_message_moves_to_another_session_under_its_id(store: SessionStore) -> None:
    message = await say(store, "moved", timestamp=at(2))
    await say(store, "stays", timestamp=at(3))
    await say(store, "there", "other", timestamp=at(1))
    moved = await store.update(message.id, MessageUpdate(session_id="other"))

    assert fields(moved) == fields(message, session_id="other")
    assert await texts(store) == ["stays"]
    assert await texts(store, "other") == ["there", "moved"]
    assert await store.get(message.id) == moved


async def test_a_message_moves_to_a_session_that_it_starts(store: SessionStore) -> None:
    message = await say(store)
    await say(store)
    moved = await store.update(message.id, MessageUpdate(session_id="new", text="changed"))

    assert await store.history(FLOW, "new") == [moved]
    assert (moved.text, moved.edit) == ("changed", True)
    assert sorted(await store.sessions(FLOW)) == ["chat", "new"]


async def test_a_session_goes_when_its_last_message_moves_away(store: SessionStore) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(session_id="new"))

    assert await store.sessions(FLOW) == ["new"]
    assert await store.history(FLOW, "chat") == []


async def test_a_message_may_move_there_and_back(store: SessionStore) -> None:
    first, message = await say(store, "first", timestamp=at(1)), await say(store, "moved", timestamp=at(2))
    last = await say(store, "last", timestamp=at(3))
    for session in ("other", "chat", "other", "chat"):
        await store.update(message.id, MessageUpdate(session_id=session))

    assert [fields(read) for read in await store.history(FLOW, "chat")] == [
        fields(message) for message in (first, message, last)
    ]
    assert await store.sessions(FLOW) == ["chat"]


async def test_a_moved_message_takes_its_place_by_its_time(store: SessionStore) -> None:
    message = await say(store, "1", timestamp=at(1))
    for moment in (0, 2, 3):
        await say(store, str(moment), "other", timestamp=at(moment))
    moved = await store.update(message.id, MessageUpdate(session_id="other"))

    assert await texts(store, "other") == ["0", "1", "2", "3"]
    assert await texts(store, "other", before=moved) == ["0"]
    assert await texts(store, "other", limit=2) == ["2", "3"]


async def test_a_moved_message_can_be_changed_and_deleted(store: SessionStore) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(session_id="other"))
    changed = await store.update(message.id, MessageUpdate(text="new"))

    assert await store.history(FLOW, "other") == [changed]
    assert await store.delete_messages([message.id]) == [message.id]
    assert await store.get(message.id) is None


async def test_an_edited_message_takes_its_text_along(store: SessionStore) -> None:
    message = await say(store, "old")
    await store.update(message.id, MessageUpdate(text="new"))
    await store.update(message.id, MessageUpdate(session_id="other"))

    assert await texts(store, "other") == ["new"]


async def test_a_moved_message_leaves_nothing_behind(store: SessionStore, backend: Backend) -> None:
    message, kept = await say(store, id=uuid4()), await say(store)
    await store.update(message.id, MessageUpdate(text="edited"))
    await store.update(message.id, MessageUpdate(session_id="other"))
    await store.delete_messages([kept.id])

    keys = keys_of(store)
    found = await all_keys(store)
    assert keys.log("chat") not in found
    assert keys.edits("chat") not in found
    assert len([key for key in found if b":adopted:" in key]) == 1


async def test_the_changed_content_of_a_moved_message_does_not_stay_where_it_was(
    store: SessionStore, backend: Backend
) -> None:
    message, _ = await say(store), await say(store)
    await store.update(message.id, MessageUpdate(text="edited"))
    await store.update(message.id, MessageUpdate(session_id="other"))

    assert not await backend.raw(store).exists(keys_of(store).edits("chat"))


async def test_a_message_does_not_move_to_a_session_without_a_name(store: SessionStore) -> None:
    message = await say(store)
    async with nothing_changes(store):
        with pytest.raises(InvalidInputError):
            await store.update(message.id, MessageUpdate(session_id=""))


async def test_a_moved_message_goes_with_its_new_session(store: SessionStore) -> None:
    await say(store)
    message = await say(store, id=uuid4())
    await store.update(message.id, MessageUpdate(session_id="other"))
    await store.delete_session(FLOW, "other")

    found = await all_keys(store)
    assert keys_of(store).aliases not in found  # or its id could not be used again
    assert not [key for key in found if b":adopted:" in key]


async def test_a_moved_message_stays_when_the_session_that_it_left_goes(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    await say(store)
    moved = await store.update(message.id, MessageUpdate(session_id="other"))
    await store.delete_session(FLOW, "chat")

    assert await store.get(message.id) == moved


async def test_a_session_whose_newest_message_moves_away_is_listed_by_the_one_before(
    store: SessionStore,
) -> None:
    await say(store, session="a", timestamp=at(1))
    await say(store, session="b", timestamp=at(2))
    newest = await say(store, session="a", timestamp=at(3))
    await store.update(newest.id, MessageUpdate(session_id="c"))

    assert await store.sessions(FLOW) == ["c", "b", "a"]


async def test_a_message_that_moves_behind_later_ones_leaves_their_session_where_it_is_listed(
    store: SessionStore,
) -> None:
    message = await say(store, session="a", timestamp=at(1))
    await say(store, session="a", timestamp=at(2))
    await say(store, session="b", timestamp=at(3))
    await say(store, session="c", timestamp=at(4))
    await store.update(message.id, MessageUpdate(session_id="c"))

    assert await store.sessions(FLOW) == ["c", "b", "a"]


async def test_readers_learn_that_a_message_moved_away(store: SessionStore, backend: Backend) -> None:
    """Equal records before and after tell a reader that nothing was removed while it read."""

    async def record() -> bytes:
        return await backend.raw(store).hget(keys_of(store).ids, b"schat")  # type: ignore[no-any-return]

    await say(store)
    moving = [await say(store), await say(store)]
    records = [await record()]
    for message in moving:
        await store.update(message.id, MessageUpdate(session_id="other"))
        records.append(await record())

    assert [int(each.rpartition(b"|")[2]) for each in records] == [0, 1, 2]
