"""Memory Bases ingest, list and forget messages that are in Redis."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langflow.services.data_subjects import dry_run
from langflow.services.data_subjects.identity import end_user_keys
from langflow.services.database.models.jobs.model import JobType
from langflow.services.database.models.memory_base.model import (
    MemoryBase,
    MemoryBaseCreate,
    MemoryBaseSession,
    MessageIngestionRecord,
)
from langflow.services.database.models.message.model import MessageTable
from langflow.services.deps import get_job_service, get_memory_base_service, session_scope
from langflow.services.memory_base import task
from sqlmodel import select

from redis_sessions import MessageUpdate
from redis_sessions.langflow import deletions, memory_base, seams

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from tests.langflow.inprocess import Application
    from tests.langflow.inside.people import Person

AT = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)
SAID = {"sender": "User", "sender_name": "Ann", "session_id": "s"}


@pytest.fixture
def embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors without a provider."""

    async def build(**_: Any) -> Any:
        return DeterministicFakeEmbedding(size=8)

    async def allowed(*_: Any, **__: Any) -> Any:
        return task.MemoryProviderPolicies(None, None)

    monkeypatch.setattr(task, "_build_embeddings_for_owner", build)
    monkeypatch.setattr(task, "preflight_memory_provider_use", allowed)


async def new_memory_base(person: Person, flow: str) -> MemoryBase:
    payload = MemoryBaseCreate(
        name=f"mb-{uuid.uuid4().hex[:8]}",
        flow_id=uuid.UUID(flow),
        embedding_model="text-embedding-3-small",
        embedding_provider="OpenAI",
        backend_type="sqlite",
    )
    made = await get_memory_base_service().create(payload, uuid.UUID(person.id))
    return MemoryBase(**made.model_dump())


async def ingest(base: MemoryBase, person: Person, session_id: str = "s") -> dict[str, Any]:
    """What a job does."""
    job_id, owner = uuid.uuid4(), uuid.UUID(person.id)
    await get_job_service().create_job(
        job_id=job_id, flow_id=base.flow_id, user_id=owner, job_type=JobType.INGESTION
    )
    async with session_scope() as session:
        await get_memory_base_service()._get_or_create_session(session, base.id, session_id)
    request = task.IngestionRequest(
        memory_base_id=base.id,
        session_id=session_id,
        flow_id=base.flow_id,
        kb_name=base.kb_name,
        kb_username=person.name,
        owner_user_id=owner,
        actor_user_id=owner,
        embedding_provider="OpenAI",
        embedding_model="text-embedding-3-small",
        cursor_id=None,
        task_job_id=job_id,
        job_service=get_job_service(),
    )
    return await task.ingest_memory_task(request=request)


async def listed(person: Person, base: MemoryBase, **params: Any) -> tuple[list[str], int]:
    """Texts that Langflow shows of a Memory Base, and how many there are in all."""
    answer = await person.client.get(f"/api/v1/memories/{base.id}/messages", params=params)
    page = answer.raise_for_status().json()
    return [item["text"] for item in page["items"]], page["total"]


async def say(store: SessionStore, flow: str, text: str, second: int = 0, **fields: Any) -> Message:
    return await store.append(flow, text=text, timestamp=AT + timedelta(seconds=second), **(SAID | fields))


async def stand_ins(flow: str) -> list[MessageTable]:
    async with session_scope() as session:
        found = await session.exec(select(MessageTable).where(MessageTable.flow_id == uuid.UUID(flow)))
        return list(found)


async def test_what_is_pending_is_what_stock_langflow_would_ingest(
    person: Person, store: SessionStore, flow: str
) -> None:
    other = await person.new_flow()
    order = [3, 0, 2, 2, 1, 700]
    for number, second in enumerate(order):
        error = {"error": number == 3, "category": "error" if number == 4 else "message"}
        await say(store, flow, f"text {number}", second, run_id=uuid.UUID(int=number), **error)
        async with session_scope() as session:
            session.add(
                MessageTable(
                    **SAID,
                    **error,
                    text=f"text {number}",
                    timestamp=AT + timedelta(seconds=second),
                    run_id=uuid.UUID(int=number),
                    flow_id=uuid.UUID(other),
                    files=[],
                    properties={},
                    content_blocks=[],
                )
            )

    def documents(messages: list[Any]) -> list[Any]:
        found = task.build_documents_from_messages(messages, session_id="s", flow_id="f", job_id="j")
        for document in found:
            document.metadata.pop("message_id")
        return found

    async with session_scope() as session:
        stock = seams.stock(task, "_fetch_pending_messages")
        ids = {"session_id": "s", "cursor_id": None}
        ours = await task._fetch_pending_messages(session, flow_id=uuid.UUID(flow), **ids)
        theirs = await stock(session, flow_id=uuid.UUID(other), **ids)
        assert documents(ours) == documents(theirs)
        assert [message.text for message in ours] == ["text 1", "text 2", "text 0", "text 5"]
        for cursor in range(len(ours)):
            mine = await task._fetch_pending_messages(
                session, flow_id=uuid.UUID(flow), session_id="s", cursor_id=ours[cursor].id
            )
            yours = await stock(
                session, flow_id=uuid.UUID(other), session_id="s", cursor_id=theirs[cursor].id
            )
            assert [one.text for one in mine] == [one.text for one in yours]


