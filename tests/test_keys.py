from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate
from redis_sessions.keys import Keys
from tests.support.talk import FLOW, all_keys, dump, keys_of, say

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.conftest import Backend


async def use_everything(store: SessionStore, flow: str = FLOW) -> list[Message]:
    """Every kind of key of a flow exists now."""
    edited = await say(store, flow=flow, owner="ann")
    adopted = await say(store, flow=flow, id=uuid4())
    moved = await say(store, session="other", flow=flow)
    merged = await say(store, session="merged", flow=flow, id=uuid4())
    await store.update(edited.id, MessageUpdate(text="new"))
    await store.update(moved.id, MessageUpdate(session_id="chat"))
    await store.rename_session(flow, "merged", "chat")
    kept = await say(store, session="kept", flow=flow)
    return [edited, adopted, moved, merged, kept]


def expected_keys(store: SessionStore, flow: str = FLOW) -> set[bytes]:
    keys = keys_of(store, flow)
    return {
        keys.log("chat"),
        keys.log("kept"),
        keys.edits("chat"),
        keys.sessions,
        keys.ids,
        keys.aliases,
        keys.feed,
    }


async def test_there_are_no_other_keys_than_those_of_the_data_model(store: SessionStore) -> None:
    await use_everything(store)

    found = set(await dump(store))
    assert {key for key in found if b":adopted:" not in key} == expected_keys(store) | {
        Keys(store.settings.prefix).flows,
        Keys(store.settings.prefix).owner("ann"),
    }
    assert len(found) == len(expected_keys(store)) + 2 + 2


async def test_every_key_but_the_sets_of_flows_has_the_hash_tag_of_its_flow(store: SessionStore) -> None:
    for flow in ("one", "two"):
        await use_everything(store, flow)

    registry = {Keys(store.settings.prefix).flows, Keys(store.settings.prefix).owner("ann")}
    for key in set(await dump(store)) - registry:
        tag = key[key.index(b"{") + 1 : key.index(b"}")]
        assert tag in (b"one", b"two")


@pytest.mark.backends("cluster")
async def test_all_keys_of_a_flow_are_in_one_slot(store: SessionStore, backend: Backend) -> None:
    await use_everything(store)

    slots = {backend.raw(store).keyslot(key) for key in await dump(store) if b"{" in key}
    assert len(slots) == 1


async def test_only_the_feed_is_left_when_all_messages_were_deleted_one_by_one(store: SessionStore) -> None:
    for message in await use_everything(store):
        assert await store.delete_messages([message.id]) == [message.id]

    left = await dump(store)
    assert set(left) == {keys_of(store).feed}
    assert left[keys_of(store).feed][2], "the feed expires"


async def test_only_the_feed_is_left_when_all_sessions_were_deleted(store: SessionStore) -> None:
    await use_everything(store)
    for session in await store.sessions(FLOW):
        await store.delete_session(FLOW, session)

    assert set(await dump(store)) == {keys_of(store).feed}


@pytest.mark.store_options(feed_ttl=timedelta(minutes=2))
async def test_the_feed_of_an_empty_flow_lives_as_long_as_is_set(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    await store.delete_session(FLOW, "chat")

    assert 60_000 < await backend.raw(store).pttl(keys_of(store).feed) <= 120_000


async def test_nothing_is_left_of_a_deleted_flow(store: SessionStore) -> None:
    await use_everything(store)
    await store.delete_flow(FLOW)

    assert await dump(store) == {}


async def test_nothing_is_left_of_a_deleted_flow_whose_sessions_were_deleted_before(
    store: SessionStore,
) -> None:
    await use_everything(store)
    for session in await store.sessions(FLOW):
        await store.delete_session(FLOW, session)
    await store.delete_flow(FLOW)

    assert await dump(store) == {}


async def test_a_merge_leaves_no_key_of_its_own(store: SessionStore, backend: Backend) -> None:
    await use_everything(store)

    assert not await backend.raw(store).exists(keys_of(store).merge)


async def test_the_edit_of_a_deleted_message_goes_with_it(store: SessionStore, backend: Backend) -> None:
    message = await say(store)
    await say(store, "kept")
    await store.update(message.id, MessageUpdate(text="new"))
    await store.delete_messages([message.id])

    assert not await backend.raw(store).exists(keys_of(store).edits("chat"))


async def test_adopted_ids_of_a_deleted_session_leave_nothing(store: SessionStore, backend: Backend) -> None:
    await say(store, session="kept")
    await say(store, id=uuid4())
    await store.delete_session(FLOW, "chat")

    assert not await backend.raw(store).exists(keys_of(store).aliases)
    assert not [key for key in await all_keys(store) if b":adopted:" in key]


async def test_adopted_ids_that_are_gone_leave_nothing(store: SessionStore, backend: Backend) -> None:
    messages = [await say(store, id=uuid4()) for _ in range(3)]
    await say(store, "kept")
    await store.delete_messages([message.id for message in messages])

    assert not await backend.raw(store).exists(keys_of(store).aliases)
    assert not [key for key in await all_keys(store) if b":adopted:" in key]


async def test_a_message_of_its_own_id_is_in_its_log_alone(store: SessionStore) -> None:
    await say(store)
    before = await dump(store)
    await say(store)
    after = await dump(store)

    keys = keys_of(store)
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {keys.log("chat"), keys.sessions, keys.feed}
    assert not {keys.aliases, keys.edits("chat")} & set(after)
