"""What a rename answers with: the messages that moved, as JSON."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, NewMessage
from tests.support.talk import FLOW, at, say

if TYPE_CHECKING:
    from redis_sessions import SessionStore


async def fill(store: SessionStore, session: str, count: int, text: str = "x") -> None:
    batch = [NewMessage(text=text, sender="U", sender_name="A", session_id=session) for _ in range(count)]
    for first in range(0, count, 500):
        await store.append_many(FLOW, batch[first : first + 500])


async def moved(store: SessionStore, old: str, new: str) -> list[bytes]:
    return await store.moved_json(FLOW, await store.rename_session(FLOW, old, new))


async def everything(store: SessionStore, session: str) -> list[bytes]:
    return [message async for message in store.export_json(FLOW, session)]


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1_700])
async def test_all_messages_of_a_renamed_session_are_answered_oldest_first(
    store: SessionStore, count: int
) -> None:
    await fill(store, "old", count)
    shown = await moved(store, "old", "new")

    assert len(shown) == count
    assert shown == await everything(store, "new")
    assert {json.loads(message)["session_id"] for message in shown} == {"new"}


async def test_messages_that_are_late_changed_or_adopted_are_among_them(store: SessionStore) -> None:
    await fill(store, "old", 600)
    late = await say(store, "late", "old", timestamp=at(0))
    adopted = await say(store, "adopted", "old", id=uuid4())
    await store.update(adopted.id, MessageUpdate(text="changed"))
    shown = await moved(store, "old", "new")

    assert shown == await everything(store, "new")
    assert json.loads(shown[0])["id"] == late.id
    assert json.loads(shown[-1])["text"] == "changed"


async def test_after_a_merge_only_those_that_came_are_answered(store: SessionStore) -> None:
    for _ in range(3):
        await fill(store, "old", 300, "moved")
        await fill(store, "there", 300, "stayed")
    shown = await moved(store, "old", "there")

    assert len(shown) == 900
    assert {json.loads(message)["text"] for message in shown} == {"moved"}
    assert shown == [message for message in await everything(store, "there") if b"moved" in message]


async def test_a_session_that_is_gone_again_answers_nothing(store: SessionStore) -> None:
    await say(store, session="old")
    result = await store.rename_session(FLOW, "old", "new")
    await store.delete_session(FLOW, "new")

    assert await store.moved_json(FLOW, result) == []


async def test_ten_thousand_messages_leave_others_their_turns(valkey_store: SessionStore) -> None:
    await fill(valkey_store, "old", 10_000, "x" * 300)
    result = await valkey_store.rename_session(FLOW, "old", "new")

    async def longest_turn() -> float:
        """Processor time between two turns of somebody else."""
        turns = [time.thread_time()]

        async def somebody() -> None:
            while True:
                await asyncio.sleep(0)
                turns.append(time.thread_time())

        other = asyncio.create_task(somebody())
        assert len(await valkey_store.moved_json(FLOW, result)) == 10_000
        other.cancel()
        return max(after - before for before, after in itertools.pairwise(turns))

    assert min([await longest_turn() for _ in range(3)]) < 0.02
