"""Memory Bases take their messages from Redis.

Langflow notes in its database which messages went into a Memory Base, and its notes refer to rows of the
message table. So each message that is ingested gets a row there, a *stand-in*: its ids, its session and its
time, and no text. It goes with its flow, its person and its note. What a Memory Base has is shown from Redis;
of a message that was deleted there, the stand-in and the note go when the list is next looked at.
"""

from __future__ import annotations

import inspect
from datetime import UTC
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis_sessions.clock import to_us
from redis_sessions.ids import EntryId, address_of, canonical
from redis_sessions.langflow import convert, runtime, seams, walk

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection

    from redis_sessions import models
    from redis_sessions.store import SessionStore

STAND_IN = "redis-sessions"
"""The category of a stand-in."""

Place = tuple[int, EntryId]


def install() -> None:
    """Let Memory Bases read Redis. May be repeated.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from langflow.api.v1 import memories
    from langflow.services.memory_base import ingestion, task

    seams.replace(task, "_fetch_pending_messages", _fetch_pending_messages)
    seams.replace(task, "_mark_messages_ingested", _mark_messages_ingested)
    seams.replace(ingestion, "purge_session_data", purge_session_data)
    _apaginate.__signature__ = inspect.signature(seams.stock(memories, "apaginate"))  # type: ignore[attr-defined]
    seams.replace(memories, "apaginate", _apaginate, everywhere=False)


async def count_stand_ins(db: Any, *where: Any) -> int:
    """How many stand-ins the database has: Langflow counts them as messages."""
    from sqlmodel import func, select

    return int(
        (await db.exec(select(func.count(_row("id"))).where(_row("category") == STAND_IN, *where))).one()
    )


async def _fetch_pending_messages(
    db: Any, *, flow_id: uuid.UUID, session_id: str, cursor_id: uuid.UUID | None
) -> list[Any]:
    """A session's messages behind the cursor, oldest first, without those that report an error."""
    from langflow.services.database.models.message.model import MessageTable

    store = await runtime.store()
    after = await _place(db, store, str(flow_id), cursor_id) if cursor_id is not None else None
    pending: list[models.Message] = []
    async for page in walk.pages(store, str(flow_id), session_id):
        behind = [each for each in page if after is None or _order(each) > after]
        pending = behind + pending
        if len(behind) < len(page):
            break
    return [
        MessageTable(**convert.to_row(each) | {"timestamp": each.timestamp.replace(tzinfo=None)})
        for each in pending
        if not each.error and each.category != "error"
    ]


async def _place(db: Any, store: SessionStore, flow_id: str, cursor_id: uuid.UUID) -> Place | None:
    """Where the cursor is: also of a message that is gone, or that was ingested before Redis was used."""
    from langflow.services.database.models.message.model import MessageTable
    from sqlmodel import select

    message = await store.get(cursor_id, flow_id=flow_id)
    if message is not None:
        return _order(message)
    entry = address_of(canonical(cursor_id))
    if entry is not None:
        return entry.us, entry
    row = (await db.exec(select(MessageTable.timestamp).where(MessageTable.id == cursor_id))).first()
    return None if row is None else (to_us(row.replace(tzinfo=UTC)), EntryId(2**60, 0))


def _order(message: models.Message) -> Place:
    return int(message.raw_at), message.entry


async def _mark_messages_ingested(
    db: Any, *, messages: list[Any], job_id: uuid.UUID, memory_base_id: uuid.UUID
) -> None:
    """Note that messages were ingested, each with its stand-in, in the transaction of ``db``."""
    from langflow.services.database.models.message.model import MessageTable
    from langflow.services.memory_base import task
    from sqlalchemy.dialects import postgresql, sqlite

    rows = [
        {
            "id": message.id,
            "flow_id": message.flow_id,
            "user_id": message.user_id,
            "session_id": message.session_id,
            "timestamp": message.timestamp,
            "category": STAND_IN,
            "error": True,
            "edit": False,
            "is_output": False,
            "sender": "",
            "sender_name": "",
            "text": "",
            "files": [],
            "properties": {},
            "content_blocks": [],
        }
        for message in messages
    ]
    if rows:
        dialect = postgresql if (await db.connection()).dialect.name == "postgresql" else sqlite
        table = MessageTable.__table__  # type: ignore[attr-defined]
        await db.exec(dialect.insert(table).values(rows).on_conflict_do_nothing())
    stock = seams.stock(task, "_mark_messages_ingested")
    await stock(db, messages=messages, job_id=job_id, memory_base_id=memory_base_id)


