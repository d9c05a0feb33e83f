"""The processes that subjects run in, and a whole small run, on a real server."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from benchmarks.payloads import turn, turns
from benchmarks.servers import Servers
from benchmarks.stack import NoServerError
from benchmarks.subjects import BY_NAME, OPERATIONS, OURS, RAW
from benchmarks.subjects.ours import Ours
from benchmarks.suite import Plan, TooNoisyError, run
from benchmarks.workers import SubjectError, Worker, worker
from tests.benchmarks.runs import QUIET
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from benchmarks.subjects import Entry


@asynccontextmanager
async def a_worker(entry: Entry, folder: Path) -> AsyncIterator[Worker]:
    with valkey_server() as server:
        async with worker(entry, sys.executable, server.url, folder) as made:
            yield made


async def test_a_worker_says_what_it_can_and_does_it(tmp_path: Path) -> None:
    async with a_worker(OURS, tmp_path) as ours:
        assert ours.operations == set(OPERATIONS)
        await ours.check()
        assert ours.lies == {}
        await ours.prepare({"talk": 100})
        timing = await ours.time("history", ["talk", 20], calls=5, budget=30, expected=20)
        assert len(timing.times) == 5
        assert 0 < timing.median <= timing.quantile(0.99) <= timing.elapsed


async def test_a_wrong_answer_is_an_error_and_not_a_time(tmp_path: Path) -> None:
    async with a_worker(RAW, tmp_path) as raw:
        await raw.prepare({"talk": 10})
        with pytest.raises(SubjectError, match="gave 10, not 20"):
            await raw.time("history", ["talk", 20], calls=5, budget=30, expected=20)
        assert (await raw.time("history", ["talk", 5], calls=2, budget=30, expected=5)).times


async def test_a_rename_goes_there_and_back(tmp_path: Path) -> None:
    async with a_worker(RAW, tmp_path) as raw:
        await raw.prepare({"talk": 3})
        assert len((await raw.time("rename", ["talk"], calls=4, budget=30)).times) == 4
        await raw.time("history", ["talk", 3], calls=1, budget=30, expected=3)


async def test_several_clients_share_the_budget(tmp_path: Path) -> None:
    async with a_worker(RAW, tmp_path) as raw:
        timing = await raw.time("append", ["talk"], calls=1_000_000, budget=0.1, clients=4)
        assert len(timing.times) >= 4
        assert timing.rate == len(timing.times) / timing.elapsed


async def test_a_process_that_ends_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"(?s)ended:.*ConnectionError"):
        async with worker(RAW, sys.executable, "redis://127.0.0.1:1/0", tmp_path):
            pass


async def test_a_run_measures_saves_and_leaves_nothing(tmp_path: Path) -> None:
    plan = Plan(True, {"own": sys.executable}, ("questions",), keys=frozenset({"append"}), believe_noise=True)
    told: list[str] = []
    results = await run(plan, tell=told.append)
    ((question, row),) = results.rows
    assert question.key == "append"
    assert row["raw"].ratio == 1.0
    assert len(row["ours"].ratios) == plan.rounds
    results.save(tmp_path / "results.json")
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["rows"][0]["answers"]["ours"]["ratio"] == row["ours"].ratio
    assert "append: round 1 of 7" in told


async def test_a_machine_that_is_too_noisy_is_told_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(type(QUIET)):
        too_noisy = True

    async def listen(*_: object) -> Deaf:
        return Deaf(2.0, 0.5, 4.0, 7.0)

    monkeypatch.setattr("benchmarks.suite.listen", listen)
    told: list[str] = []
    with pytest.raises(TooNoisyError, match=r"ratio 2\.00"):
        await run(Plan(True, {"own": sys.executable}), tell=told.append)
    assert not [line for line in told if "round" in line]


def test_a_server_that_is_not_installed_is_told(tmp_path: Path) -> None:
    with Servers({"peers": str(tmp_path / "bin/python")}) as servers, pytest.raises(NoServerError):
        servers.url_for(BY_NAME["redisvl"])


def test_every_subject_gets_the_database_of_its_own() -> None:
    with Servers({}) as servers:
        url = servers.url("redis")
        assert servers.url_for(RAW) == url
        assert servers.url_for(BY_NAME["llama_index"]) == url.removesuffix("/0") + "/4"


async def test_a_feed_that_has_lost_its_place_goes_on() -> None:
    with valkey_server() as server:
        ours = Ours(server.url)
        await ours.open()
        try:
            await ours.feed("talk", turn(0))
            await ours.fill("long", turns(12_000))  # more than the feed keeps
            await ours.feed("talk", turn(1))
            assert set(await ours.texts("talk")) == {turn(0).text, turn(1).text}
        finally:
            await ours.close()
