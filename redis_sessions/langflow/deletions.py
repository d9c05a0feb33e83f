"""A flow that goes from Langflow's database goes from Redis: when that has happened, and not before.

1. Before Langflow deletes it, the flow is noted in Redis. If Redis is away, Langflow's deletion is refused
   with 503, and nothing is deleted anywhere.
2. Langflow deletes the flow, and commits or rolls back.
3. After that transaction the database is asked whether the flow is gone: if so, its sessions, builds and
   transactions are deleted; if not, the note is removed.
4. What step 3 did not get to, because the process died or Redis went away, the sweep does: one worker, at its
   start and once a minute. A note stays for ten minutes, so that what a run wrote that was still going when
   its flow was deleted goes too.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from redis_sessions.errors import RedisSessionsError
from redis_sessions.langflow import runtime

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, SessionTransaction

logger: logging.Logger = logging.getLogger("redis_sessions.langflow")

SWEEP_EVERY = timedelta(minutes=1)
NOTE_LASTS = timedelta(minutes=10)
_PENDING = "redis_sessions_deletions"
_settling: set[asyncio.Task[None]] = set()


async def prepare(session: Any, flow_id: Any) -> None:
    """Step 1, for a deletion in the transaction of ``session`` (synchronous or not). May be repeated.

    Raises:
        fastapi.HTTPException: 503, Redis cannot note it.
    """
    from fastapi import HTTPException

    try:
        await (await runtime.store()).begin_deletion(str(flow_id))
    except RedisSessionsError as error:
        msg = (
            f"The sessions of flow {flow_id} are in Redis, and Redis is not available: nothing was deleted. "
            "Try again later."
        )
        raise HTTPException(503, msg) from error
    _follow(getattr(session, "sync_session", session), str(flow_id))


def _follow(session: Session, flow_id: str) -> None:
    from sqlalchemy import event

    session.info.setdefault(_PENDING, set()).add(flow_id)
    if not event.contains(session, "after_transaction_end", _ended):
        event.listen(session, "after_transaction_end", _ended)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    """Step 3 begins: not for a savepoint, whose flow may still come back."""
    if transaction.parent is not None:
        return
    for flow_id in session.info.pop(_PENDING, ()):
        try:
            task = asyncio.get_running_loop().create_task(_settle(flow_id))
        except RuntimeError:  # no event loop here: the sweep will do it
            return
        _settling.add(task)
        task.add_done_callback(_settling.discard)


async def _settle(flow_id: str) -> None:
    try:
        await settle(flow_id)
    except Exception as error:  # noqa: BLE001 - the sweep tries again
        logger.warning(
            "the sessions of flow %s are deleted later, once a minute it is tried again: %s", flow_id, error
        )


async def settle(flow_id: str) -> bool:
    """Step 3: True when the flow is gone, from the database and now from Redis."""
    store = await runtime.store()
    if await _exists(flow_id):
        await store.end_deletion(flow_id)
        return False
    await store.delete_flow(flow_id)
    return True


async def settle_gone() -> None:
    """Delete the flows that are noted and gone from the database; the others stay noted."""
    store = await runtime.store()
    for flow_id, _ in await store.deletions():
        if not await _exists(flow_id):
            await store.delete_flow(flow_id)


async def sweep() -> None:
    """Step 4."""
    store = await runtime.store()
    for flow_id, noted in await store.deletions():
        exists = await _exists(flow_id)
        if not exists:
            await store.delete_flow(flow_id)
        if datetime.now(UTC) - noted > NOTE_LASTS:
            await store.end_deletion(flow_id)


async def sweep_always() -> None:
    """Step 4 again and again: of all processes on one Redis, one at a time."""
    while True:
        try:
            store = await runtime.store()
            count, _ = await store.count("langflow-sweep", window=SWEEP_EVERY)
            if count == 1:
                await sweep()
        except Exception as error:  # noqa: BLE001 - tried again next time
            logger.warning("flows deleted in Langflow were not looked for in Redis: %s", error)
        await asyncio.sleep(SWEEP_EVERY.total_seconds())


async def settled() -> None:
    """Wait for the deletions that follow transactions of this loop."""
    while _settling:
        await asyncio.gather(*_settling, return_exceptions=True)


async def _exists(flow_id: str) -> bool:
    from uuid import UUID

    from langflow.services.database.models.flow.model import Flow
    from langflow.services.deps import session_scope
    from sqlmodel import select

    async with session_scope() as session:
        found = (await session.exec(select(Flow.id).where(Flow.id == UUID(flow_id)))).first()
    return found is not None
