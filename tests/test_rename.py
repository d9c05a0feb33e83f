from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MergeTooLargeError, MessageUpdate, SessionNotFoundError, WrongTypeError
from redis_sessions.ids import address_of
from tests.support.talk import FLOW, all_keys, at, fields, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend


def number_of(message: Message) -> int:
    address = address_of(message.id)
    assert address is not None
    return address.number


async def test_a_renamed_session_has_all_its_messages_under_the_new_name(store: SessionStore) -> None:
    stored = [await say(store, str(number)) for number in range(3)]
    result = await store.rename_session(FLOW, "chat", "talk")

    assert (result.outcome, result.messages, result.session_id) == ("renamed", 3, "talk")
    assert [fields(message) for message in await store.history(FLOW, "talk")] == [
        fields(message, session_id="talk") for message in stored
    ]
    assert await store.history(FLOW, "chat") == []
    assert await store.sessions(FLOW) == ["talk"]


async def test_messages_keep_their_ids_when_their_session_is_renamed(store: SessionStore) -> None:
    stored = [await say(store), await say(store, id=uuid4())]
    await store.rename_session(FLOW, "chat", "talk")

    found = await store.get_many([message.id for message in stored])
    assert [fields(message) for message in found] == [fields(m, session_id="talk") for m in stored]


async def test_edits_go_along_with_a_rename(store: SessionStore) -> None:
    message = await say(store, "old")
    await store.update(message.id, MessageUpdate(text="new"))
    await store.rename_session(FLOW, "chat", "talk")

    assert await texts(store, "talk") == ["new"]


async def test_a_renamed_session_keeps_its_place_among_the_sessions(store: SessionStore) -> None:
    for moment, session in enumerate(("a", "b", "c")):
        await say(store, session=session, timestamp=at(moment))
    await store.rename_session(FLOW, "b", "z")

    assert await store.sessions(FLOW) == ["c", "z", "a"]


async def test_a_renamed_session_goes_on(store: SessionStore) -> None:
    await say(store, "before")
    await store.rename_session(FLOW, "chat", "talk")
    await say(store, "after", "talk")

    assert await texts(store, "talk") == ["before", "after"]


async def test_a_name_is_free_again_after_a_rename(store: SessionStore) -> None:
    await say(store, "old")
    await store.rename_session(FLOW, "chat", "talk")
    await say(store, "new")

    assert await texts(store) == ["new"]
    assert await texts(store, "talk") == ["old"]


async def test_two_sessions_may_swap_names(store: SessionStore) -> None:
    one, two = await say(store, "1", "one"), await say(store, "2", "two")
    for old, new in (("one", "aside"), ("two", "one"), ("aside", "two")):
        await store.rename_session(FLOW, old, new)

    assert (await texts(store, "one"), await texts(store, "two")) == (["2"], ["1"])
    assert [m.session_id for m in await store.get_many([one.id, two.id]) if m] == ["two", "one"]


async def test_a_session_that_is_not_there_cannot_be_renamed(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        for new in ("chat", "other", "absent"):
            with pytest.raises(SessionNotFoundError):
                await store.rename_session(FLOW, "absent", new)


async def test_what_somebody_else_keeps_under_the_new_name_stays(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    await backend.raw(store).xadd(keys_of(store).log("talk"), {"theirs": "?"})

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError, match="no session owns"):
            await store.rename_session(FLOW, "chat", "talk")


async def test_renaming_to_the_same_name_changes_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        result = await store.rename_session(FLOW, "chat", "chat")
    assert (result.outcome, result.messages, result.session_id) == ("unchanged", 1, "chat")


async def test_a_session_is_renamed_in_its_flow_only(store: SessionStore) -> None:
    await say(store, flow="one")
    await say(store, flow="two")
    await store.rename_session("one", "chat", "talk")

    assert await store.sessions("two") == ["chat"]


async def test_the_answer_tells_which_messages_moved(store: SessionStore) -> None:
    moved, stayed = await say(store, session="old"), await say(store, session="new")
    result = await store.rename_session(FLOW, "old", "new")

    assert number_of(moved) in result.numbers
    assert number_of(stayed) not in result.numbers


async def test_renaming_is_one_call_whatever_the_length(store: SessionStore) -> None:
    for _ in range(10):
        await say(store)
    before = store.counters.calls
    await store.rename_session(FLOW, "chat", "talk")

    assert store.counters.calls - before == 1


async def test_under_the_old_name_nothing_is_left_and_under_the_new_one_nothing_of_before(
    store: SessionStore, backend: Backend
) -> None:
    number = (await say(store)).entry.number
    raw, keys = backend.raw(store), keys_of(store)
    await raw.hset(keys.edits("talk"), "1-1", "of a session that expired")
    await store.rename_session(FLOW, "chat", "talk")

    assert sorted(await raw.hkeys(keys.ids)) == [b"n%d" % number, b"stalk"]
    assert not set(await all_keys(store)) & {keys.log("chat"), keys.edits("chat"), keys.edits("talk")}


# --- merging ----------------------------------------------------------------------------------------


async def test_renaming_onto_a_session_merges_both_in_the_order_of_their_times(store: SessionStore) -> None:
    for moment in (1, 4, 5):
        await say(store, str(moment), "old", timestamp=at(moment))
    for moment in (2, 3, 6):
        await say(store, str(moment), "new", timestamp=at(moment))
    result = await store.rename_session(FLOW, "old", "new")

    assert (result.outcome, result.messages, result.session_id) == ("merged", 6, "new")
    assert await texts(store, "new") == ["1", "2", "3", "4", "5", "6"]
    assert await store.sessions(FLOW) == ["new"]


async def test_messages_keep_ids_times_and_edits_in_a_merge(store: SessionStore) -> None:
    stored = [
        await say(store, session="old", timestamp=at(1)),
        await say(store, session="new", timestamp=at(2)),
        await say(store, session="old", timestamp=at(3), id=uuid4()),
        await say(store, session="new", timestamp=at(4), id=uuid4()),
    ]
    changed = [
        await store.update(message.id, MessageUpdate(text=f"new {place}"))
        for place, message in enumerate(stored)
    ]
    await store.rename_session(FLOW, "old", "new")

    expected = [fields(message, session_id="new") for message in changed]
    assert [fields(message) for message in await store.history(FLOW, "new")] == expected
    found = await store.get_many([message.id for message in stored])
    assert [fields(message) for message in found] == expected


async def test_late_messages_are_exact_after_a_merge(store: SessionStore) -> None:
    for session, moments in (("old", (10, 2, 8)), ("new", (9, 1, 11))):
        for moment in moments:
            await say(store, f"{moment:02}", session, timestamp=at(moment))
    await store.rename_session(FLOW, "old", "new")

    for limit in range(1, 7):
        assert await texts(store, "new", limit=limit) == ["01", "02", "08", "09", "10", "11"][-limit:]


async def test_a_merged_session_goes_on_after_the_later_of_both(store: SessionStore) -> None:
    await say(store, "old", "old", timestamp=at(2))
    newest = await say(store, "newest", "old", timestamp=at(9))
    await say(store, "new", "new", timestamp=at(1))
    await store.delete_messages([newest.id])
    await store.rename_session(FLOW, "old", "new")
    again = await say(store, "again", "new", timestamp=at(9))

    assert again.id > newest.id
    assert await texts(store, "new") == ["new", "old", "again"]


@pytest.mark.parametrize("order", [("new", "between", "old"), ("old", "between", "new")])
async def test_the_place_among_the_sessions_is_that_of_the_later_of_both(
    store: SessionStore, order: tuple[str, ...]
) -> None:
    for moment, session in enumerate(order):
        await say(store, session=session, timestamp=at(moment))
    await store.rename_session(FLOW, "old", "new")

    assert await store.sessions(FLOW) == ["new", "between"]


async def test_sessions_of_hundreds_of_messages_merge_whole(store: SessionStore) -> None:
    expected = []
    for moment in range(450):
        session = "old" if moment % 3 else "new"
        expected.append(await say(store, str(moment), session, timestamp=at(moment)))
    for message in expected[::2]:
        await store.update(message.id, MessageUpdate(sender="Machine"))
    await store.rename_session(FLOW, "old", "new")

    merged = await store.history(FLOW, "new", limit=1_000)
    assert [message.id for message in merged] == [message.id for message in expected]
    assert {message.sender for message in merged[::2]} == {"Machine"}
    assert {message.sender for message in merged[1::2]} == {"User"}


@pytest.mark.store_options(max_merge=4)
async def test_a_merge_up_to_the_limit_is_done(store: SessionStore) -> None:
    for session in ("old", "new"):
        for _ in range(2):
            await say(store, session=session)

    assert (await store.rename_session(FLOW, "old", "new")).messages == 4


@pytest.mark.store_options(max_merge=4)
async def test_a_merge_over_the_limit_is_refused(store: SessionStore) -> None:
    for session in ("old", "new", "new"):
        for _ in range(2):
            await say(store, session=session)
    async with nothing_changes(store):
        with pytest.raises(MergeTooLargeError, match=r"touch 6 messages \(max_merge is 4\)"):
            await store.rename_session(FLOW, "old", "new")


async def test_a_merge_of_short_sessions_is_one_call(store: SessionStore) -> None:
    for session in ("old", "new"):
        message = await say(store, session=session)
        await store.update(message.id, MessageUpdate(text="changed"))
    before = store.counters.calls
    await store.rename_session(FLOW, "old", "new")

    assert store.counters.calls - before == 1


@pytest.mark.parametrize("changed", [2, 3])
async def test_a_merge_is_done_up_to_the_limit_of_changed_messages_in_both(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    monkeypatch.setattr("redis_sessions.scripts.MAX_MERGED_EDITS", 2)
    for session, count in (("old", changed), ("new", 4)):
        for _ in range(count):
            message = await say(store, session=session)
            await store.update(message.id, MessageUpdate(text="changed"))

    if changed == 2:
        assert (await store.rename_session(FLOW, "old", "new")).messages == 6
    else:
        async with nothing_changes(store):
            with pytest.raises(MergeTooLargeError, match="over 2 changed ones"):
                await store.rename_session(FLOW, "old", "new")


@pytest.mark.store_options(max_merge=4)
async def test_a_rename_is_not_limited(store: SessionStore) -> None:
    for _ in range(5):
        await say(store)

    assert (await store.rename_session(FLOW, "chat", "talk")).outcome == "renamed"


async def test_a_session_is_merged_63_times_at_most(store: SessionStore) -> None:
    await say(store, "0", "all")
    for number in range(1, 64):
        await say(store, str(number), "more")
        await store.rename_session(FLOW, "more", "all")
    await say(store, "64", "more")
    async with nothing_changes(store):
        with pytest.raises(MergeTooLargeError):
            await store.rename_session(FLOW, "more", "all")

    assert await texts(store, "all") == [str(number) for number in range(64)]


async def test_ids_of_a_session_merged_many_times_are_found(store: SessionStore) -> None:
    stored = []
    for number in range(8):
        stored.append(await say(store, str(number), f"s{number}"))
        if number:
            await store.rename_session(FLOW, f"s{number - 1}", f"s{number}")

    found = await store.get_many([message.id for message in stored])
    assert [message.session_id for message in found if message] == ["s7"] * 8
    assert await store.delete_messages([message.id for message in stored]) == [m.id for m in stored]
    assert await store.sessions(FLOW) == []


async def test_a_merge_of_too_long_changed_messages_is_refused(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.scripts.MAX_MERGED_EDIT_BYTES", 1_500)
    for session in ("one", "two"):
        message = await say(store, "short", session)
        await store.update(message.id, MessageUpdate(text="x" * 1_000), flow_id=FLOW)
        await say(store, "another", session)
    await store.rename_session(FLOW, "one", "three")  # one long change is not too much
    for session in ("two", "three"):
        for message in await store.history(FLOW, session):
            await store.update(message.id, MessageUpdate(text="y" * 1_000), flow_id=FLOW)

    with pytest.raises(MergeTooLargeError, match=r"touch 4 messages .* 1,500 bytes"):
        await store.rename_session(FLOW, "two", "three")
    assert sorted(await store.sessions(FLOW)) == ["three", "two"]
    assert keys_of(store).merge not in await all_keys(store)
