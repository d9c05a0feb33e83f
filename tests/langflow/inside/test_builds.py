"""Vertex builds: kept as Langflow keeps them, and read by everything that reads them in Langflow."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langflow.api.v2 import workflow_reconstruction
from langflow.services.database.models.jobs.model import Job, JobStatus, JobType
from langflow.services.database.models.vertex_builds import crud
from langflow.services.database.models.vertex_builds.model import VertexBuildBase
from langflow.services.deps import get_settings_service, session_scope
from lfx.graph.utils import log_vertex_build

from redis_sessions.langflow import builds, recorder, seams
from tests.langflow.flows import chat
from tests.langflow.inside.people import Person, from_langflow

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.support.servers import Server

AWKWARD = {
    "results": {"long": "x" * 20_050, "many": list(range(1_200)), "nan": math.nan},
    "when": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "bytes": b"\xff\x00abc",
    "ids": [uuid.UUID(int=7), {"umlaut": "ä\u2028"}],
}


async def log(flow: str, vertex: str = "v", **fields: Any) -> None:
    values: dict[str, Any] = {"valid": True, "params": None, "data": {}} | fields
    await log_vertex_build(flow_id=flow, vertex_id=vertex, **values)


async def answer_of_builds(person: Person, flow: str) -> dict[str, Any]:
    assert recorder.flush(20)
    found = await person.client.get("/api/v1/monitor/builds", params={"flow_id": flow})
    return dict(found.raise_for_status().json()["vertex_builds"])


async def job(flow: str) -> str:
    """The id of a finished job of the flow."""
    job_id = uuid.uuid4()
    async with session_scope() as session:
        flow_id = uuid.UUID(flow)
        session.add(Job(job_id=job_id, flow_id=flow_id, type=JobType.WORKFLOW, status=JobStatus.COMPLETED))
    return str(job_id)


@pytest.mark.parametrize("writer", [True, False], ids=["with telemetry writer", "without"])
@pytest.mark.parametrize("data", [AWKWARD, {}], ids=["awkward", "empty"])
async def test_a_build_is_shown_as_stock_langflow_shows_it(
    person: Person, flow: str, data: dict[str, Any], writer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings_service().settings, "telemetry_writer_enabled", writer)
    other, run = await person.new_flow(), str(uuid.uuid4())
    fields = {"valid": False, "data": data, "artifacts": data, "params": "p" * 20_050, "job_id": run}
    async with session_scope() as session:
        build = VertexBuildBase(flow_id=uuid.UUID(other), id="v", **fields | {"job_id": uuid.UUID(run)})
        await seams.stock(crud, "log_vertex_build")(session, build)
    await log(flow, **fields)

    ((vertex, (ours,)),) = (await answer_of_builds(person, flow)).items()
    with from_langflow():
        ((_, (theirs,)),) = (await answer_of_builds(person, other)).items()
    assert vertex == "v"
    for name in ("build_id", "timestamp", "flow_id"):
        ours.pop(name), theirs.pop(name)
    assert ours == theirs


async def test_langflows_database_gets_none(langflow: Application, person: Person, flow: str) -> None:
    with langflow.counted() as statements:
        await log(flow)
        assert recorder.flush(20)
    assert not statements
    with from_langflow():
        assert await answer_of_builds(person, flow) == {}


async def test_a_finished_job_is_put_together_from_its_own_builds(flow: str) -> None:
    first, second = await job(flow), await job(flow)
    for run in (first, second):
        await log(flow, "a", data={"results": {"run": run}}, job_id=run)
        await log(flow, "b", job_id=run)

    assert recorder.flush(20)
    async with session_scope() as session:
        found = await workflow_reconstruction.get_vertex_builds_by_job_id(session, first)
        assert [(build.id, str(build.job_id)) for build in found] == [("a", first), ("b", first)]
        assert found[0].data == {"results": {"run": first}}
        assert isinstance(found[0].flow_id, uuid.UUID)
        latest = await crud.get_vertex_builds_by_job_id(session, uuid.UUID(second))
        assert [str(build.job_id) for build in latest] == [second, second]
        assert await crud.get_vertex_builds_by_job_id(session, str(uuid.uuid4())) == []


async def test_the_status_of_a_finished_workflow_comes_from_redis(person: Person) -> None:
    flow = await person.new_flow(data={"nodes": [CHAT_OUTPUT], "edges": []})
    run = await job(flow)
    message = {"type": "text", "message": "hello", "text": "hello", "session_id": "s1"}
    data = {"results": {"message": {"text": "hello", "data": message}}, "outputs": {"message": message}}
    await log(flow, CHAT_OUTPUT["id"], data=data, job_id=run)
    assert recorder.flush(20)

    async with session_scope() as session:
        from langflow.services.database.models.flow.model import Flow

        row = await session.get(Flow, uuid.UUID(flow))
        rebuilt = await workflow_reconstruction.reconstruct_workflow_response_from_job_id(
            session, row, run, person.id
        )
    assert rebuilt.session_id == "s1"
    assert CHAT_OUTPUT["id"] in rebuilt.outputs


async def test_langflows_limits_hold(
    person: Person, flow: str, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = get_settings_service().settings
    monkeypatch.setattr(settings, "max_vertex_builds_per_vertex", 2)
    runs = [await job(flow) for _ in range(4)]
    for run in runs:
        await log(flow, job_id=run)
    assert recorder.flush(20)
    assert [bool(await store.job_builds(flow, run)) for run in runs] == [False, False, True, True]

    monkeypatch.setattr(settings, "max_vertex_builds_to_keep", 2)
    for vertex in "abc":
        await log(flow, vertex)
    assert sorted(await answer_of_builds(person, flow)) == ["b", "c"]


async def test_all_flows_together_keep_what_langflow_would(
    person: Person, flow: str, redis_of_langflow: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_of_langflow.client().delete("rs:count:langflow-trim-builds")
    monkeypatch.setattr(builds, "TRIM_EVERY", timedelta(milliseconds=1))
    monkeypatch.setattr(get_settings_service().settings, "max_vertex_builds_to_keep", 3)
    old = await person.new_flow()
    for vertex in "ab":
        await log(old, vertex)
    assert recorder.flush(20)
    for vertex in "ab":
        await log(flow, vertex)

    assert sorted(await answer_of_builds(person, flow)) == ["a", "b"]
    while await answer_of_builds(person, old):
        await log(flow, "a")
    assert sorted(await answer_of_builds(person, flow)) == ["a", "b"]


async def test_a_run_leaves_its_builds_and_transactions(
    langflow: Application, person: Person, store: SessionStore
) -> None:
    flow = await person.new_flow(**chat(f"chat-{uuid.uuid4()}"))
    key = (await person.client.post("/api/v1/api_key/", json={"name": "k"})).raise_for_status().json()
    body = {"input_value": "hello", "input_type": "chat", "output_type": "chat", "session_id": "s"}
    for _ in range(2):
        answer = await person.client.post(
            f"/api/v1/run/{flow}", json=body, headers={"x-api-key": key["api_key"]}
        )
        answer.raise_for_status()

    found = await answer_of_builds(person, flow)
    assert sorted(found) == ["ChatInput-1", "ChatOutput-1"]
    assert all(build["valid"] for (build,) in found.values())
    runs = {build["job_id"] for (build,) in found.values()}
    assert len(runs) == 1
    assert [one.id for one in await store.job_builds(flow, runs.pop())] == ["ChatInput-1", "ChatOutput-1"]
    transactions = await store.transactions(flow)
    assert {(one.vertex_id, one.status) for one in transactions} == {
        ("ChatInput-1", "success"),
        ("ChatOutput-1", "success"),
    }
    assert {one.session_id for one in transactions} == {"s"}
    with from_langflow():
        assert await answer_of_builds(person, flow) == {}


async def test_they_can_be_turned_off(
    store: SessionStore, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings_service().settings, "vertex_builds_storage_enabled", False)
    await log(flow)

    assert recorder.flush(20)
    assert await store.builds(flow) == []


async def test_only_the_owner_of_a_flow_reads_and_deletes_its_builds(
    store: SessionStore, person: Person, flow: str
) -> None:
    await log(flow)
    assert recorder.flush(20)
    owner, stranger = uuid.UUID(person.id), uuid.uuid4()

    async with session_scope() as session:
        assert await crud.get_vertex_builds_by_flow_id(session, uuid.UUID(flow), stranger) == []
        await crud.delete_vertex_builds_by_flow_id(session, uuid.UUID(flow), stranger)
        (found,) = await crud.get_vertex_builds_by_flow_id(session, flow, owner)
        assert (found.id, found.valid, found.job_id) == ("v", True, None)
        await crud.delete_vertex_builds_by_flow_id(session, uuid.UUID(flow), owner)
    assert await store.builds(flow) == []
    await log(flow)
    assert recorder.flush(20)
    async with session_scope() as session:
        await crud.delete_vertex_builds_by_flow_id_unchecked(session, uuid.UUID(flow))
    assert await store.builds(flow) == []


CHAT_OUTPUT: dict[str, Any] = {
    "id": "ChatOutput-abcde",
    "type": "genericNode",
    "position": {"x": 0, "y": 0},
    "data": {
        "id": "ChatOutput-abcde",
        "type": "ChatOutput",
        "node": {
            "display_name": "Chat Output",
            "base_classes": ["Message"],
            "outputs": [{"name": "message", "types": ["Message"], "selected": "Message"}],
            "template": {"_type": "Component", "code": {"type": "code", "value": "", "name": "code"}},
        },
    },
}
