from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from redis_sessions import NewMessage, SessionStore, stats
from tests.support import valkey_server
from tests.support.talk import nothing_changes, say

if TYPE_CHECKING:
    from tests.conftest import Backend


async def fill(store: SessionStore) -> None:
    """Two flows: sessions of 1 to 30 messages, the last ones between now and two years ago."""
    now = datetime.now(UTC)
    for number in range(30):
        when = now - timedelta(days=25 * number)
        await store.append_many(
            "large" if number % 3 else "small",
            [NewMessage(text="x" * 500, sender="U", sender_name="A", session_id=f"s{number}", timestamp=when)]
            * (number + 1),
        )


async def test_everything_is_counted_where_it_is_little(store: SessionStore, backend: Backend) -> None:
    await fill(store)
    async with nothing_changes(store):
        found = await stats.collect(store)

    assert (found.flows, found.sessions, found.messages, found.sampled) == (2, 30, sum(range(31)), 30)
    assert found.exact
    assert [(flow.flow_id, flow.sessions) for flow in found.by_flow] == [("large", 20), ("small", 10)]
    assert sum(flow.messages for flow in found.by_flow) == found.messages
    assert {"s27", "s28", "s29"} < {session.session_id for session in found.largest}
    assert len(found.largest) == 20
    assert found.ages == [1, 0, 0, 1, 2, 11, 15]
    if backend.kind == "memory":
        assert found.bytes is None
    else:
        assert found.messages * 550 < (found.bytes or 0) < found.messages * 5000


async def test_an_empty_store_has_nothing(store: SessionStore) -> None:
    found = await stats.collect(store)
    assert (found.flows, found.sessions, found.messages, sum(found.ages)) == (0, 0, 0, 0)
    assert found.exact


@pytest.mark.backends("valkey", "redis7", "cluster")
async def test_a_sample_is_small_and_says_that_it_is_one(store: SessionStore) -> None:
    for number in range(300):
        await say(store, session=f"s{number}")
    before = store.round_trips

    found = await stats.collect(store, sample=30)

    assert (found.sessions, found.sampled, found.exact) == (300, 30, False)
    assert found.messages == 300
    assert sum(found.ages) == 300
    assert store.round_trips - before < 20


async def test_many_flows_are_sampled(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_FLOWS", 5)
    for number in range(10):
        await say(store, flow=f"flow {number}")
    found = await stats.collect(store)
    assert (found.flows, found.sessions, found.messages, found.exact) == (10, 10, 10, False)
    assert len(found.by_flow) == 5


async def test_a_user_who_may_not_ask_for_memory_gets_the_rest() -> None:
    user = [("default", "on", "nopass", "~*", "&*", "+@all", "-memory")]
    with valkey_server(user=user) as server:
        async with SessionStore.from_url(server.url) as store:
            await say(store)
            found = await stats.collect(store)
    assert (found.messages, found.bytes) == (1, None)
