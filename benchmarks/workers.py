"""The other side of ``benchmarks/worker.py``: one process a subject, told what to do and what to measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.subjects import Entry

_ROOT = Path(__file__).parents[1]
_PATIENCE = 600
_LINE = 64 * 1024 * 1024


class SubjectError(Exception):
    """What a subject was asked for failed. The text is its own."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that each call took, that all of them took together, and that the client computed meanwhile."""

    times: list[float]
    elapsed: float
    cpu: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.times) / self.elapsed

    def quantile(self, part: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class Worker:
    """A subject in its own process."""

    def __init__(self, entry: Entry, url: str, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.entry = entry
        self.url = url
        self._process = process
        self._errors = errors
        self.operations: set[str] = set()
        self.marks: dict[str, str] = {}
        self.longest: int | None = None
        self.lies: dict[str, str] = {}
        self._filled: set[str] = set()
        self._server: redis.Redis | None = None

    async def introduce(self) -> None:
        """Ask what it can do."""
        known = await self.tell(do="can")
        self.operations = set(known["operations"])
        self.marks, self.longest = known["marks"], known["longest"]

    async def check(self) -> None:
        """Let it show what it can. What it does not do is in ``lies``, and no more in ``operations``."""
        self.lies = (await self.tell(do="check"))["lies"]
        self.operations -= self.lies.keys()

    def server_cpu(self) -> float | None:
        """Seconds that the process of its Redis server has spent, networking included; None without Redis.

        Not the sum of ``commandstats``: that counts the commands of a script twice, and leaves out what is
        spent on reading and answering, and by the threads of modules.
        """
        if self.entry.server not in ("redis", "search"):
            return None
        if self._server is None:
            self._server = redis.Redis.from_url(self.url)
        cpu: Any = self._server.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def close(self) -> None:
        """End what it asks its server with."""
        if self._server is not None:
            self._server.close()

    def holds(self, count: int) -> bool:
        """Whether sessions may be so long."""
        return self.longest is None or count <= self.longest

    async def fill(self, sessions: dict[str, int], *, texts: int = 0) -> None:
        """Store sessions with so many messages; ``texts``: of so many bytes each."""
        await self.tell(do="fill", sessions=sessions, texts=texts)

    async def prepare(self, sessions: dict[str, int]) -> None:
        """Store those of the sessions that are not there yet."""
        missing = {name: count for name, count in sessions.items() if name not in self._filled}
        if missing:
            await self.fill(missing)
            self._filled |= missing.keys()

    async def time(
        self,
        operation: str,
        arguments: list[Any],
        *,
        calls: int,
        budget: float,
        clients: int = 1,
        expected: int | None = None,
        rest: float = 0.0,
    ) -> Timing:
        """Measure up to ``calls`` calls, as many as ``budget`` seconds allow and at least one.

        One client rests so many seconds before each.
        """
        done = await self.tell(
            do="time",
            operation=operation,
            arguments=arguments,
            calls=calls,
            budget=budget,
            clients=clients,
            expected=expected,
            rest=rest,
        )
        return Timing(done["times"], done["elapsed"], done["cpu"])

    async def tell(self, **command: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise SubjectError(f"{self.entry.label}: has no pipes")
        try:
            stdin.write(json.dumps(command).encode() + b"\n")
            await stdin.drain()
            line = await asyncio.wait_for(stdout.readline(), _PATIENCE)
        except (TimeoutError, ConnectionError) as error:
            raise SubjectError(f"{self.entry.label}: {command}: {type(error).__name__}") from error
        if not line:
            said = self._errors.read_text(errors="replace").strip().splitlines()[-12:]
            raise SubjectError(f"{self.entry.label} ended:\n" + "\n".join(said))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SubjectError(f"{self.entry.label}: {command}: {answer['error']}\n{answer['traceback']}")
        return answer


@contextlib.asynccontextmanager
async def worker(entry: Entry, python: str, url: str, folder: Path) -> AsyncIterator[Worker]:
    """The subject, connected to ``url`` and ready."""
    errors = folder / f"{entry.name}.log"
    with errors.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            "benchmarks.worker",
            entry.path,
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "BENCHMARK_FOLDER": str(folder)},
            limit=_LINE,
        )
    made = Worker(entry, url, process, errors)
    try:
        await made.introduce()
        yield made
    finally:
        made.close()
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
