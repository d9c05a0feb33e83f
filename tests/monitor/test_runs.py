"""Builds and transactions in the store, on every backend."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.errors import InvalidInputError, InvalidTimestampError, OwnerMismatchError, TooLargeError
from redis_sessions.models import Transaction, VertexBuild
from tests.support import Proxy, Server

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore
    from tests.conftest import Backend, MakeStore

FLOW = "a-flow"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def build(vertex: str, second: int, **fields: Any) -> VertexBuild:
    values = {"id": vertex, "valid": True, "flow_id": FLOW, **fields}
    return VertexBuild(timestamp=BEGIN + timedelta(seconds=second), **values)


def transaction(second: int, **fields: Any) -> Transaction:
    values = {"vertex_id": str(second), "status": "success", "flow_id": FLOW, **fields}
    return Transaction(timestamp=BEGIN + timedelta(seconds=second), **values)


async def test_a_flow_keeps_the_latest_build_of_each_vertex(store: SessionStore) -> None:
    first, second = build("a", 1), build("b", 2, data={"x": [1, None]}, params="p", job_id=uuid.uuid4())
    later = build("a", 3, valid=False, artifacts={})

    assert [await store.put_build(one) for one in (first, second, later, second, first)] == [
        True,
        True,
        True,
        True,
        False,
    ]
    assert await store.builds(FLOW) == [second, later]
    assert await store.builds("another") == []


async def test_a_flow_keeps_no_more_than_a_thousand_vertices(store: SessionStore) -> None:
    for number in range(1_003):
        await store.put_build(build(f"v{number}", 5_000 - number))

    kept = await store.builds(FLOW)
    assert len(kept) == 1_000
    assert kept[0].id == "v999"
    assert kept[-1].id == "v0"


async def test_a_flow_is_registered_with_its_first_build_or_transaction(
    store: SessionStore, backend: Backend
) -> None:
    await store.put_build(build("a", 1), owner="me")
    await store.add_transaction(transaction(1, flow_id="other"))

    assert await store.flows() == [FLOW, "other"]
    assert await store.flows(owner="me") == [FLOW]
    with pytest.raises(OwnerMismatchError):
        await store.put_build(build("b", 1), owner="somebody")
    with pytest.raises(OwnerMismatchError):
        await store.add_transaction(transaction(2), owner="somebody")
    await store.add_transaction(transaction(2, flow_id="other"), owner="you")
    assert await store.owner("other") == "you"


async def test_deleting_the_builds_of_a_flow_that_has_nothing_else_removes_the_flow(
    store: SessionStore, backend: Backend
) -> None:
    await store.put_build(build("a", 1), owner="me")

    assert await store.delete_builds(FLOW) == 1
    assert await store.delete_builds(FLOW) == 0
    assert await store.flows() == await store.flows(owner="me") == []
    assert await backend.keys(store) == []


async def test_a_flow_lives_as_long_as_it_has_sessions_builds_or_transactions(
    store: SessionStore, backend: Backend
) -> None:
    said = {"text": "x", "sender": "u", "sender_name": "u", "session_id": "s"}
    await store.append(FLOW, owner="me", **said)
    await store.put_build(build("a", 1))

    await store.delete_builds(FLOW)
    assert await store.flows(owner="me") == [FLOW]
    await store.put_build(build("a", 1))
    await store.delete_session(FLOW, "s")
    assert await store.owner(FLOW) == "me"
    await store.add_transaction(transaction(1))
    await store.delete_builds(FLOW)
    assert await store.flows(owner="me") == [FLOW]
    await store.delete_flow(FLOW)
    assert await store.flows() == []
    assert await backend.keys(store) == []


async def test_a_flow_given_away_before_its_first_write_keeps_its_owner(store: SessionStore) -> None:
    await store.set_owner(FLOW, "me")

    assert await store.delete_builds(FLOW) == 0
    assert await store.owner(FLOW) == "me"


async def test_transactions_are_in_the_order_of_their_times_whoever_wrote_them(store: SessionStore) -> None:
    seconds = [5, 3, 9, 1, 9, 4, 100, 2]
    for second in seconds:
        await store.add_transaction(transaction(second))

    def times(found: list[Transaction]) -> list[int]:
        return [int(one.vertex_id) for one in found]

    assert times(await store.transactions(FLOW)) == sorted(seconds, reverse=True)
    assert times(await store.transactions(FLOW, limit=2, offset=3)) == [5, 4]
    assert await store.transactions(FLOW, offset=8) == []
    shown, total = await store.transactions_json(FLOW, limit=1)
    assert (len(shown), total) == (1, 8)


@pytest.mark.store_options(max_transactions=250)
async def test_a_flow_keeps_its_newest_transactions_and_pages_through_all_of_them(
    store: SessionStore,
) -> None:
    for second in range(260):
        await store.add_transaction(transaction(1_000 - second if second > 255 else second))

    found = [
        one.timestamp
        for offset in range(0, 300, 7)
        for one in await store.transactions(FLOW, limit=7, offset=offset)
    ]
    assert found == sorted(found, reverse=True)
    assert len(found) == 250


async def test_a_transaction_comes_back_as_it_was_given(store: SessionStore) -> None:
    given = transaction(
        1,
        id=str(uuid.uuid4()),
        target_id="t",
        inputs={"a": ["\ud800", math.nan]},
        outputs={},
        error="no",
        user_id=uuid.uuid4(),
        session_id="s",
    )
    await store.add_transaction(given)

    (back,) = await store.transactions(FLOW)
    assert back == given.model_copy(update={"inputs": {"a": ["\ufffd", None]}})


async def test_what_cannot_be_kept_is_refused_and_nothing_changes(store: SessionStore) -> None:
    ahead = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(InvalidTimestampError):
        await store.put_build(VertexBuild(id="a", valid=True, flow_id=FLOW, timestamp=ahead))
    with pytest.raises(InvalidTimestampError):
        await store.add_transaction(transaction(1).model_copy(update={"timestamp": ahead}))
    with pytest.raises(InvalidTimestampError):
        await store.put_build(build("a", 1).model_copy(update={"timestamp": datetime(2026, 1, 1)}))
    for vertex in ("", "a\x00", "\ud800", "x" * 2_049):
        with pytest.raises(InvalidInputError):
            await store.put_build(build("a", 1).model_copy(update={"id": vertex}))
    with pytest.raises(InvalidInputError):
        await store.put_build(build("a", 1, data={"x": object()}))
    with pytest.raises(InvalidInputError):
        await store.add_transaction(transaction(1, id="not a uuid"))
    with pytest.raises(TooLargeError):
        await store.put_build(build("a", 1, params="x" * 17_000_000))

    assert await store.builds(FLOW) == []
    assert await store.transactions(FLOW) == []


async def test_a_corrupt_build_or_transaction_does_not_hide_the_good_ones(
    real_store: SessionStore, backend: Backend
) -> None:
    await real_store.put_build(build("good", 1))
    await real_store.add_transaction(transaction(1))
    keys = f"{backend.prefix}:{{{FLOW}}}"
    backend.redis.hset(f"{keys}:builds", mapping={"tbad": "5", "bbad": "nonsense", "tlone": "x"})
    backend.redis.xadd(f"{keys}:transactions", {"odd": "1"}, id="9999999999999999-0")

    assert [one.id for one in await real_store.builds(FLOW)] == ["good"]
    assert len(await real_store.transactions(FLOW)) == 1
    assert real_store.counters.corrupt_entries == 3


@pytest.mark.backends("valkey", "redis7")
async def test_a_reply_that_is_lost_neither_doubles_nor_loses_a_write(
    real_store: SessionStore, make_real_store: MakeStore, backend: Backend
) -> None:
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        store = await make_real_store(url=proxy.url)
        await store.put_build(build("warm", 0))  # the scripts are known to the server
        await store.add_transaction(transaction(0))
        for second in range(1, 4):
            fault = proxy.drop_reply(matching=b"EVAL")
            await store.add_transaction(transaction(second))
            assert fault.hits == 1
        fault = proxy.drop_reply(matching=b"EVAL")
        assert await store.put_build(build("a", 1)) is True
        assert fault.hits == 1
        fault = proxy.drop_reply(matching=b"EVAL")
        await store.delete_builds(FLOW)
        assert fault.hits == 1

    assert [one.vertex_id for one in await real_store.transactions(FLOW)] == ["3", "2", "1", "0"]
    assert await real_store.builds(FLOW) == []


@pytest.mark.backends("valkey", "redis7")
async def test_a_flow_whose_last_builds_went_in_a_call_that_was_retried_is_not_listed(
    real_store: SessionStore, make_real_store: MakeStore, backend: Backend
) -> None:
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        store = await make_real_store(url=proxy.url)
        await store.put_build(build("a", 0))
        await store.delete_builds("warm")
        fault = proxy.drop_reply(matching=b"EVAL")
        await store.delete_builds(FLOW)
        assert fault.hits == 1

    assert await real_store.flows() == []
