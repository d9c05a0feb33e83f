"""A remembered place saves round trips and never decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_sessions import MessageUpdate, SessionNotFoundError
from redis_sessions.whereabouts import Whereabouts
from tests.support.talk import FLOW, say, texts

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


# --- sessions by the number that they were met with ---------------------------------------------------


def test_the_number_of_a_session_is_the_last_one_that_it_was_met_with() -> None:
    whereabouts = Whereabouts(most=2)
    for number, session in ((1, "a"), (2, "b"), (3, "a"), (4, "c")):
        whereabouts.note("flow", number, session)

    assert [whereabouts.number("flow", session) for session in "abc"] == [3, None, 4]
    assert whereabouts.number("another", "c") is None


async def test_a_session_that_was_begun_anew_elsewhere_is_deleted_as_it_is(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    await say(here)
    await elsewhere.delete_session(FLOW, "chat")
    for text in "ab":
        await say(elsewhere, text)

    assert await here.delete_session(FLOW, "chat") == 2
    assert await here.sessions(FLOW) == []


async def test_a_session_that_was_begun_anew_elsewhere_is_renamed_as_it_is(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    await say(here)
    await elsewhere.delete_session(FLOW, "chat")
    await say(elsewhere, "new")

    assert (await here.rename_session(FLOW, "chat", "talk")).outcome == "renamed"
    assert await texts(here, "talk") == ["new"]


async def test_sessions_that_were_merged_are_deleted_and_renamed_whole(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    for session in ("one", "two"):
        await say(here, session, session)
        await say(here, session, session + " more")
    await elsewhere.rename_session(FLOW, "one", "two")
    await elsewhere.rename_session(FLOW, "one more", "two more")

    assert await here.delete_session(FLOW, "two") == 2
    assert (await here.rename_session(FLOW, "two more", "new")).messages == 2
    assert await here.sessions(FLOW) == ["new"]
    assert sorted(await texts(here, "new")) == ["one", "two"]


async def test_a_session_that_is_gone_is_not_deleted_or_renamed(make_store: MakeStore) -> None:
    here, elsewhere = await make_store(), await make_store()
    await say(here)
    await say(here, "stays", "other")
    await elsewhere.delete_session(FLOW, "chat")

    assert await here.delete_session(FLOW, "chat") == 0
    with pytest.raises(SessionNotFoundError):
        await here.rename_session(FLOW, "chat", "other")
    assert await texts(here, "other") == ["stays"]
