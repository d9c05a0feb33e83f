"""People's data in Redis is found, exported and erased as that in Langflow's database is."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langflow.services.data_subjects import dry_run, end_user_search, engine, export, requests
from langflow.services.data_subjects.identity import EndUserKeys, end_user_keys
from langflow.services.database.models.data_subject_request import (
    DataSubjectRequest,
    DataSubjectRequestSource,
)
from langflow.services.database.models.jobs.model import Job, JobStatus, JobType
from langflow.services.database.models.message.model import MessageTable
from langflow.services.database.models.transactions.model import TransactionTable
from langflow.services.database.models.user.model import User
from langflow.services.deps import session_scope

from redis_sessions import StoreUnavailableError, Transaction, VertexBuild
from redis_sessions.langflow import data_subjects, deletions, seams
from tests.langflow.inside.people import Person, away, exists

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.support.servers import Server

AT = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LATE_WRITE_SETTLE_SECONDS", 0)
    monkeypatch.setattr(engine, "RETRY_BASE_SECONDS", 0)


def new_end_user() -> EndUserKeys:
    return end_user_keys(f"Ann-{uuid.uuid4().hex[:8]}")


def rows(keys: EndUserKeys) -> list[dict[str, Any]]:
    """Messages around an end user's: theirs are the first two."""
    theirs = f"{keys.session_prefix}chat"
    said = {"text": "x", "sender": "User", "sender_name": "User", "timestamp": AT, "files": ["a/b.png"]}
    return [
        said | {"session_id": theirs, "user_id": keys.message_owner_id},
        said | {"session_id": f"{keys.session_prefix}", "user_id": keys.message_owner_id, "text": "ä"},
        said | {"session_id": theirs, "user_id": uuid.uuid4(), "files": []},
        said | {"session_id": "chat", "user_id": keys.message_owner_id, "files": []},
        said | {"session_id": f"{keys.raw_id}-2::chat", "user_id": keys.message_owner_id, "files": []},
    ]


def runs(keys: EndUserKeys) -> list[dict[str, Any]]:
    """Component runs around an end user's: theirs are the first two."""
    theirs = f"{keys.session_prefix}chat"
    ran = {"vertex_id": "v", "status": "success", "timestamp": AT}
    return [
        ran | {"user_id": keys.message_owner_id, "session_id": theirs, "error": "e", "outputs": {"a": 1}},
        ran | {"inputs": {"session_id": theirs}},
        ran | {"user_id": keys.message_owner_id, "session_id": "chat"},
        ran | {"user_id": uuid.uuid4(), "session_id": theirs},
        ran | {"inputs": {"session_id": "chat"}},
        ran,
    ]


async def into_redis(store: SessionStore, flow: str, keys: EndUserKeys) -> None:
    for row in rows(keys):
        await store.append(flow, **row)
    for run in runs(keys):
        await store.add_transaction(Transaction(flow_id=flow, **run))


async def into_sql(flow: str, keys: EndUserKeys) -> None:
    async with session_scope() as session:
        for row in rows(keys):
            session.add(
                MessageTable(
                    **row, flow_id=uuid.UUID(flow), category="message", properties={}, content_blocks=[]
                )
            )
        for run in runs(keys):
            session.add(TransactionTable(**run, flow_id=uuid.UUID(flow)))


async def request_for(keys: EndUserKeys, actor: Person, flows: list[str] | None = None) -> uuid.UUID:
    """An erase request that was approved; its id."""
    async with session_scope() as session:
        request = await requests.create_and_approve(
            session,
            requests.create_end_user_request(
                session,
                end_user_id=keys.raw_id,
                scope_flow_ids=[uuid.UUID(flow) for flow in flows] if flows else None,
                requested_by=uuid.UUID(actor.id),
                source=DataSubjectRequestSource.ADMIN,
            ),
            uuid.UUID(actor.id),
        )
        return request.id


async def counted(request_id: uuid.UUID) -> dict[str, Any]:
    async with session_scope() as session:
        request = await session.get(DataSubjectRequest, request_id)
        return {"status": request.status, "error": request.error, **(request.counts or {})}


