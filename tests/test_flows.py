from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, OwnerMismatchError, Transaction, VertexBuild
from redis_sessions.keys import Keys
from redis_sessions.scripting import StaleError
from tests.support.talk import FLOW, dump, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore


async def test_a_flow_is_registered_with_its_first_message(store: SessionStore) -> None:
    await say(store, flow="b")
    await say(store, flow="a")

    assert await store.flows() == ["a", "b"]


async def test_a_flow_goes_with_its_last_session(store: SessionStore) -> None:
    await say(store, session="a")
    await say(store, session="b")
    await store.delete_session(FLOW, "a")
    assert await store.flows() == [FLOW]
    await store.delete_session(FLOW, "b")

    assert await store.flows() == []


async def test_a_flow_goes_with_its_last_message(store: SessionStore) -> None:
    message = await say(store, owner="ann")
    await store.delete_messages([message.id])

    assert await store.flows() == []
    assert await store.flows(owner="ann") == []


async def test_a_flow_comes_back_with_its_next_message(store: SessionStore) -> None:
    for _ in range(2):
        await say(store, owner="ann")
        assert await store.flows(owner="ann") == [FLOW]
        await store.delete_session(FLOW, "chat")


async def test_a_flow_belongs_to_who_first_wrote_for_an_owner(store: SessionStore) -> None:
    await say(store)
    assert await store.owner(FLOW) is None
    await say(store, owner="ann")

    assert await store.owner(FLOW) == "ann"
    assert await store.flows(owner="ann") == [FLOW]


async def test_a_write_for_another_owner_is_refused(store: SessionStore) -> None:
    await say(store, owner="ann")
    async with nothing_changes(store):
        with pytest.raises(OwnerMismatchError):
            await say(store, owner="bob")
        with pytest.raises(OwnerMismatchError):
            await say(store, session="new", owner="bob")


async def test_a_write_that_names_no_owner_is_taken_for_any(store: SessionStore) -> None:
    await say(store, owner="ann")
    await say(store)

    assert await store.owner(FLOW) == "ann"
    assert len(await texts(store)) == 2


async def test_an_owner_sees_only_his_flows(store: SessionStore) -> None:
    for flow, owner in (("a", "ann"), ("b", "bob"), ("c", None), ("d", "ann")):
        await say(store, flow=flow, owner=owner)

    assert await store.flows(owner="ann") == ["a", "d"]
    assert await store.flows(owner="bob") == ["b"]
    assert await store.flows(owner="eve") == []
    assert await store.flows() == ["a", "b", "c", "d"]


async def test_a_flow_is_given_to_another_owner(store: SessionStore) -> None:
    await say(store, owner="ann")
    await store.set_owner(FLOW, "bob")

    assert await store.owner(FLOW) == "bob"
    assert (await store.flows(owner="ann"), await store.flows(owner="bob")) == ([], [FLOW])
    await say(store, owner="bob")
    with pytest.raises(OwnerMismatchError):
        await say(store, owner="ann")


async def test_a_flow_is_given_to_nobody(store: SessionStore) -> None:
    await say(store, owner="ann")
    await store.set_owner(FLOW, None)

    assert await store.owner(FLOW) is None
    assert (await store.flows(owner="ann"), await store.flows()) == ([], [FLOW])


async def test_giving_a_flow_to_its_owner_changes_nothing(store: SessionStore) -> None:
    await say(store, owner="ann")
    async with nothing_changes(store):
        await store.set_owner(FLOW, "ann")


async def test_a_flow_has_an_owner_before_its_first_message(store: SessionStore) -> None:
    await store.set_owner(FLOW, "ann")

    assert await store.flows(owner="ann") == [FLOW]
    with pytest.raises(OwnerMismatchError):
        await say(store, owner="bob")


async def test_a_flow_whose_shard_names_another_owner_is_not_listed(
    store: SessionStore, backend: Backend
) -> None:
    await say(store, owner="ann")
    await backend.raw(store).sadd(Keys(backend.prefix).owner("bob"), FLOW)

    assert await store.flows(owner="bob") == []


async def test_more_flows_than_one_page_are_listed(store: SessionStore, backend: Backend) -> None:
    names = sorted(f"flow {number}" for number in range(2_500))
    await backend.raw(store).sadd(Keys(backend.prefix).flows, *names)

    assert await store.flows() == names


async def test_a_deleted_flow_leaves_nothing(store: SessionStore) -> None:
    for session in ("a", "b", "c"):
        message = await say(store, session=session, owner="ann", id=uuid4())
        await store.update(message.id, MessageUpdate(text="new"))

    assert await store.delete_flow(FLOW) == 3
    assert await dump(store) == {}
    assert (await store.flows(), await store.flows(owner="ann")) == ([], [])


async def test_whatever_is_left_of_a_flow_goes_with_it(store: SessionStore, backend: Backend) -> None:
    for job in ("one", "two"):
        await store.put_build(VertexBuild(flow_id=FLOW, id="v", valid=True, job_id=job), owner="ann")
    await store.add_transaction(Transaction(flow_id=FLOW, vertex_id="v", status="success"))
    await backend.raw(store).hset(keys_of(store).aliases, uuid4().bytes, "1-1")

    assert await store.delete_flow(FLOW) == 0
    assert await dump(store) == {}


async def test_a_flow_that_has_a_session_is_not_dropped(store: SessionStore) -> None:
    await say(store, owner="ann")
    parts = store._parts
    async with nothing_changes(store):
        with pytest.raises(StaleError, match="BUSY"):
            await parts.scripts.drop_flow(keys_of(store), attempt=parts.calls.begin())


async def test_deleting_a_flow_leaves_the_others(store: SessionStore) -> None:
    await say(store, flow="one", owner="ann")
    await say(store, "kept", flow="two", owner="ann")
    await store.delete_flow("one")

    assert await store.flows(owner="ann") == ["two"]
    assert await texts(store, flow="two") == ["kept"]


async def test_deleting_a_flow_that_is_not_there_does_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        assert await store.delete_flow("other") == 0


async def test_a_flow_that_has_only_an_owner_is_deleted(store: SessionStore) -> None:
    await store.set_owner(FLOW, "ann")

    assert await store.delete_flow(FLOW) == 0
    assert await dump(store) == {}


async def test_a_flow_with_more_sessions_than_one_step_is_deleted(store: SessionStore) -> None:
    for number in range(40):
        await say(store, session=f"s{number}")

    assert await store.delete_flow(FLOW) == 40
    assert await dump(store) == {}


async def test_a_flow_whose_records_were_lost_is_deleted(store: SessionStore, backend: Backend) -> None:
    await say(store)
    await backend.raw(store).delete(keys_of(store).ids)

    assert await store.delete_flow(FLOW) == 1
    assert await dump(store) == {}


async def test_stores_of_different_prefixes_see_nothing_of_each_other(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    other = await make_store(prefix=backend.prefix + "2")
    message = await say(store, owner="ann")

    assert await other.flows() == []
    assert await other.flows(owner="ann") == []
    assert await other.get(message.id) is None
    assert await other.history(FLOW, "chat") == []
    assert await other.delete_flow(FLOW) == 0
    assert await store.get(message.id) == message
