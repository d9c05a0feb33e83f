from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from redis_sessions.bench import measure
from tests.support import wait_until
from tests.support.talk import nothing_changes, say

if TYPE_CHECKING:
    from redis_sessions import SessionStore


async def test_a_measurement_compares_and_leaves_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        results = await measure(store, rounds=5)
    assert [result.name.partition("(")[0].partition(" ")[0] for result in results] == [
        "append",
        "history",
        "history_json",
        "sessions",
        "rename",
        "ping",
        "append,",
    ]
    for result in results:
        assert 0 < result.p50_us <= result.p99_us
        assert result.rate > 0
        if result.raw_us is not None:
            assert result.ratio == result.p50_us / result.raw_us


@pytest.mark.backends("valkey", "cluster")
async def test_a_measurement_that_is_interrupted_leaves_nothing(store: SessionStore) -> None:
    await say(store)
    async with nothing_changes(store):
        measuring = asyncio.create_task(measure(store, rounds=100_000))
        before = store.round_trips
        await wait_until(lambda: store.round_trips > before + 300)
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring
