"""The other places of Langflow that have to do with messages: cards, attachments, voice."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from langflow.api.utils import file_relocation
from langflow.api.v1 import voice_mode
from langflow.api.v2 import hitl
from langflow.services.database.models.jobs.model import Job, JobStatus, JobType
from langflow.services.database.models.message.model import MessageTable
from langflow.services.deps import session_scope

from redis_sessions.langflow import builds, cleanup, elsewhere, runtime, seams, services
from redis_sessions.langflow.transactions import TransactionService
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import pytest

    from redis_sessions import Message, SessionStore
    from tests.langflow.inprocess import Application
    from tests.langflow.inside.people import Person


def card(request_id: str) -> list[dict[str, Any]]:
    content = {"type": "human_input", "request_id": request_id, "prompt": "Go on?", "options": []}
    return [{"title": "Input", "contents": [{"type": "text", "text": "x"}, content]}]


async def paused(store: SessionStore, flow: str) -> tuple[uuid.UUID, Message]:
    """A job that waits for its card to be answered, and the card."""
    said = {"text": "", "sender": "Machine", "sender_name": "AI", "session_id": "s"}
    message = await store.append(flow, content_blocks=card("r"), **said)
    job_id = uuid.uuid4()
    async with session_scope() as session:
        session.add(
            Job(
                job_id=job_id,
                flow_id=uuid.UUID(flow),
                type=JobType.WORKFLOW,
                status=JobStatus.IN_PROGRESS,
                job_metadata={"card_message_id": message.id},
            )
        )
    return job_id, message


async def shown(store: SessionStore, message: Message) -> dict[str, Any]:
    now = await store.get(message.id)
    assert now is not None
    assert (now.timestamp, now.edit) == (message.timestamp, False)
    assert now.content_blocks[0]["contents"][0] == {"type": "text", "text": "x"}
    return dict(now.content_blocks[0]["contents"][1])


async def test_a_card_is_answered(langflow: Application, store: SessionStore, flow: str) -> None:
    job_id, message = await paused(store, flow)

    await hitl.mark_card_answered(job_id, "another", {"action_id": "no"})
    assert "submitted_action" not in await shown(store, message)
    await hitl.mark_card_answered(job_id, "r", {"action_id": "go"}, card_message_id=message.id)
    now = await shown(store, message)
    assert (now["submitted_action"], now["prompt"]) == ("go", "Go on?")
    await hitl.mark_card_superseded(job_id)
    assert "superseded" not in await shown(store, message)


async def test_the_card_of_a_cancelled_run_is_superseded(
    langflow: Application, store: SessionStore, flow: str
) -> None:
    job_id, message = await paused(store, flow)

    await hitl.mark_card_superseded(job_id)
    assert (await shown(store, message))["superseded"] is True


async def test_a_card_from_before_is_changed_where_it_is(
    langflow: Application, store: SessionStore, flow: str
) -> None:
    job_id, message = await paused(store, flow)
    old = uuid.uuid4()
    async with session_scope() as session:
        session.add(
            MessageTable(
                id=old,
                flow_id=uuid.UUID(flow),
                text="",
                sender="Machine",
                sender_name="AI",
                session_id="s",
                files=[],
                category="message",
                properties={},
                content_blocks=card("r"),
            )
        )

    await hitl.mark_card_answered(job_id, "r", {"action_id": "go"}, card_message_id=str(old))
    async with session_scope() as session:
        row = await session.get(MessageTable, old)
        assert row.content_blocks[0]["contents"][1]["submitted_action"] == "go"
    assert "submitted_action" not in await shown(store, message)


async def test_a_job_without_a_card_or_with_one_that_is_gone_changes_nothing(
    langflow: Application, store: SessionStore, flow: str
) -> None:
    job_id, message = await paused(store, flow)
    await store.delete_messages([message.id])

    await hitl.mark_card_answered(job_id, "r", {"action_id": "go"})
    await hitl.mark_card_superseded(uuid.uuid4())
    assert await store.sessions(flow) == []


class Source:
    """All that the function asks of a storage service."""

    data_dir = Path("/data")


async def test_attachments_are_named_as_object_storage_knows_them(
    person: Person, store: SessionStore, flow: str
) -> None:
    other, user = await person.new_flow(), str(uuid.uuid4())
    stored = {(flow, "a.png"), (user, "b c.png"), (flow, "old.png")}
    files = {
        "inside": [f"/data/{flow}/a.png", f"{flow}/a.png", "https://x/y.png"],
        "of a person": [f"/data/{user}/b c.png"],
        "from before": [f"C:\\elsewhere\\{flow}\\old.png"],
        "lost": [f"/data/{flow}/a.png", f"/data/{flow}/lost.png"],
        "out of scope": [f"/data/{flow}/a.png"],
    }
    in_scope = [flow, user]
    said = {"text": "x", "sender": "User", "sender_name": "User"}
    kept = {}
    for name, paths in files.items():
        where = other if name in ("of a person", "out of scope") else flow
        owner = user if name == "of a person" else None
        kept[name] = await store.append(where, session_id=name, files=paths, user_id=owner, **said)
        async with session_scope() as session:
            row = MessageTable(
                **said,
                session_id=name,
                files=paths,
                flow_id=uuid.UUID(where),
                user_id=uuid.UUID(owner) if owner else None,
                category="message",
                properties={},
                content_blocks=[],
            )
            session.add(row)

    async def repoint(function: Any, dry_run: bool) -> list[tuple[Any, ...]]:
        results = await function(Source(), stored, in_scope, dry_run=dry_run)
        return sorted((one.status, one.owner, one.file_name, one.key, one.code or "") for one in results)

    stock = seams.stock(file_relocation, "_repoint_message_attachments")
    planned = await repoint(stock, True)
    assert await repoint(file_relocation._repoint_message_attachments, True) == sorted(planned * 2)
    before = {name: (await store.get(one.id)) for name, one in kept.items()}
    assert before == kept

    done = await repoint(file_relocation._repoint_message_attachments, False)
    assert sorted(status for status, *_ in done) == ["failed"] * 2 + ["repointed"] * 8
    now = {name: (await store.get(one.id)).files for name, one in kept.items()}
    assert now == {
        "inside": [f"{flow}/a.png", f"{flow}/a.png", "https://x/y.png"],
        "of a person": [f"{user}/b c.png"],
        "from before": [f"{flow}/old.png"],
        "lost": [f"{flow}/a.png", f"/data/{flow}/lost.png"],
        "out of scope": files["out of scope"],
    }
    assert (await store.get(kept["inside"].id)).edit is False


async def test_what_is_said_in_voice_mode_is_in_redis(
    langflow: Application, store: SessionStore, flow: str
) -> None:
    session_id = str(uuid.uuid4())
    async with session_scope() as session:
        for sender, name in (("User", "User"), ("Machine", "AI")):
            await voice_mode.add_message_to_db(f"from {sender}", session, flow, session_id, sender, name)
        await voice_mode.message_queues[f"{flow}:{session_id}"].join()

    async def both() -> bool:
        return await store.length(flow, session_id) == 2

    await wait_until(both)
    assert [one.text for one in await store.history(flow, session_id)] == ["from User", "from Machine"]


def test_what_is_not_as_in_a_stock_langflow_is_said_once(
    langflow: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "redis_sessions")
    monkeypatch.setattr(elsewhere, "_said", set())
    monkeypatch.setattr(runtime, "active", lambda: True)
    elsewhere.install()
    assert caplog.text == ""
    elsewhere.install(FastAPI())
    elsewhere.install(FastAPI())
    assert caplog.text.count("not as in a stock Langflow") == 1


def test_a_command_of_langflows_reaches_redis_as_well(
    langflow: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = []
    for part in (builds, cleanup, elsewhere):
        monkeypatch.setattr(part, "install", lambda app=None, part=part: installed.append((part, app)))

    assert services.transaction_service is TransactionService
    assert installed == [(builds, None), (cleanup, None), (elsewhere, None)]
