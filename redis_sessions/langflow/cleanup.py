"""What goes from Langflow's database goes from Redis: flows however they are deleted, and people's data."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis_sessions.langflow import data_subjects, deletions, runtime, seams

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from langflow.services.memory_base.flow_cleanup import FlowMemoryBaseCleanup
    from sqlalchemy.orm import Session
    from sqlmodel.ext.asyncio.session import AsyncSession

_SWEEPING = "redis_sessions_sweeping"


def install(app: FastAPI | None = None) -> None:
    """Follow Langflow's deletions, for every caller in this process. May be repeated.

    Args:
        app: its workers sweep (:mod:`redis_sessions.langflow.deletions`); None: a process without one.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from langflow.api.utils import flow_utils
    from langflow.services.task import temp_flow_cleanup
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    seams.replace(flow_utils, "cascade_delete_flow", cascade_delete_flow)
    seams.replace(temp_flow_cleanup, "cleanup_orphaned_records", cleanup_orphaned_records)
    if not event.contains(Session, "before_flush", _before_flush):
        event.listen(Session, "before_flush", _before_flush)
    data_subjects.install()
    if app is not None and not hasattr(app.state, _SWEEPING):
        setattr(app.state, _SWEEPING, True)
        _sweep_during_life(app)


async def cascade_delete_flow(
    session: AsyncSession,
    flow_id: uuid.UUID,
    *,
    memory_base_cleanups: list[FlowMemoryBaseCleanup] | None = None,
) -> bool:
    """Delete a flow from the database, and after the commit from Redis.

    Raises:
        fastapi.HTTPException: as Langflow; 503: Redis is not available, and nothing was deleted.
    """
    from langflow.api.utils import flow_utils

    if runtime.active() and not flow_utils.is_virtual_flow_id(flow_id):
        await deletions.prepare(session, flow_id)
    stock = seams.stock(flow_utils, "cascade_delete_flow")
    gone: bool = await stock(session, flow_id, memory_base_cleanups=memory_base_cleanups)
    return gone


async def cleanup_orphaned_records() -> None:
    """Langflow's own, and the flows that are noted as deleted."""
    from langflow.services.task import temp_flow_cleanup

    await seams.stock(temp_flow_cleanup, "cleanup_orphaned_records")()
    if runtime.active():
        await deletions.sweep()


def _before_flush(session: Session, _context: Any, _instances: Any) -> None:
    """Flows that go without ``cascade_delete_flow``: with a project of others, a user, a rejected draft."""
    if not session.deleted or not runtime.active():
        return
    from langflow.services.database.models.flow.model import Flow
    from sqlalchemy.exc import MissingGreenlet
    from sqlalchemy.util import await_only

    for row in session.deleted:
        if isinstance(row, Flow):
            preparing = deletions.prepare(session, row.id)
            try:
                await_only(preparing)
            except MissingGreenlet:  # a synchronous session
                runtime.blocking(deletions.prepare(session, row.id))


def _sweep_during_life(app: FastAPI) -> None:
    stock = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(host: Any) -> AsyncIterator[Any]:
        async with stock(host) as state:
            sweeping = asyncio.create_task(deletions.sweep_always()) if runtime.active() else None
            try:
                yield state
            finally:
                if sweeping is not None:
                    sweeping.cancel()
                    await asyncio.wait([sweeping])

    app.router.lifespan_context = lifespan
