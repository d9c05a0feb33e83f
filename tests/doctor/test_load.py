"""An examination while others write: it finds nothing, and mends nothing that is not broken."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageNotFoundError, MessageUpdate, SessionNotFoundError
from redis_sessions.doctor import KINDS, examine
from tests.support.talk import say

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from redis_sessions.doctor import Finding, Report
    from tests.conftest import MakeStore

FLOWS = ["one", "two", "three"]
SESSIONS = ["a", "b", "c"]


async def work(store: SessionStore, seed: int, over: asyncio.Event) -> int:
    """All that a store can do, at random; how many calls that were."""
    chance = random.Random(seed)
    known: list[str] = []
    calls = 0
    while not over.is_set():
        flow, session, other = chance.choice(FLOWS), chance.choice(SESSIONS), chance.choice(SESSIONS)
        calls += 1
        try:
            match chance.randrange(12):
                case 0:
                    await store.delete_flow(flow)
                case 1:
                    await store.delete_session(flow, session)
                case 2:
                    await store.rename_session(flow, session, other)
                case 3 if known:
                    await store.update(chance.choice(known), MessageUpdate(text=f"new {calls}"))
                case 4 if known:
                    await store.update(chance.choice(known), MessageUpdate(session_id=other))
                case 5 if known:
                    await store.delete_messages([known.pop(chance.randrange(len(known)))])
                case 6:
                    await store.set_owner(flow, chance.choice(["ann", "bob", None]))
                case 7:
                    known.append((await say(store, "kept", session, flow=flow, id=uuid4())).id)
                case _:
                    known.append((await say(store, f"text {calls}", session, flow=flow)).id)
        except (SessionNotFoundError, MessageNotFoundError):
            pass
    return calls


@pytest.mark.backends("valkey", "redis7", "cluster")
async def test_an_examination_under_load_finds_nothing(make_store: MakeStore) -> None:
    store, writer = await make_store(), await make_store(deadline=timedelta(seconds=20))
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work(writer, seed, over)) for seed in range(6)]
        try:
            reports = [await examine(store, mend=True, settle=timedelta(milliseconds=1500)) for _ in range(3)]
        finally:
            over.set()
    assert sum(worker.result() for worker in workers) > 100
    assert problems(*reports) == []
    # Calls that crossed may have left a registration over: that is swept, and nothing else is there.
    assert problems(await examine(store, mend=True, settle=timedelta(0))) == []
    assert (await examine(store, settle=timedelta(0))).kinds == {}


def problems(*reports: Report) -> list[Finding]:
    """Findings that are more than a note."""
    kinds = [(name, kind) for report in reports for name, kind in report.kinds.items()]
    return [finding for name, kind in kinds if KINDS[name][0] != "note" for finding in kind.first]
