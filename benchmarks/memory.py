"""How many bytes does a message take, where its text has 600?"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.workers import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    from benchmarks.workers import Worker

TEXT_BYTES = 600
SHAPES = ((20, 250), (1_000, 5))
"""Messages of a session, and how many sessions."""
_PATIENCE = 10

Bytes = dict[int, dict[str, float]]
"""Bytes of a message by length of its session and subject."""


async def measure(
    workers: Sequence[Worker], servers: dict[str, redis.Redis], *, tell: Callable[[str], None]
) -> Bytes:
    """Everything that a subject stores counts, divided by its messages."""
    found: Bytes = {}
    for length, sessions in SHAPES:
        found[length] = {}
        for worker in workers:
            if not worker.holds(length):
                continue
            tell(f"memory of sessions of {length:,}: {worker.entry.label}")
            server = servers.get(worker.entry.server)
            before = _used(server, worker)
            if before is None:
                continue
            names = {f"memory-{length}-{number}": length for number in range(sessions)}
            try:
                await worker.fill(names, texts=TEXT_BYTES)
            except SubjectError as error:
                tell(f"{worker.entry.label}: {str(error).splitlines()[0]}")
                continue
            after = _used(server, worker)
            if after is not None:
                found[length][worker.entry.name] = (after - before) / (length * sessions)
    return found


def used_memory(server: redis.Redis) -> float:
    """Bytes, once what was deleted is gone: large values are freed in the background."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        memory: Any = server.info("memory")
        if not memory["lazyfree_pending_objects"] or time.monotonic() > deadline:
            return float(memory["used_memory"])
        time.sleep(0.01)


def _used(server: redis.Redis | None, worker: Worker) -> float | None:
    if server is not None:
        return used_memory(server)
    if worker.entry.server == "sqlite":
        database = Path(worker.url.removeprefix("sqlite:///"))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("VACUUM")  # pages of what was deleted would hide what is stored
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return float(sum(file.stat().st_size for file in database.parent.glob(f"{database.name}*")))
    if worker.entry.server == "postgresql":
        with psycopg.connect(worker.url, autocommit=True) as connection:
            connection.execute("VACUUM FULL")
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            return None if row is None else float(row[0])
    return None
