"""Langflow databases for the tests: the real tables, filled with rows as Langflow writes them."""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

HERE = Path(__file__).parent
ANN = "5f7c6a8e-0d11-4a55-9b1c-3f0f3f6a0001"
FLOW = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
PROPERTIES = {
    "text_color": None,
    "background_color": None,
    "edited": False,
    "source": {"id": None, "display_name": None, "source": None},
    "icon": None,
    "allow_markdown": False,
    "positive_feedback": None,
    "state": "complete",
    "targets": [],
    "usage": None,
    "build_duration": None,
}
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class LangflowDatabase:
    """A database with Langflow's tables. Rows go in and come out raw: as they are stored."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        driver = url if self.is_sqlite else url.replace("postgresql://", "postgresql+psycopg://")
        options = {} if self.is_sqlite else {"options": "-c timezone=UTC"}
        self.engine = sa.create_engine(driver, connect_args=options, poolclass=sa.NullPool)

    def create(self) -> None:
        name = "sqlite" if self.is_sqlite else "postgresql"
        ddl = (HERE / f"langflow-1.13-{name}.sql").read_text()
        with self.engine.begin() as connection:
            raw: Any = connection.connection
            if self.is_sqlite:
                raw.executescript("PRAGMA journal_mode = WAL;" + ddl)
            else:
                raw.execute(ddl)

    def execute(self, query: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(query), values)
            return list(result) if result.returns_rows else []

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Add rows of the same columns."""
        types = self.types(table)
        columns = ", ".join(f'"{name}"' for name in rows[0])
        cast = "{0}" if self.is_sqlite else "CAST({0} AS {1})"
        values = ", ".join(cast.format(f":{name}", types[name]) for name in rows[0])
        with self.engine.begin() as connection:
            connection.execute(sa.text(f'INSERT INTO "{table}" ({columns}) VALUES ({values})'), rows)

    def types(self, table: str) -> dict[str, str]:
        """The columns of a table, and their types."""
        return {
            column["name"]: column["type"].compile(self.engine.dialect)
            for column in sa.inspect(self.engine).get_columns(table)
        }

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows, byte for byte, in the order of their keys."""
        names = [column["name"] for column in sa.inspect(self.engine).get_columns(table)]
        cast = '"{0}"' if self.is_sqlite else 'CAST("{0}" AS TEXT)'
        columns = ", ".join(cast.format(name) for name in names)
        found = [
            dict(zip(names, row, strict=True)) for row in self.execute(f'SELECT {columns} FROM "{table}"')
        ]
        return sorted(found, key=lambda row: str(row["build_id" if table == "vertex_build" else "id"]))

    def uuid(self, value: str | None) -> str | None:
        return UUID(value).hex if value is not None and self.is_sqlite else value

    def time(self, when: datetime) -> str:
        text = when.strftime("%Y-%m-%d %H:%M:%S.%f")
        return text if self.is_sqlite else text + "+00"

    def flag(self, value: bool) -> Any:
        return int(value) if self.is_sqlite else value

    def add_user(self, user: str = ANN) -> None:
        now = self.time(START)
        self.insert(
            "user",
            [
                {
                    "id": self.uuid(user), "username": user, "password": "x", "is_active": self.flag(True),
                    "is_superuser": self.flag(False), "create_at": now, "updated_at": now,
                }
            ],
        )  # fmt: skip

    def add_flow(self, flow: str = FLOW, owner: str | None = ANN) -> None:
        self.insert("flow", [{"id": self.uuid(flow), "name": flow, "user_id": self.uuid(owner)}])

    def message(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        """A row as Langflow 1.13 writes it; ``changes`` are raw."""
        row = {
            "timestamp": self.time(START + timedelta(seconds=number)),
            "sender": "User" if number % 2 == 0 else "Machine",
            "sender_name": "Ann" if number % 2 == 0 else "AI",
            "session_id": "chat",
            "text": f'Hello {number} 😀 \u2028 "quoted"',
            "id": self.uuid(str(uuid4())),
            "flow_id": self.uuid(FLOW),
            "files": "[]",
            "error": self.flag(False),
            "edit": self.flag(False),
            "properties": json.dumps(PROPERTIES),
            "category": "message",
            "content_blocks": "[]",
            "context_id": "",
            "session_metadata": "null",
            "run_id": None,
            "is_output": self.flag(False),
            "user_id": self.uuid(ANN),
        }
        return row | changes

    def transaction(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        row = {
            "timestamp": self.time(START + timedelta(seconds=number)),
            "vertex_id": f"Chat-{number}",
            "target_id": "Model-1",
            "inputs": json.dumps({"é": 1.5}),
            "outputs": "null",
            "status": "success",
            "id": self.uuid(str(uuid4())),
            "flow_id": self.uuid(FLOW),
            "error": None,
            "user_id": self.uuid(ANN),
            "session_id": "chat",
        }
        return row | changes

    def build(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        row = {
            "timestamp": self.time(START + timedelta(seconds=number)),
            "id": f"Chat-{number}",
            "data": json.dumps({"results": {"a": [1, None, 2.0]}}),
            "artifacts": "null",
            "params": "p",
            "build_id": self.uuid(str(uuid4())),
            "flow_id": self.uuid(FLOW),
            "valid": self.flag(True),
            "job_id": self.uuid(str(uuid4())),
        }
        return row | changes


def fill(path: Path, messages: int, *, sessions: int = 200, flows: int = 5, seed: int = 1) -> None:
    """A large SQLite database, quickly."""
    database = LangflowDatabase(f"sqlite:///{path}")
    database.create()
    draw = random.Random(seed)
    names = [str(UUID(int=draw.getrandbits(128), version=4)) for _ in range(flows)]
    database.add_user()
    for flow in names:
        database.add_flow(flow)
    rows = []
    for number in range(messages):
        flow = names[number % flows]
        rows.append(
            database.message(
                number,
                flow_id=database.uuid(flow),
                session_id=f"session-{number % sessions}",
                text="x" * draw.randint(20, 600),
                id=UUID(int=draw.getrandbits(128), version=4).hex,
            )
        )
    with sqlite3.connect(path) as connection:
        columns = list(rows[0])
        query = f"INSERT INTO message ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        connection.executemany(query, [tuple(row.values()) for row in rows])
    connection.close()
