"""A store with some of everything, and what can be broken in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from redis_sessions import MessageUpdate, Transaction, VertexBuild
from tests.support.talk import at, say

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import MakeStore

ADOPTED = UUID("7d0a3f7e-9f5d-4d2b-8f5a-0123456789ab")


async def furnish(store: SessionStore) -> None:
    """Some of everything: edits, late, adopted, moved and merged messages, owners, builds, transactions."""
    for number in range(5):
        message = await say(store, f"text {number}", "chat", owner="ann")
        await say(store, f"other {number}", "other")
    await store.update(message.id, MessageUpdate(text="changed"))
    await say(store, "late", "chat", timestamp=at(0))
    await say(store, "kept", "chat", id=ADOPTED)
    moved = await say(store, "moved", "other")
    await store.update(moved.id, MessageUpdate(session_id="chat"))
    await say(store, "merged", "third")
    await store.rename_session("flow", "third", "other")
    gone = await say(store, "gone", "chat")
    await store.delete_messages([gone.id])
    await say(store, "{odd}", "a:b {c}\n✓", flow="second", owner="bob")
    await say(store, "nobody's", "x", flow="third")
    now = datetime.now(UTC)
    await store.put_build(
        VertexBuild(id="v", flow_id="builds only", timestamp=now, valid=True, params="", data={})
    )
    await store.add_transaction(
        Transaction(
            id=str(uuid4()),
            flow_id="flow",
            vertex_id="v",
            target_id=None,
            inputs={},
            outputs={},
            status="success",
            error=None,
            timestamp=now,
        )
    )


@pytest.fixture
async def furnished(make_store: MakeStore) -> SessionStore:
    store = await make_store()
    await furnish(store)
    return store
