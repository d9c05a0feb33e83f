"""``POST /run`` of ChatInput → Message History → ChatOutput: stock Langflow against plugged in.

Run by Langflow's own Python, with the plug-in installed beside it::

    python -m benchmarks.langflow_run                # the whole table
    python -m benchmarks.langflow_run --seconds 3 --histories 10 --clients 1

Servers have one worker each. They are measured in turns, so that what else the machine does meets all alike.
The run reads the newest 100 messages and stores two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from redis_sessions import NewMessage, SessionStore
from tests.langflow import flows
from tests.support.langflow import LangflowServer
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEXT = "What is the weather like in the mountains this week, and should I take a jacket? " * 5

# Run in a process of its own: it takes Langflow's tables, and not its services.
_FILL = """
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID
import sqlalchemy
from langflow.services.database.models.message.model import MessageTable
url, flow, user, session, count, text = sys.argv[1:]
start = datetime.now(UTC) - timedelta(days=1)
rows = [
    MessageTable(
        text=text, sender=("User", "Machine")[n % 2], sender_name="User", session_id=session, files=[],
        timestamp=start + timedelta(seconds=n), flow_id=UUID(flow), user_id=UUID(user), category="message",
    ).model_dump()
    for n in range(int(count))
]
for row in rows:
    row["timestamp"] = datetime.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC)
engine = sqlalchemy.create_engine(url)
with engine.begin() as connection:
    connection.execute(sqlalchemy.insert(MessageTable.__table__), rows)
with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
    connection.execute(sqlalchemy.text("ANALYZE"))
"""


@dataclass
class Side:
    """A running server, with the flow to run."""

    name: str
    server: LangflowServer
    redis: str | None
    flow: str = ""
    times: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    rates: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    failed: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Requests that were answered with an error."""

    def prepare(self, histories: Sequence[int]) -> None:
        """The flow, and a session of each length."""
        self.flow = self.server.create_flow(flows.history())
        user = self.server.http.get("/api/v1/users/whoami").raise_for_status().json()["id"]
        for count in histories:
            if self.redis is not None:
                asyncio.run(_fill_redis(self.redis, self.flow, user, count))
                continue
            url = self.server.database.replace("postgresql://", "postgresql+psycopg://")
            command = [sys.executable, "-c", _FILL, url, self.flow, user, _session(count), str(count), TEXT]
            subprocess.run(command, check=True, capture_output=True)

    def run(self, history: int) -> float | None:
        """One request; seconds, or None where it failed."""
        body = {
            "input_value": "{sender}: {text}",
            "input_type": "chat",
            "output_type": "chat",
            "session_id": _session(history),
        }
        began = time.perf_counter()
        answer = self.server.http.post(f"/api/v1/run/{self.flow}", json=body)
        return time.perf_counter() - began if answer.is_success else None

    def measure(self, history: int, clients: int, seconds: float) -> None:
        """Requests of ``clients`` clients for some seconds."""

        def client(_: int) -> list[float | None]:
            answered = []
            while time.perf_counter() < end:
                answered.append(self.run(history))
            return answered

        self.run(history)
        began = time.perf_counter()
        end = began + seconds
        with ThreadPoolExecutor(clients) as threads:
            answered = list(itertools.chain.from_iterable(threads.map(client, range(clients))))
        cell = history, clients
        taken = [one for one in answered if one is not None]
        self.failed[cell] += len(answered) - len(taken)
        self.times.setdefault(cell, []).extend(taken)
        self.rates.setdefault(cell, []).append(len(taken) / (time.perf_counter() - began))


@contextlib.contextmanager
def sides(*, postgres: bool, console: Console) -> Iterator[list[Side]]:
    """The servers, started one after the other."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="langflow-run-")))

        def start(name: str, *, database: str | None = None, redis: str | None = None) -> Side:
            env = {"LANGFLOW_LOG_LEVEL": "error"} | ({"REDIS_SESSIONS_URL": redis} if redis else {})
            server = LangflowServer(folder / name.replace(" ", "-"), database=database, **env)
            stack.callback(server.close)
            with console.status(f"starting Langflow: {name}"):
                server.start()
            server.http.close()
            headers = server.http.headers
            server.http = httpx.Client(
                base_url=server.url, headers=headers, timeout=300, limits=httpx.Limits(max_connections=64)
            )
            return Side(name, server, redis)

        running = [start("plugged in", redis=stack.enter_context(valkey_server(appendonly=True)).url)]
        running.append(start("stock, SQLite"))
        binaries = peers.postgres_binaries() if postgres else None
        if binaries is not None:
            running.append(start("stock, PostgreSQL", database=stack.enter_context(peers.postgres(binaries))))
        elif postgres:
            console.print("PostgreSQL is not installed: left out")
        yield running


def table(running: Sequence[Side], cells: Sequence[tuple[int, int]]) -> Table:
    """p50, p99 and requests a second of each server in each cell."""
    drawn = Table(title="POST /run, one worker: p50 / p99 in ms, requests a second", title_justify="left")
    drawn.add_column("history", justify="right")
    drawn.add_column("clients", justify="right")
    for side in running:
        drawn.add_column(side.name, justify="right")
    for history, clients in cells:
        shown = []
        for side in running:
            times = sorted(side.times[history, clients])
            middle, high = statistics.median(times), times[int(len(times) * 0.99)]
            rate = statistics.median(side.rates[history, clients])
            failed = f", {side.failed[history, clients]} failed" if side.failed[history, clients] else ""
            shown.append(f"{middle * 1e3:,.0f} / {high * 1e3:,.0f}, {rate:,.1f}/s{failed}")
        drawn.add_row(f"{history:,}", str(clients), *shown)
    return drawn


async def _fill_redis(url: str, flow: str, user: str, count: int) -> None:
    start = datetime.now(UTC) - timedelta(days=1)
    async with SessionStore.from_url(url) as store:
        for first in range(0, count, 1_000):
            numbers = range(first, min(first + 1_000, count))
            await store.append_many(
                flow,
                [
                    NewMessage(
                        text=TEXT,
                        sender="User" if n % 2 == 0 else "Machine",
                        sender_name="User",
                        session_id=_session(count),
                        timestamp=start + timedelta(seconds=n),
                        user_id=str(uuid.UUID(user)),
                    )
                    for n in numbers
                ],
            )


def _session(history: int) -> str:
    return f"history-{history}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.langflow_run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each server, cell and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--histories", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--no-postgres", action="store_true")
    given = parser.parse_args()
    console = Console(width=140)
    cells = list(itertools.product(given.histories, given.clients))
    with sides(postgres=not given.no_postgres, console=console) as running:
        for side in running:
            with console.status(f"filling: {side.name}"):
                side.prepare(given.histories)
        for turn in range(given.rounds):
            for history, clients in cells:
                for side in running:
                    with console.status(
                        f"round {turn + 1}, history {history:,}, {clients} clients: {side.name}"
                    ):
                        side.measure(history, clients, given.seconds)
        console.print(table(running, cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
