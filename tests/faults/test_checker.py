"""The checker says nothing of a store that is whole, and notices every way in which one is broken."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import SessionStore
from tests.faults import record
from tests.faults.checker import Verdict, check
from tests.faults.finals import read_finals
from tests.faults.load import Load
from tests.faults.mutations import MUTATIONS
from tests.faults.record import Recorder, listen_to_tokens, read_record
from tests.support import Proxy, Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Servers

CALLS = 1_000
TASKS = 8
MIX = {
    "append": 45,
    "history": 20,
    "update": 15,
    "rename": 8,
    "delete_messages": 8,
    "delete_session": 2,
    "sessions": 2,
}


async def load_and_check(server: Server, folder: Path, seed: int) -> Verdict:
    """A short load in this process, through a proxy that loses an answer now and then, and its verdict."""
    print(f"seed {seed}")
    flows = [str(uuid4()) for _ in range(2)]
    path = folder / "record"
    with path.open("ab", buffering=0) as file:
        async with Proxy(server) as proxy, SessionStore.from_url(proxy.url, feed_max_events=100_000) as store:
            load = Load(
                store, Recorder(file, "w"), flows, seed, pause=0.002, mix=MIX, most_calls=CALLS, remembered=5
            )
            running = asyncio.create_task(load.run(TASKS))
            while not running.done():
                proxy.drop_reply(b"\r\nappend", after=3)
                proxy.drop_reply(b"EVALSHA", after=5)
                await asyncio.wait([running], timeout=0.5)
            await running
    async with SessionStore.from_url(server.url) as store:
        return check(read_record([path]), await read_finals(store, flows))


@pytest.fixture(autouse=True)
def _tokens_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record.redis_sessions.calls, "secrets", record.redis_sessions.calls.secrets)
    listen_to_tokens()


async def test_a_store_that_is_whole_passes(servers: Servers, tmp_path: Path) -> None:
    server = servers["valkey"]
    assert isinstance(server, Server)
    verdict = await load_and_check(server, tmp_path, seed=1)

    assert verdict.complaints == []
    assert verdict.acknowledged > 100
    assert verdict.reads > 20


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
async def test_a_broken_store_is_noticed(
    mutation: Callable[[pytest.MonkeyPatch], None],
    servers: Servers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = servers["valkey"]
    assert isinstance(server, Server)
    complaints: list[str] = []
    for seed in range(1, 6):  # some show only where two calls meet
        (folder := tmp_path / str(seed)).mkdir()
        with monkeypatch.context() as patch:
            mutation(patch)
            complaints += (await load_and_check(server, folder, seed)).complaints
        if any(re.search(MUTATIONS[mutation], complaint) for complaint in complaints):
            return
    pytest.fail(f"nobody complained of it: {complaints[:5]}")