async def test_a_dry_run_counts_what_stock_langflow_would_count(
    person: Person, store: SessionStore, flow: str
) -> None:
    other, keys = await person.new_flow(), new_end_user()
    await into_redis(store, flow, keys)
    await into_sql(other, keys)

    async with session_scope() as session:
        ours = await dry_run.end_user_dry_run(session, keys, (uuid.UUID(flow),))
        stock = seams.stock(dry_run, "end_user_dry_run")
        theirs = await stock(session, keys, (uuid.UUID(other),))
        both = await dry_run.end_user_dry_run(session, keys, ())
    assert ours.counts == theirs.counts
    assert (ours.counts["messages"], ours.counts["transactions"], ours.counts["flows"]) == (2, 2, 1)
    assert (both.counts["messages"], both.counts["transactions"], both.counts["flows"]) == (4, 4, 2)


async def test_an_export_has_what_stock_langflow_would_export(
    person: Person, store: SessionStore, flow: str
) -> None:
    other, keys, actor = await person.new_flow(), new_end_user(), uuid.UUID(person.id)
    await into_redis(store, flow, keys)
    await into_sql(other, keys)

    def read(archive: Any, flow_id: str) -> dict[str, Any]:
        with zipfile.ZipFile(io.BytesIO(archive.read())) as members:
            found = {name: json.loads(members.read(name)) for name in members.namelist()}
        manifest = found.pop("manifest.json")
        assert manifest.pop("generated_at")
        text = json.dumps(found, sort_keys=True).replace(flow_id, "flow").replace("+00:00", "")
        return {"manifest": manifest, **json.loads(text)}

    async with session_scope() as session:
        ours = await export.export_end_user(session, keys, (uuid.UUID(flow),), actor)
        stock = seams.stock(export, "export_end_user")
        theirs = await stock(session, keys, (uuid.UUID(other),), actor)
        both = await export.export_end_user(session, keys, (), actor)
    mine, yours = read(ours, flow), read(theirs, other)
    for name in ("messages.json", "transactions.json"):
        for each in (mine, yours):
            each[name].sort(key=str)
    assert mine == yours
    assert len(mine["messages.json"]) == len(mine["transactions.json"]) == 2
    assert read(both, flow)["manifest"]["contents"] == {
        "messages.json": 4,
        "transactions.json": 4,
        "traces.json": 0,
    }


async def test_a_search_finds_those_of_both(person: Person, store: SessionStore, flow: str) -> None:
    keys, old = new_end_user(), new_end_user()
    await into_redis(store, flow, keys)
    await into_sql(flow, keys)
    await into_sql(flow, old)

    async with session_scope() as session:
        found = await end_user_search.search_end_users(session, keys.raw_id.upper(), 10)
        none = await end_user_search.search_end_users(session, uuid.uuid4().hex, 10)
        several = await end_user_search.search_end_users(session, "ann-", 100)
        one = await end_user_search.search_end_users(session, "ann-", 1)
    assert [(match.end_user_id, match.messages) for match in found] == [
        (keys.raw_id, 6),
        (f"{keys.raw_id}-2", 2),
    ]
    assert none == []
    assert {keys.raw_id, old.raw_id} <= {match.end_user_id for match in several}
    assert [match.end_user_id for match in one] == [min(match.end_user_id for match in several)]


async def test_an_erase_removes_what_is_the_end_users_and_nothing_else(
    person: Person, store: SessionStore, flow: str
) -> None:
    other, keys = await person.new_flow(), new_end_user()
    jobs = [uuid.uuid4(), uuid.uuid4()]
    async with session_scope() as session:
        for job_id, owner in zip(jobs, (keys.raw_id, "bob"), strict=True):
            session.add(
                Job(
                    job_id=job_id,
                    flow_id=uuid.UUID(flow),
                    type=JobType.WORKFLOW,
                    status=JobStatus.COMPLETED,
                    job_metadata={"end_user_id": owner},
                )
            )
    for each in (flow, other):
        await into_redis(store, each, keys)
        await into_sql(each, keys)
    for vertex, job_id in (("a", jobs[0]), ("b", jobs[1])):
        await store.put_build(VertexBuild(flow_id=flow, id=vertex, valid=True, job_id=job_id))

    request = await request_for(keys, person, [flow])
    assert (await counted(request))["approved"]["messages"] == 4
    assert await engine.run_request(request) == "done"
    assert await left(store, flow) == (3, 4, ["b"])
    assert await left(store, other) == (5, 6, [])
    found = await counted(request)
    assert (found["messages"], found["transactions"], found["vertex_builds"]) == (4, 4, 1)

    assert await engine.run_request(await request_for(keys, person)) == "done"
    assert await left(store, other) == (3, 4, [])
    async with session_scope() as session:
        assert (await dry_run.end_user_dry_run(session, keys, ())).counts["messages"] == 0


