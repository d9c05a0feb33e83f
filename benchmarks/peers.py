"""Servers that the monitor is measured against, each started for the measurement and gone after it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from redis_sessions.monitor import new_key
from tests.support.servers import HOST, free_port, valkey_server

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 180
_OWNER = "00000000-0000-0000-0000-00000000aaaa"

# Run by Langflow's own Python, with Langflow's own tables. Rows come as JSON lines.
_INSERT = """
import json, sys
from datetime import datetime
from uuid import UUID
import sqlalchemy
from langflow.services.database.models.message.model import MessageTable
engine = sqlalchemy.create_engine(sys.argv[1])
with engine.begin() as connection:
    rows = []
    for line in sys.stdin:
        row = json.loads(line)
        for name in ("id", "flow_id"):
            row[name] = UUID(row[name])
        row["timestamp"] = datetime.fromisoformat(row["timestamp"])
        rows.append(row)
    connection.execute(sqlalchemy.insert(MessageTable.__table__), rows)
with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
    connection.execute(sqlalchemy.text("ANALYZE"))
"""


@dataclass(frozen=True)
class Peer:
    """A server that answers at ``port`` to callers with these headers."""

    name: str
    port: int
    headers: dict[str, str]
    flows: list[str]


@contextlib.contextmanager
def ours(rows: list[dict[str, Any]], flows: list[str]) -> Iterator[Peer]:
    """`redis-sessions serve` with one Valkey, filled with the rows."""
    key, hashed = new_key()
    with valkey_server() as server, _folder() as folder:
        _fill_ours(server.url, rows)
        keys = folder / "keys"
        keys.write_text(f"{hashed} {_OWNER}\n")
        port = free_port()
        command = [sys.executable, "-m", "redis_sessions", "serve", "--port", str(port)]
        command += ["--access", "keys", "--keys-file", str(keys)]
        with _process(command, {"REDIS_SESSIONS_URL": server.url}, folder):
            _wait(f"http://{HOST}:{port}/ready", folder)
            yield Peer("redis-sessions", port, {"x-api-key": key}, flows)


def _fill_ours(url: str, rows: list[dict[str, Any]]) -> None:
    import asyncio
    from datetime import datetime

    from redis_sessions import NewMessage, SessionStore

    async def fill() -> None:
        async with SessionStore.from_url(url) as store:
            by_flow: dict[str, list[NewMessage]] = {}
            for row in rows:
                one = NewMessage(
                    text=row["text"],
                    sender=row["sender"],
                    sender_name=row["sender_name"],
                    session_id=row["session_id"],
                    timestamp=datetime.fromisoformat(row["timestamp"]),
                )
                by_flow.setdefault(row["flow_id"], []).append(one)
            for flow, messages in by_flow.items():
                for first in range(0, len(messages), 500):
                    await store.append_many(flow, messages[first : first + 500], owner=_OWNER)

    asyncio.run(fill())


@contextlib.contextmanager
def langflow(
    name: str, command: str, database: str | None, rows: list[dict[str, Any]], flows: list[str]
) -> Iterator[Peer]:
    """A stock Langflow with one worker on ``database`` (None: SQLite), filled with the rows.

    Its flows are made through its API, and stand for ``flows`` in their order.
    """
    with _folder() as folder:
        url = database or f"sqlite:///{folder}/langflow.db"
        port = free_port()
        env = {
            "LANGFLOW_DATABASE_URL": url,
            "LANGFLOW_CONFIG_DIR": str(folder),
            "LANGFLOW_AUTO_LOGIN": "true",
            "LANGFLOW_LOG_LEVEL": "error",
            "LANGFLOW_STORE": "false",
            "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
            "DO_NOT_TRACK": "true",
        }
        run = [command, "run", "--backend-only", "--workers", "1", "--host", HOST, "--port", str(port)]
        with _process(run, env, folder), httpx.Client(base_url=f"http://{HOST}:{port}", timeout=60) as client:
            _wait(f"http://{HOST}:{port}/health", folder)
            token = client.get("/api/v1/auto_login").raise_for_status().json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            own = {}
            for flow in flows:
                body = {"name": f"bench {flow}", "data": {"nodes": [], "edges": []}}
                made = client.post("/api/v1/flows/", json=body, headers=headers).raise_for_status().json()
                own[flow] = made["id"]
            _insert(command, url, [{**row, "flow_id": own[row["flow_id"]]} for row in rows])
            yield Peer(name, port, headers, [own[flow] for flow in flows])


def _insert(command: str, url: str, rows: list[dict[str, Any]]) -> None:
    python = Path(command).with_name("python")
    sync = url.replace("postgresql://", "postgresql+psycopg://")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run(
        [python, "-c", _INSERT, sync], input=lines, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the rows could not be inserted:\n{done.stderr[-2_000:]}")


def postgres_binaries() -> Path | None:
    """The folder of PostgreSQL's programs, the newest where there are several; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@contextlib.contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """The URL of a PostgreSQL with its defaults."""
    with _folder() as folder:
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            shutil.chown(folder, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        data, port = folder / "data", free_port()
        control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
        _quietly(
            [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"], folder
        )
        options = f"-p {port} -k {folder} -h {HOST}"
        _quietly([*control, "-l", str(folder / "pg.log"), "-o", options, "start"], folder)
        try:
            yield f"postgresql://postgres@{HOST}:{port}/postgres"
        finally:
            _quietly([*control, "-m", "fast", "stop"], folder)


def _quietly(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[-1]} failed: {done.stderr.decode()[-2_000:]}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="redis-sessions-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _process(command: list[str], env: dict[str, str], folder: Path) -> Iterator[None]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REDIS_SESSIONS_", "LANGFLOW_"))
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=kept | env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer:\n{(folder / 'log').read_text(errors='replace')[-2_000:]}")
