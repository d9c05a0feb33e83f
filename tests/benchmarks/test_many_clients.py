"""Several clients at once, as tasks or as threads: each has its own session, and is connected beforehand."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from benchmarks import clients
from benchmarks.budget import Budget
from benchmarks.subjects import OURS, RAW, Subject
from benchmarks.worker import Worker
from benchmarks.workers import worker
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.payloads import Turn

SESSIONS = ["first", "second", "third"]


class Tasks(Subject):
    """Notes who appended to what."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.appended: Counter[str] = Counter()

    async def append(self, session: str, turn: Turn) -> None:
        self.appended[session] += 1

    async def update(self, session: str, text: str) -> None:
        self.appended[f"{session}: {text}"] += 1


class Threads(Tasks):
    """The same, blocking."""

    blocking = True
    made: list[Threads]
    seen: set[int]

    def __init__(self, url: str) -> None:
        super().__init__(url)
        type(self).made.append(self)

    async def append(self, session: str, turn: Turn) -> None:
        await super().append(session, turn)
        type(self).seen.add(threading.get_ident())


@pytest.fixture(autouse=True)
def nobody_yet() -> None:
    Threads.made, Threads.seen = [], set()


async def test_each_of_several_tasks_has_its_own_session() -> None:
    told = Worker(Tasks, "")
    done = await told._time("append", [SESSIONS], calls=1, budget=0.01, clients=3)
    appended = told._subject.appended  # type: ignore[attr-defined]
    assert appended.keys() == set(SESSIONS)
    assert sum(appended.values()) == len(done["times"]) + 3  # one each before the clock starts
    assert done["elapsed"] >= 0.01


async def test_one_client_takes_all_sessions_in_turn() -> None:
    told = Worker(Tasks, "")
    await told._time("append", [SESSIONS], calls=6, budget=60)
    assert told._subject.appended == dict.fromkeys(SESSIONS, 2)  # type: ignore[attr-defined]


async def test_other_arguments_change_with_each_call_of_a_client() -> None:
    told = Worker(Tasks, "")
    await told._time("update", [SESSIONS[:2], ["one", "two"]], calls=1, budget=0.01, clients=2)
    appended = told._subject.appended  # type: ignore[attr-defined]
    assert appended.keys() == {f"{session}: {text}" for session in SESSIONS[:2] for text in ("one", "two")}


async def test_each_of_several_threads_has_a_subject_and_a_session_of_its_own() -> None:
    told = Worker(Threads, "")
    done = await told._time("append", [SESSIONS], calls=1, budget=0.01, clients=3)
    assert len(Threads.seen) == 3
    _, *others = Threads.made
    assert sorted(session for one in others for session in one.appended) == sorted(SESSIONS)
    assert sum(one.appended.total() for one in others) == len(done["times"]) + 3


async def test_a_thread_that_fails_says_why_and_keeps_nobody_waiting() -> None:
    class Refused(Threads):
        async def append(self, session: str, turn: Turn) -> None:
            if session == "second":
                raise ConnectionError("refused")

    with pytest.raises(ConnectionError, match="refused"):
        await Worker(Refused, "")._time("append", [SESSIONS], calls=1, budget=0.01, clients=3)


async def test_work_is_measured_at_each_number_of_clients(tmp_path: Path) -> None:
    own = {f"client-{number}": 5 for number in range(4)}
    work = clients.Work("append", "append", ([*own],), own)
    with valkey_server() as server:
        async with (
            worker(RAW, sys.executable, server.url, tmp_path) as raw,
            worker(OURS, sys.executable, server.url, tmp_path) as ours,
        ):
            loads = await clients.measure(
                [raw, ours], [work], rounds=2, seconds=0.05, budget=Budget(60), tell=lambda _: None
            )
    assert [(load.clients, load.subject) for load in loads] == [
        (count, name) for count in clients.COUNTS for name in ("raw", "ours")
    ]
    assert all(load.rate > 0 and 0 < load.p50 <= load.p99 and load.server_seconds for load in loads)
