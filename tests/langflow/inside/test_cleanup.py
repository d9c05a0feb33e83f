"""What Langflow deletes goes from Redis, whatever happens in between, and nothing else does."""

from __future__ import annotations

import contextlib
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, HTTPException
from langflow.api.utils import flow_utils
from langflow.services.database.models.flow.model import Flow
from langflow.services.deps import session_scope
from langflow.services.task import temp_flow_cleanup

from redis_sessions import Transaction, VertexBuild
from redis_sessions.langflow import cleanup, deletions
from tests.langflow.inside.people import Person, away, exists

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.support.servers import Server


async def fill(store: SessionStore, flow: str) -> None:
    """A flow with something of everything."""
    for session in ("one", "two"):
        await store.append(flow, session_id=session, text="x", sender="User", sender_name="User")
    await store.put_build(VertexBuild(flow_id=flow, id="v", valid=True))
    await store.add_transaction(Transaction(flow_id=flow, vertex_id="v", status="success"))


async def left(store: SessionStore, flow: str) -> list[int]:
    """How many sessions, builds and transactions Redis has of a flow."""
    return [
        len(await store.sessions(flow)),
        len(await store.builds(flow)),
        len(await store.transactions(flow)),
    ]


async def noted(store: SessionStore, flow: str) -> bool:
    return flow in dict(await store.deletions())


async def test_deleting_a_flow_deletes_its_sessions_builds_and_transactions(
    person: Person, store: SessionStore, flow: str
) -> None:
    other = await person.new_flow()
    await fill(store, flow)
    await fill(store, other)

    (await person.client.delete(f"/api/v1/flows/{flow}")).raise_for_status()
    await deletions.settled()
    assert await left(store, flow) == [0, 0, 0]
    assert await left(store, other) == [2, 1, 1]
    assert not await store.has_flow(flow)


async def test_deleting_several_flows_deletes_theirs(person: Person, store: SessionStore) -> None:
    flows = [await person.new_flow() for _ in range(3)]
    for each in flows:
        await fill(store, each)

    answer = await person.client.request("DELETE", "/api/v1/flows/", json=flows)
    assert answer.raise_for_status().json()["deleted"] == 3
    await deletions.settled()
    assert [await left(store, each) for each in flows] == [[0, 0, 0]] * 3


async def test_deleting_a_project_deletes_those_of_its_flows(person: Person, store: SessionStore) -> None:
    answer = await person.client.post("/api/v1/projects/", json={"name": "p", "description": ""})
    project = answer.raise_for_status().json()["id"]
    inside, outside = await person.new_flow(folder_id=project), await person.new_flow()
    await fill(store, inside)
    await fill(store, outside)

    (await person.client.delete(f"/api/v1/projects/{project}")).raise_for_status()
    await deletions.settled()
    assert await left(store, inside) == [0, 0, 0]
    assert await left(store, outside) == [2, 1, 1]


async def delete_row(flow: str) -> None:
    """As it happens when Langflow deletes a row that a flow belongs to."""
    async with session_scope() as session:
        await session.delete(await session.get(Flow, uuid.UUID(flow)))


async def test_a_flow_that_goes_with_another_row_goes_from_redis_too(store: SessionStore, flow: str) -> None:
    await fill(store, flow)

    await delete_row(flow)
    await deletions.settled()
    assert await left(store, flow) == [0, 0, 0]


async def test_a_deletion_that_is_rolled_back_deletes_nothing(store: SessionStore, flow: str) -> None:
    await fill(store, flow)

    with contextlib.suppress(RuntimeError):
        async with session_scope() as session:
            assert await flow_utils.cascade_delete_flow(session, uuid.UUID(flow))
            raise RuntimeError
    await deletions.settled()
    assert await exists(flow)
    assert await left(store, flow) == [2, 1, 1]
    assert not await noted(store, flow)


async def test_a_deletion_in_a_savepoint_is_decided_by_the_whole_transaction(
    person: Person, store: SessionStore, flow: str
) -> None:
    gone = await person.new_flow()
    for each in (flow, gone):
        await fill(store, each)

    async with session_scope() as session:
        async with session.begin_nested():
            await flow_utils.cascade_delete_flow(session, uuid.UUID(gone))
        nested = await session.begin_nested()
        await flow_utils.cascade_delete_flow(session, uuid.UUID(flow))
        await nested.rollback()
        assert await left(store, gone) == [2, 1, 1]
    await deletions.settled()
    assert await left(store, flow) == [2, 1, 1]
    assert await left(store, gone) == [0, 0, 0]


