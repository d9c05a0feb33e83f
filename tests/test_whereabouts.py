"""A remembered place saves round trips and never decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions import MessageUpdate
from redis_sessions.whereabouts import Whereabouts
from tests.support.talk import FLOW, say

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import MakeStore


def test_no_more_places_are_kept_than_allowed_and_the_last_ones_stay() -> None:
    whereabouts = Whereabouts(most=2)

    for number in (1, 2, 3):
        whereabouts.note("flow", number, f"session-{number}")
    whereabouts.note("flow", 2, "renamed")
    whereabouts.note("flow", 4, "session-4")

    guesses = {number: whereabouts.guess("flow", number) for number in range(1, 5)}
    assert guesses == {1: None, 2: "renamed", 3: None, 4: "session-4"}
    assert whereabouts.guess("another", 4) is None


async def test_a_message_of_a_session_that_another_process_renamed_is_found(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    message = await say(here, session="chat")

    await elsewhere.rename_session(FLOW, "chat", "renamed")
    updated = await here.update(message.id, MessageUpdate(text="new"), flow_id=FLOW)

    assert (updated.session_id, updated.text) == ("renamed", "new")


async def test_another_session_under_the_old_name_is_not_mistaken_for_it(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    message = await say(here, session="chat")
    await elsewhere.rename_session(FLOW, "chat", "renamed")
    other = await say(elsewhere, session="chat", text="other")

    assert await here.delete_messages([message.id], flow_id=FLOW) == [str(message.id)]

    assert [one.id for one in await here.history(FLOW, "chat")] == [other.id]
    assert await here.history(FLOW, "renamed") == []


async def test_a_message_that_was_moved_elsewhere_is_found_where_it_is(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    message = await say(here, session="chat")
    await say(here, session="chat")

    await elsewhere.update(message.id, MessageUpdate(session_id="moved"), flow_id=FLOW)

    found = await here.get(message.id, flow_id=FLOW)
    assert found is not None
    assert found.session_id == "moved"


async def test_a_deleted_message_is_gone_whatever_is_remembered(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    message = await say(here, session="chat")

    await elsewhere.delete_session(FLOW, "chat")

    assert await here.get(message.id, flow_id=FLOW) is None


async def test_several_messages_some_remembered_are_all_found(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    known, renamed = await say(here, session="known"), await say(here, session="before")
    unknown = await say(elsewhere, session="unknown")
    await elsewhere.rename_session(FLOW, "before", "after")

    found = await here.get_many([known.id, renamed.id, unknown.id], flow_id=FLOW)

    assert [message and message.session_id for message in found] == ["known", "after", "unknown"]


async def test_an_id_that_was_merged_into_another_session_is_found_there(store: SessionStore) -> None:
    first = await say(store, session="one")
    await say(store, session="two")
    await store.rename_session(FLOW, "one", "two")

    found = await store.get(first.id, flow_id=FLOW)

    assert found is not None
    assert found.session_id == "two"
