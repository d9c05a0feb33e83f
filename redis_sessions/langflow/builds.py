"""Vertex builds: written to Redis, and read from there by whoever asks Langflow for them.

Langflow's own classes shorten what is long and make plain what is not, exactly as before it stores and shows
a build; what is kept is what ``GET /monitor/builds`` shows. The limits are Langflow's: of a vertex
``max_vertex_builds_per_vertex``, of a flow ``max_vertex_builds_to_keep``. The latter also holds for all flows
together, about once a minute and flow by flow: those that last built longest ago lose their builds.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis_sessions import models
from redis_sessions.body import encode_json
from redis_sessions.langflow import recorder, runtime, seams

if TYPE_CHECKING:
    from langflow.services.database.models.vertex_builds.model import VertexBuildBase, VertexBuildTable
    from sqlmodel.ext.asyncio.session import AsyncSession

    from redis_sessions.store import SessionStore

TRIM_EVERY = timedelta(minutes=1)
_trimmed = {"at": 0.0}


def install(app: object = None) -> None:
    """Put vertex builds in Redis, for every caller in this process. May be repeated.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from langflow.services.database.models.vertex_builds import crud
    from lfx.graph import utils

    seams.replace(utils, "_try_enqueue_via_telemetry_writer", _try_enqueue_via_telemetry_writer)
    for function in (
        log_vertex_build,
        get_vertex_builds_by_flow_id,
        get_vertex_builds_by_job_id,
        delete_vertex_builds_by_flow_id,
        delete_vertex_builds_by_flow_id_unchecked,
    ):
        seams.replace(crud, function.__name__, function)


def shown(row: VertexBuildTable) -> models.VertexBuild:
    """A build as Langflow shows it."""
    return models.VertexBuild.model_validate(row.model_dump(mode="json"))


def keep(row: VertexBuildTable, max_builds: int, per_vertex: int) -> None:
    """Give a build to the recorder."""
    build = shown(row)

    async def write(store: SessionStore, maybe_done: bool) -> None:
        await store.put_build(build, max_builds=max(max_builds, 1), per_vertex=max(per_vertex, 1))
        await _trim_sometimes(store, max(max_builds, 1))

    recorder.record(f"build of {build.id}", write, size=len(encode_json([build.data, build.artifacts])))


async def _trim_sometimes(store: SessionStore, most: int) -> None:
    """All flows together keep about ``most``; one process looks after that, once in a while."""
    now, window = time.monotonic(), TRIM_EVERY
    if now - _trimmed["at"] < window.total_seconds():
        return
    _trimmed["at"] = now
    count, _ = await store.count("langflow-trim-builds", window=window)
    if count == 1:
        await store.trim_builds(most)


def _try_enqueue_via_telemetry_writer(vertex_build: VertexBuildBase) -> bool:
    _keep(vertex_build, None, None)
    return True


async def log_vertex_build(
    db: AsyncSession,
    vertex_build: VertexBuildBase,
    *,
    max_builds_to_keep: int | None = None,
    max_builds_per_vertex: int | None = None,
) -> VertexBuildTable:
    """Keep a build, behind its run; what Langflow does without its telemetry writer."""
    return _keep(vertex_build, max_builds_to_keep, max_builds_per_vertex)


def _keep(vertex_build: VertexBuildBase, most: int | None, per_vertex: int | None) -> VertexBuildTable:
    from langflow.services.database.models.vertex_builds.model import VertexBuildTable
    from langflow.services.deps import get_settings_service

    settings = get_settings_service().settings
    row = VertexBuildTable(**vertex_build.model_dump())
    keep(
        row,
        most or settings.max_vertex_builds_to_keep,
        per_vertex or settings.max_vertex_builds_per_vertex,
    )
    return row


async def get_vertex_builds_by_flow_id(
    db: AsyncSession, flow_id: UUID, user_id: UUID, limit: int | None = 1000
) -> list[VertexBuildTable]:
    """The latest build of each vertex of a user's own flow, oldest first."""
    from langflow.services.database.models.flow.model import is_virtual_flow_id

    flow = UUID(str(flow_id))
    if is_virtual_flow_id(flow) or not await _owns(db, flow, user_id):
        return []
    return [_row(build) for build in (await (await runtime.store()).builds(flow))[:limit]]


async def get_vertex_builds_by_job_id(db: AsyncSession, job_id: str | UUID) -> list[VertexBuildTable]:
    """What a job built: the latest build of each vertex, oldest first."""
    from langflow.services.database.models.jobs.model import Job

    job = await db.get(Job, UUID(str(job_id)))
    if job is None or job.flow_id is None:
        return []
    return [_row(build) for build in await (await runtime.store()).job_builds(job.flow_id, str(job.job_id))]


async def delete_vertex_builds_by_flow_id(db: AsyncSession, flow_id: UUID, user_id: UUID) -> None:
    """Delete the builds of a user's own flow, those in Langflow's database too."""
    from langflow.services.database.models.flow.model import is_virtual_flow_id
    from langflow.services.database.models.vertex_builds import crud

    flow = UUID(str(flow_id))
    if not is_virtual_flow_id(flow) and await _owns(db, flow, user_id):
        await (await runtime.store()).delete_builds(flow)
    await seams.stock(crud, "delete_vertex_builds_by_flow_id")(db, flow_id, user_id)


async def delete_vertex_builds_by_flow_id_unchecked(db: AsyncSession, flow_id: UUID) -> None:
    """Delete the builds of a flow, those in Langflow's database too."""
    from langflow.services.database.models.vertex_builds import crud

    await (await runtime.store()).delete_builds(flow_id)
    await seams.stock(crud, "delete_vertex_builds_by_flow_id_unchecked")(db, flow_id)


async def _owns(db: AsyncSession, flow_id: UUID, user_id: UUID) -> bool:
    from langflow.services.database.models.flow.model import Flow
    from sqlmodel import select

    statement = select(Flow.id).where(Flow.id == flow_id, Flow.user_id == user_id)
    return (await db.exec(statement)).first() is not None


def _row(build: models.VertexBuild) -> Any:
    from langflow.services.database.models.vertex_builds.model import VertexBuildTable

    fields = build.model_dump()
    for name in ("flow_id", "job_id", "build_id"):
        if fields[name] is not None:
            fields[name] = UUID(fields[name])
    return VertexBuildTable(**fields)