async def test_without_redis_nothing_is_deleted_and_the_caller_is_told(
    person: Person, redis_of_langflow: Server, flow: str
) -> None:
    async with away(redis_of_langflow):
        one = await person.client.delete(f"/api/v1/flows/{flow}")
        several = await person.client.request("DELETE", "/api/v1/flows/", json=[flow])
        with pytest.raises(HTTPException) as refused:
            await delete_row(flow)

    assert [one.status_code, several.status_code, refused.value.status_code] == [503, 503, 503]
    assert "nothing was deleted. Try again" in one.json()["detail"]
    assert await exists(flow)
    assert (await person.client.delete(f"/api/v1/flows/{flow}")).is_success


async def test_what_could_not_be_deleted_after_the_commit_is_deleted_by_the_sweep(
    person: Person,
    store: SessionStore,
    flow: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "redis_sessions")
    await fill(store, flow)

    async def fail(flow_id: str) -> bool:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(deletions, "settle", fail)
        assert (await person.client.delete(f"/api/v1/flows/{flow}")).is_success
        await deletions.settled()
    assert await left(store, flow) == [2, 1, 1]
    assert await noted(store, flow)
    assert f"sessions of flow {flow} are deleted later" in caplog.text

    await temp_flow_cleanup.cleanup_orphaned_records()
    assert await left(store, flow) == [0, 0, 0]


async def test_what_a_run_writes_after_its_flow_was_deleted_goes_too(
    person: Person, store: SessionStore, flow: str
) -> None:
    (await person.client.delete(f"/api/v1/flows/{flow}")).raise_for_status()
    await deletions.settled()
    await fill(store, flow)

    await deletions.sweep()
    assert await left(store, flow) == [0, 0, 0]
    assert await noted(store, flow)


async def test_the_sweep_removes_old_notes_and_never_a_flow_that_is_there(
    redis_of_langflow: Server, store: SessionStore, flow: str
) -> None:
    await fill(store, flow)
    gone = str(uuid.uuid4())
    old = datetime.now(UTC) - deletions.NOTE_LASTS - timedelta(seconds=1)
    for each in (flow, gone):
        redis_of_langflow.client().zadd("rs:leaving", {each: int(old.timestamp() * 1e6)})
    young = str(uuid.uuid4())
    await store.begin_deletion(young)

    await deletions.sweep()
    assert await left(store, flow) == [2, 1, 1]
    assert [await noted(store, each) for each in (flow, gone, young)] == [False, False, True]


async def test_flows_that_langflow_does_not_know_are_left_alone(store: SessionStore) -> None:
    stranger = str(uuid.uuid4())
    await fill(store, stranger)

    await temp_flow_cleanup.cleanup_orphaned_records()
    assert await left(store, stranger) == [2, 1, 1]


async def test_a_public_flows_history_cannot_be_named_for_deletion(
    langflow: Application, store: SessionStore
) -> None:
    virtual = uuid.uuid5(uuid.NAMESPACE_DNS, "user:x")
    async with session_scope() as session:
        with pytest.raises(HTTPException) as refused:
            await flow_utils.cascade_delete_flow(session, virtual)
    assert refused.value.status_code == 400
    assert not await noted(store, str(virtual))


async def test_a_worker_sweeps_as_long_as_it_lives(
    langflow: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def sweep_always() -> None:
        seen.append("begins")
        try:
            await deletions.asyncio.Event().wait()
        finally:
            seen.append("ends")

    monkeypatch.setattr(deletions, "sweep_always", sweep_always)
    app = FastAPI()
    cleanup.install(app)
    cleanup.install(app)
    async with app.router.lifespan_context(app):
        await deletions.asyncio.sleep(0)
        assert seen == ["begins"]
    assert seen == ["begins", "ends"]


async def test_of_all_workers_one_sweeps_at_a_time(
    langflow: Application, store: SessionStore, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = deletions.asyncio.Event()
    calls = []

    async def sweep() -> None:
        calls.append(1)
        swept.set()

    monkeypatch.setattr(deletions, "sweep", sweep)
    workers = [deletions.asyncio.create_task(deletions.sweep_always()) for _ in range(3)]
    await deletions.asyncio.wait_for(swept.wait(), 10)
    while (await store.counted("langflow-sweep"))[0] < 3:
        await deletions.asyncio.sleep(0.01)
    for worker in workers:
        worker.cancel()
    assert calls == [1]
