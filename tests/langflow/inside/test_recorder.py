"""Recordings are written behind their runs: nothing waits for them, and a short outage loses none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import SessionStore, Transaction
from redis_sessions.errors import InvalidInputError, StoreUnavailableError
from redis_sessions.langflow import recorder, transactions
from redis_sessions.langflow.recorder import Recorder
from tests.langflow.inside.people import away
from tests.support.waiting import poll

if TYPE_CHECKING:
    from tests.langflow.inprocess import Application
    from tests.support.servers import Server


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "redis_sessions")


class Written(list[int]):
    """A recording is a number; writing it appends it."""

    def write(self, number: int) -> Any:
        async def write(store: SessionStore, maybe_done: bool) -> None:
            await store.ping()
            self.append(number)

        return write


def run(flow: str) -> Transaction:
    return Transaction(flow_id=flow, vertex_id="v", status="success")


async def test_what_is_recorded_while_redis_is_away_is_written_once_when_it_is_back(
    langflow: Application, redis_of_langflow: Server, store: SessionStore
) -> None:
    flow = str(uuid.uuid4())
    async with away(redis_of_langflow):
        for _ in range(3):
            transactions.keep(run(flow), 100)
        assert not recorder.flush(0.5)

    assert recorder.flush(30)
    assert len(await store.transactions(flow)) == 3


async def test_when_too_many_wait_the_oldest_are_lost_and_counted_in_the_log(
    langflow: Application, redis_of_langflow: Server, caplog: pytest.LogCaptureFixture
) -> None:
    small, written = Recorder(max_waiting=3, max_bytes=100), Written()
    async with away(redis_of_langflow):
        small.add("one", written.write(0), size=1)
        poll(lambda: small._busy and not small._waiting, timeout=10)
        for number in range(1, 6):
            small.add("one", written.write(number), size=1)
        small.add("one", written.write(6), size=99)

    assert small.flush(30)
    assert written == [0, 5, 6]
    assert "4 builds or transactions were lost" in caplog.text


async def test_an_attempt_that_may_have_been_carried_out_is_looked_for(
    langflow: Application, store: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    flow, attempts = str(uuid.uuid4()), []
    one = run(flow)

    async def write(store: SessionStore, maybe_done: bool) -> None:
        attempts.append(maybe_done)
        if len(attempts) == 1:
            await store.add_transaction(one)
            raise StoreUnavailableError("the answer was lost", write_may_have_happened=True)
        newest = await store.transactions(flow)
        assert [each.id for each in newest] == [one.id]

    mine = Recorder()
    mine.add("one", write, size=1)
    assert mine.flush(20)
    assert attempts == [False, True]
    assert "wait until Redis is back: the answer was lost" in caplog.text
    assert "are written again" in caplog.text


async def test_a_transaction_that_is_there_already_is_not_added_again(
    langflow: Application, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, real, calls = str(uuid.uuid4()), SessionStore.add_transaction, []

    async def add(self: SessionStore, *arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        await real(self, *arguments, **options)
        raise StoreUnavailableError("the answer was lost", write_may_have_happened=True)

    monkeypatch.setattr(SessionStore, "add_transaction", add)
    transactions.keep(run(flow), 100)

    assert recorder.flush(20)
    assert len(calls) == 1
    assert len(await store.transactions(flow)) == 1


async def test_what_the_store_refuses_is_logged_and_the_next_is_written(
    langflow: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(store: SessionStore, maybe_done: bool) -> None:
        raise InvalidInputError("not like this")

    async def broken(store: SessionStore, maybe_done: bool) -> None:
        raise RuntimeError("a bug")

    mine, written = Recorder(), Written()
    mine.add("build of v", refused, size=1)
    mine.add("build of w", broken, size=1)
    mine.add("one", written.write(1), size=1)

    assert mine.flush(20)
    assert written == [1]
    assert "not recorded: build of v: not like this" in caplog.text
    assert "not recorded: build of w: RuntimeError" in caplog.text


def test_a_process_writes_what_waits_before_it_ends(redis_of_langflow: Server) -> None:
    flow = str(uuid.uuid4())
    code = (
        "from redis_sessions import Transaction\n"
        "from redis_sessions.langflow import transactions\n"
        "for _ in range(50):\n"
        f"    transactions.keep(Transaction(flow_id={flow!r}, vertex_id='v', status='s'), 100)\n"
    )
    env = os.environ | {"REDIS_SESSIONS_URL": redis_of_langflow.url}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)

    assert redis_of_langflow.client().xlen(f"rs:{{{flow}}}:transactions") == 50