async def test_the_cursor_holds_when_its_message_is_gone(
    langflow: Application, store: SessionStore, flow: str
) -> None:
    messages = [await say(store, flow, f"text {number}", number) for number in range(3)]
    adopted = await say(store, flow, "adopted", 3, id=uuid.uuid4())
    last = await say(store, flow, "last", 4)
    old = uuid.uuid4()
    async with session_scope() as session:
        session.add(
            MessageTable(
                id=old,
                **SAID,
                text="from before",
                timestamp=AT + timedelta(seconds=1, microseconds=1),
                flow_id=uuid.UUID(flow),
                files=[],
                properties={},
                content_blocks=[],
                category="message",
            )
        )
    await store.delete_messages([messages[1].id])

    async def pending(cursor: Any) -> list[str]:
        async with session_scope() as session:
            found = await task._fetch_pending_messages(
                session, flow_id=uuid.UUID(flow), session_id="s", cursor_id=uuid.UUID(str(cursor))
            )
            return [message.text for message in found]

    assert await pending(messages[1].id) == ["text 2", "adopted", "last"]
    assert await pending(old) == ["text 2", "adopted", "last"]
    assert await pending(adopted.id) == ["last"]
    assert await pending(last.id) == []


async def test_messages_are_ingested_once_and_shown_as_they_are_now(
    person: Person, store: SessionStore, flow: str, embeddings: None
) -> None:
    base = await new_memory_base(person, flow)
    first = await say(store, flow, "secret text one", 1, user_id=person.id)
    second = await say(store, flow, "two", 2)

    assert (await ingest(base, person))["ingested"] == 2
    assert (await ingest(base, person))["ingested"] == 0
    await say(store, flow, "three", 3)
    assert (await ingest(base, person))["ingested"] == 1
    assert await listed(person, base) == (["three", "two", "secret text one"], 3)
    assert await listed(person, base, session_id="s", size=1, page=2) == (["two"], 3)

    rows = await stand_ins(flow)
    assert {str(row.id) for row in rows} >= {first.id, second.id}
    assert {(row.text, row.session_id, row.category) for row in rows} == {("", "s", memory_base.STAND_IN)}
    await store.update(first.id, MessageUpdate(text="changed"))
    await store.delete_messages([second.id])
    assert await listed(person, base) == (["three", "changed"], 2)
    assert len(await stand_ins(flow)) == 2


async def test_deleting_a_session_makes_the_memory_base_forget_it(
    person: Person, store: SessionStore, flow: str, embeddings: None
) -> None:
    base = await new_memory_base(person, flow)
    for session_id in ("s", "t"):
        await say(store, flow, f"in {session_id}", session_id=session_id)
        await ingest(base, person, session_id)

    (await person.client.delete("/api/v1/monitor/messages/session/s")).raise_for_status()
    assert await listed(person, base) == (["in t"], 1)
    assert [row.session_id for row in await stand_ins(flow)] == ["t"]
    async with session_scope() as session:
        tracked = select(MemoryBaseSession.session_id).where(MemoryBaseSession.memory_base_id == base.id)
        assert (await session.exec(tracked)).all() == ["t"]


async def test_deleting_the_flow_deletes_its_stand_ins(
    person: Person, store: SessionStore, flow: str, embeddings: None
) -> None:
    base = await new_memory_base(person, flow)
    message = await say(store, flow, "one")
    await ingest(base, person)

    (await person.client.delete(f"/api/v1/flows/{flow}")).raise_for_status()
    await deletions.settled()
    assert await stand_ins(flow) == []
    async with session_scope() as session:
        noted = select(MessageIngestionRecord).where(
            MessageIngestionRecord.message_id == uuid.UUID(message.id)
        )
        assert (await session.exec(noted)).all() == []


async def test_stand_ins_are_not_counted_as_messages_of_a_person(
    person: Person, store: SessionStore, flow: str, embeddings: None
) -> None:
    keys = end_user_keys(f"ann-{uuid.uuid4().hex[:8]}")
    session_id = f"{keys.session_prefix}chat"
    base = await new_memory_base(person, flow)
    await say(store, flow, "one", session_id=session_id, user_id=keys.message_owner_id)
    await ingest(base, person, session_id)
    assert len(await stand_ins(flow)) == 1

    async with session_scope() as session:
        counts = (await dry_run.end_user_dry_run(session, keys, ())).counts
        (match,) = await dry_run_search(session, keys.raw_id)
    assert (counts["messages"], counts["flows"]) == (1, 1)
    assert match.messages == 1


async def dry_run_search(session: Any, term: str) -> Any:
    from langflow.services.data_subjects import end_user_search

    return await end_user_search.search_end_users(session, term, 10)