async def left(store: SessionStore, flow: str) -> tuple[int, int, list[str]]:
    """Messages, transactions and vertices with builds that Redis has of a flow."""
    sessions = await store.sessions(flow)
    messages = sum([await store.length(flow, session) for session in sessions])
    return messages, len(await store.transactions(flow)), [one.id for one in await store.builds(flow)]


async def test_an_erase_without_redis_fails_and_is_tried_again(
    person: Person, redis_of_langflow: Server, flow: str
) -> None:
    keys = new_end_user()
    request = await request_for(keys, person)
    async with away(redis_of_langflow):
        assert await engine.run_request(request) == "erasing"
        failed = await counted(request)

    assert failed["status"] == "erasing"
    assert failed["error"]["code"] == "StoreUnavailableError"
    assert await engine.run_request(request) == "done"


async def test_what_cannot_reach_redis_is_refused_and_not_answered_without_it(
    langflow: Application, person: Person, redis_of_langflow: Server
) -> None:
    keys, actor = new_end_user(), uuid.UUID(person.id)
    async with away(redis_of_langflow), session_scope() as session:
        user = await session.get(User, actor)
        for ask in (
            dry_run.end_user_dry_run(session, keys, ()),
            dry_run.builder_dry_run(session, user),
            export.export_end_user(session, keys, (), actor),
            end_user_search.search_end_users(session, "a", 1),
        ):
            with pytest.raises(StoreUnavailableError):
                await ask


async def test_erasing_an_account_removes_its_flows_and_its_messages_elsewhere(
    langflow: Application,
    person: Person,
    store: SessionStore,
    flow: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(flow_id: str) -> bool:
        raise ConnectionError("what follows a commit does not get through")

    monkeypatch.setattr(deletions, "settle", fail)
    keys = new_end_user()
    subject = uuid.UUID(person.id)
    name = f"admin-{uuid.uuid4().hex[:8]}"
    async with await langflow.new_user(name) as client:
        me = (await client.get("/api/v1/users/whoami")).raise_for_status().json()
        elsewhere = await Person(client, me["id"], name).new_flow()
    await into_redis(store, flow, keys)
    await into_redis(store, elsewhere, keys)
    said = {"text": "x", "sender": "User", "sender_name": "User", "user_id": subject}
    await store.append(elsewhere, session_id="chat", **said)
    await store.add_transaction(
        Transaction(flow_id=elsewhere, vertex_id="v", status="success", user_id=subject)
    )

    async with session_scope() as session:
        user = await session.get(User, subject)
        assert (await dry_run.builder_dry_run(session, user)).counts["messages"] == 6
        request = await requests.create_and_approve(
            session,
            requests.create_builder_request(
                session,
                subject=user,
                requested_by=uuid.UUID(me["id"]),
                source=DataSubjectRequestSource.ADMIN,
            ),
            uuid.UUID(me["id"]),
        )
        request_id = request.id
    assert await engine.run_request(request_id) == "done"
    assert await left(store, flow) == (0, 0, [])
    assert await left(store, elsewhere) == (5, 6, [])
    assert not await exists(flow)


async def test_a_langflow_that_erases_by_other_steps_is_refused() -> None:
    with pytest.raises(seams.SeamError, match="messages"):
        data_subjects._both(
            (("other", data_subjects.erase_messages),), {"messages": data_subjects.erase_messages}
        )
