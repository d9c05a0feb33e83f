"""Langflow's own message store: its tables, on SQLite or PostgreSQL, by its own functions.

Messages are stored and read by ``langflow.memory``, as its chat components do; what those have no function
for, by the functions behind ``/api/v1/monitor``, called without HTTP. Its services run in this process with
their defaults: the connection pool, and SQLite with a write-ahead log. Bulk is inserted into its table.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID, uuid4

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class Langflow(Subject):
    """One flow of one user."""

    marks: ClassVar[dict[str, str]] = {"rename": "loads and stores every message"}

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: dict[str, list[UUID]] = {}
        self._filled = datetime.now(UTC) - timedelta(days=7)

    async def open(self) -> None:
        # Settings are read when the modules are imported.
        folder = Path(os.environ["BENCHMARK_FOLDER"]) / f"langflow-{os.getpid()}"
        folder.mkdir()
        os.environ.update(
            LANGFLOW_DATABASE_URL=self.url,
            LANGFLOW_CONFIG_DIR=str(folder),
            LANGFLOW_AUTO_LOGIN="true",
            LANGFLOW_LOG_LEVEL="error",
            DO_NOT_TRACK="true",
        )
        from langflow.services.database.models.flow.model import Flow
        from langflow.services.database.models.user.model import User
        from langflow.services.deps import session_scope
        from langflow.services.utils import initialize_services
        from sqlmodel import select

        await initialize_services()
        self._scope = session_scope
        async with session_scope() as session:
            self._user = (await session.exec(select(User))).first()
            flow = Flow(name="benchmarks", data={"nodes": [], "edges": []}, user_id=self._user.id)
            session.add(flow)
            await session.flush()
            self._flow = flow.id
            session.expunge(self._user)
        self._who = {"flow_id": self._flow, "user_id": self._user.id}

    async def close(self) -> None:
        from langflow.services.deps import get_db_service

        await get_db_service().teardown()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        await self.fill_many({session: turns})

    async def fill_many(self, sessions: dict[str, Sequence[Turn]]) -> None:
        from langflow.services.database.models.message.model import MessageTable
        from sqlalchemy import insert

        rows = [self._row(session, turn) for session, turns in sessions.items() for turn in turns]
        async with self._scope() as database:
            for first in range(0, len(rows), 1_000):
                await database.exec(insert(MessageTable.__table__), params=rows[first : first + 1_000])

    async def append(self, session: str, turn: Turn) -> None:
        from langflow.memory import aadd_messages
        from langflow.schema.message import Message

        message = Message(
            text=turn.text,
            sender=turn.sender,
            sender_name=turn.sender_name,
            session_id=session,
            properties=turn.properties,
            content_blocks=turn.content_blocks,
        )
        await aadd_messages(message, **self._who)

    async def history(self, session: str, count: int) -> int:
        from langflow.memory import aget_messages

        return len(await aget_messages(session_id=session, limit=count, **self._who))

    async def history_wire(self, session: str, count: int) -> int:
        found = await self._page(session_id=session, limit=count)
        b"[" + b",".join(message.model_dump_json().encode() for message in found) + b"]"
        return len(found)

    async def update(self, session: str, text: str) -> None:
        from fastapi import BackgroundTasks
        from langflow.api.v1.monitor import update_message
        from langflow.services.database.models.message.model import MessageUpdate

        async with self._scope() as database:
            await update_message(
                self._ids[session][-1], MessageUpdate(text=text), database, BackgroundTasks(), self._user
            )

    async def delete_message(self, session: str) -> None:
        from langflow.api.v1.monitor import delete_messages

        async with self._scope() as database:
            await delete_messages([self._ids[session].pop()], database, self._user)

    async def rename(self, old: str, new: str) -> None:
        from langflow.api.v1.monitor import update_session_id

        async with self._scope() as database:
            await update_session_id(old, new, database, self._user)

    async def delete_session(self, session: str) -> None:
        from langflow.memory import adelete_messages

        await adelete_messages(session, **self._who)

    async def list_sessions(self, count: int) -> int:
        from langflow.api.v1.monitor import get_message_sessions

        async with self._scope() as database:
            return len(await get_message_sessions(database, self._user, flow_id=self._flow, limit=count))

    async def recent(self, count: int) -> int:
        return len(await self._page(session_id=None, limit=count))

    async def texts(self, session: str) -> list[str]:
        from langflow.memory import aget_messages

        found = await aget_messages(session_id=session, order="ASC", **self._who)
        return [message.text for message in found]

    async def _page(self, *, session_id: str | None, limit: int) -> Any:
        from langflow.api.v1.monitor import get_messages

        async with self._scope() as database:
            return await get_messages(
                database,
                self._user,
                flow_id=self._flow,
                session_id=session_id,
                end_user_id=None,
                sender=None,
                sender_name=None,
                order_by="timestamp",
                order="ASC",
                limit=limit,
                offset=None,
            )

    def _row(self, session: str, turn: Turn) -> dict[str, Any]:
        self._filled += timedelta(milliseconds=1)
        message_id = uuid4()
        self._ids.setdefault(session, []).append(message_id)
        return {
            "id": message_id,
            "timestamp": self._filled,
            "sender": turn.sender,
            "sender_name": turn.sender_name,
            "session_id": session,
            "text": turn.text,
            "files": [],
            "error": False,
            "edit": False,
            "is_output": False,
            "properties": turn.properties,
            "category": "message",
            "content_blocks": turn.content_blocks,
            **self._who,
        }


SUBJECT = Langflow