async def purge_session_data(*, user_id: uuid.UUID, session_ids: list[str], db: Any = None) -> int:
    """Delete what the user's Memory Bases have of the sessions, their stand-ins too."""
    from contextlib import nullcontext

    from langflow.services.database.models.memory_base.model import MemoryBase
    from langflow.services.deps import session_scope
    from langflow.services.memory_base import ingestion
    from sqlmodel import col, select

    stock = seams.stock(ingestion, "purge_session_data")
    count: int = await stock(user_id=user_id, session_ids=session_ids, db=db)
    if count:
        async with session_scope() if db is None else nullcontext(db) as session:
            flows = select(MemoryBase.flow_id).where(MemoryBase.user_id == user_id)
            await _delete_stand_ins(
                session, _row("session_id").in_(session_ids), col(_row("flow_id")).in_(flows)
            )
    return count


async def _delete_stand_ins(session: Any, *where: Any) -> None:
    """Delete stand-ins that no Memory Base refers to."""
    from langflow.services.database.models.memory_base.model import MessageIngestionRecord
    from langflow.services.database.models.message.model import MessageTable
    from sqlmodel import col, delete, select

    referred = select(MessageIngestionRecord.message_id)
    await session.exec(
        delete(MessageTable).where(
            col(MessageTable.category) == STAND_IN, col(MessageTable.id).not_in(referred), *where
        )
    )


def _row(name: str) -> Any:
    from langflow.services.database.models.message.model import MessageTable

    return getattr(MessageTable, name)


async def _apaginate(*arguments: Any, **options: Any) -> Any:
    """A page of what a Memory Base has: stand-ins become the messages that they stand for."""
    from langflow.api.v1 import memories

    stock = seams.stock(memories, "apaginate")
    while True:
        page = await stock(*arguments, **options)
        items = [item for item in page.items if isinstance(item, memories.MessageReadResponse)]
        if not items or not runtime.active():
            return page
        gone = await _fill(arguments[0], items)
        if not gone:
            return page
        await _forget(arguments[0], gone)


async def _fill(db: Any, items: Collection[Any]) -> list[UUID]:
    """Show each message as Redis has it; the ids of those that are not there any more."""
    from lfx.schema.legacy_render import render_v1_content_blocks
    from sqlmodel import select

    ids = [item.id for item in items]
    rows = await db.exec(
        select(_row("id"), _row("flow_id")).where(_row("id").in_(ids), _row("category") == STAND_IN)
    )
    flows = {UUID(str(message)): str(flow) for message, flow in rows}
    if not flows:
        return []
    found = await (await runtime.store()).get_many(list(flows), flows=list(dict.fromkeys(flows.values())))
    messages = dict(zip(flows, found, strict=True))
    for item in items:
        message = messages.get(item.id)
        if message is not None:
            item.timestamp = message.timestamp
            item.sender, item.sender_name = message.sender, message.sender_name
            item.session_id, item.text = message.session_id, message.text
            item.content_blocks = render_v1_content_blocks(convert.to_row(message)["content_blocks"]) or []
    return [message_id for message_id, message in messages.items() if message is None]


async def _forget(db: Any, message_ids: list[UUID]) -> None:
    """Remove the notes and stand-ins of messages that were deleted, as Langflow's foreign key would."""
    from langflow.services.database.models.memory_base.model import MessageIngestionRecord
    from sqlmodel import col, delete

    await db.exec(
        delete(MessageIngestionRecord).where(col(MessageIngestionRecord.message_id).in_(message_ids))
    )
    await _delete_stand_ins(db, _row("id").in_(message_ids))
    await db.commit()
