"""``POST /run`` of ChatInput → Message History → ChatOutput: stock Langflow against plugged in.

Run by Langflow's own Python, with the plug-in installed beside it::

    python -m benchmarks.langflow_run                # the whole table, in twelve minutes
    python -m benchmarks.langflow_run --into README.md docs/langflow.md
    python -m benchmarks.langflow_run --seconds 3 --rounds 1 --histories 10 --clients 1

Servers have one worker each, on SQLite or on a PostgreSQL with its defaults; plugged in too, for their users,
keys and jobs. They are measured in turns, so that what else the machine does meets all alike.

A run reads the newest 100 messages and stores two. Its answer has a line for each message: the sender. Were
it their texts, each answer would hold all those before it: messages double with every run, until it takes
minutes. Sessions of 10 are taken one after the other, so that they stay about that long; that of 10,000 is
everybody's.

What is shown are the requests that began within the time of a measurement. One that is answered with an
error, or without the history, or not within a minute, is counted as failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.report import as_markdown
from redis_sessions import NewMessage, SessionStore
from tests.langflow import flows
from tests.support.langflow import LangflowServer
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT = 100
"""How many messages a run reads."""

MESSAGES = 5_000
"""As many are stored, at least, in the sessions of one length."""

_MARK, _END = "<!-- run table -->", "<!-- end of run table -->"

TEXT = "What is the weather like in the mountains this week, and should I take a jacket? " * 5

# Run in a process of its own: it takes Langflow's tables, and not its services.
_FILL = """
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID
import sqlalchemy
from langflow.services.database.models.message.model import MessageTable
url, flow, user, name, count, sessions, text = sys.argv[1:]
start = datetime.now(UTC) - timedelta(days=1)
rows = [
    MessageTable(
        text=text, sender=("User", "Machine")[n % 2], sender_name="User", files=[],
        session_id=f"{name}-{session}",
        timestamp=start + timedelta(seconds=n), flow_id=UUID(flow), user_id=UUID(user), category="message",
    ).model_dump()
    for session in range(int(sessions))
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
class Cell:
    """What a server did with sessions of one length and so many clients."""

    times: list[float] = field(default_factory=list)
    """Seconds of each answered request."""

    seconds: float = 0
    failed: int = 0

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        if not self.times:
            return f"none answered{failed}"
        times = sorted(self.times)
        middle, high = statistics.median(times), times[int(len(times) * 0.99)]
        return (
            f"{middle * 1e3:,.0f} / {high * 1e3:,.0f} ms, {len(times) / self.seconds:,.1f} a second{failed}"
        )


@dataclass
class Side:
    """A running server, with the flow to run."""

    name: str
    server: LangflowServer
    redis: str | None
    flow: str = ""
    cells: defaultdict[tuple[int, int], Cell] = field(default_factory=lambda: defaultdict(Cell))
    _turn: Iterator[int] = field(default_factory=itertools.count)

    def prepare(self, histories: Sequence[int]) -> None:
        """The flow, and the sessions of each length."""
        self.flow = self.server.create_flow(flows.history(messages=LIMIT))
        user = self.server.http.get("/api/v1/users/whoami").raise_for_status().json()["id"]
        for length in histories:
            if self.redis is not None:
                asyncio.run(_fill_redis(self.redis, self.flow, user, length))
                continue
            url = self.server.database.replace("postgresql://", "postgresql+psycopg://")
            what = [url, self.flow, user, f"history-{length}", str(length), str(_sessions(length)), TEXT]
            subprocess.run([sys.executable, "-c", _FILL, *what], check=True, capture_output=True)

    def run(self, length: int) -> float | None:
        """One request; seconds, or None where it failed."""
        body = {
            "input_value": "{sender}",
            "input_type": "chat",
            "output_type": "chat",
            "session_id": f"history-{length}-{next(self._turn) % _sessions(length)}",
        }
        began = time.perf_counter()
        try:
            answer = self.server.http.post(f"/api/v1/run/{self.flow}", json=body)
        except httpx.HTTPError:
            return None
        took = time.perf_counter() - began
        return took if answer.is_success and _lines(answer) >= min(length, LIMIT) else None

    def measure(self, length: int, clients: int, seconds: float) -> None:
        """Requests of ``clients`` clients for some seconds."""

        def client(_: int) -> list[float | None]:
            answered = []
            while time.perf_counter() < end:
                answered.append(self.run(length))
            return answered

        began = time.perf_counter()
        end = began + seconds
        with ThreadPoolExecutor(clients) as threads:
            answered = list(itertools.chain.from_iterable(threads.map(client, range(clients))))
        cell = self.cells[length, clients]
        taken = [one for one in answered if one is not None]
        cell.failed += len(answered) - len(taken)
        cell.times += taken
        cell.seconds += time.perf_counter() - began


@contextlib.contextmanager
def sides(*, postgres: bool, console: Console) -> Iterator[list[Side]]:
    """The servers, started together."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="langflow-run-")))
        databases = ["SQLite"]
        binaries = peers.postgres_binaries() if postgres else None
        if binaries is not None:
            databases.append("PostgreSQL")
        elif postgres:
            console.print("PostgreSQL is not installed: left out")
        running = []
        for database in databases:
            for kind in ("stock", "plugged in"):
                redis, url = None, None
                if kind == "plugged in":
                    redis = stack.enter_context(valkey_server(appendonly=True)).url
                if database == "PostgreSQL" and binaries is not None:
                    url = stack.enter_context(peers.postgres(binaries))
                env = {"LANGFLOW_LOG_LEVEL": "error"} | ({"REDIS_SESSIONS_URL": redis} if redis else {})
                name = f"{kind}, {database}"
                server = LangflowServer(folder / str(len(running)), database=url, **env)
                stack.callback(server.close)
                running.append(Side(name, server, redis))
        with console.status(f"starting {len(running)} Langflows"):
            for side in running:
                side.server.spawn()
            for side in running:
                side.server.wait_until_ready()
                side.server.http.timeout = httpx.Timeout(60)
        yield running


def table(running: Sequence[Side], cells: Sequence[tuple[int, int]]) -> Table:
    """p50, p99 and requests a second of each server in each cell."""
    title = "POST /run, one worker: p50 / p99, requests a second"
    drawn = Table("history", "clients", *(side.name for side in running), title=title, title_justify="left")
    for length, clients in cells:
        drawn.add_row(f"{length:,}", str(clients), *(str(side.cells[length, clients]) for side in running))
    return drawn


def into(document: str, drawn: str) -> str:
    """The document with another table between its marks.

    Raises:
        ValueError: it has no marks.
    """
    made, count = re.subn(
        f"({_MARK}\n).*?({_END})", lambda marks: f"{marks[1]}{drawn}{marks[2]}", document, flags=re.DOTALL
    )
    if not count:
        msg = f"no {_MARK} with an {_END} after it"
        raise ValueError(msg)
    return made


async def _fill_redis(url: str, flow: str, user: str, length: int) -> None:
    start = datetime.now(UTC) - timedelta(days=1)
    made = [
        NewMessage(
            text=TEXT,
            sender="User" if n % 2 == 0 else "Machine",
            sender_name="User",
            session_id=f"history-{length}-{session}",
            timestamp=start + timedelta(seconds=n),
            user_id=str(uuid.UUID(user)),
        )
        for session in range(_sessions(length))
        for n in range(length)
    ]
    async with SessionStore.from_url(url) as store:
        for first in range(0, len(made), 500):
            await store.append_many(flow, made[first : first + 500])


def _sessions(length: int) -> int:
    return max(1, MESSAGES // length)


def _lines(answer: httpx.Response) -> int:
    """How many messages a run has answered with."""
    said = answer.json()["outputs"][0]["outputs"][0]["results"]["message"]["text"]
    return len(said.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.langflow_run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=9, help="of each server, cell and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--histories", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--no-postgres", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--into",
        type=Path,
        nargs="+",
        default=[],
        help="documents whose <!-- run table --> is to be this one",
    )
    given = parser.parse_args()
    console = Console(width=160, stderr=given.markdown)
    cells = list(itertools.product(given.histories, given.clients))
    with sides(postgres=not given.no_postgres, console=console) as running:
        for side in running:
            with console.status(f"filling: {side.name}"):
                side.prepare(given.histories)
                for length, clients in cells:
                    side.measure(length, clients, 0.1)  # what only the first requests pay
            side.cells.clear()
        for turn in range(given.rounds):
            for length, clients in cells:
                for side in running if turn % 2 == 0 else reversed(running):
                    with console.status(
                        f"round {turn + 1}, history {length:,}, {clients} clients: {side.name}"
                    ):
                        side.measure(length, clients, given.seconds)
        drawn = table(running, cells)
    for document in given.into:
        document.write_text(into(document.read_text(), as_markdown(drawn)))
    if given.markdown:
        print(as_markdown(drawn), end="")
    else:
        console.print(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
