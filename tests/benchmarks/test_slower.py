"""The gate sees it when redis-sessions becomes slower, on whatever machine and however busy it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import counts, gate
from benchmarks.budget import Budget
from benchmarks.questions import questions
from benchmarks.rounds import ask
from benchmarks.subjects import OURS, RAW, Entry
from benchmarks.workers import worker
from tests.benchmarks.runs import results
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from pathlib import Path


def slower(module: str) -> Entry:
    return Entry("ours", "slower", "own", module=f"tests.benchmarks.slower.{module}")


async def over_counts(entry: Entry, names: list[str], folder: Path) -> dict[str, str]:
    with valkey_server() as server:
        found = await counts.measure(
            server.client(),
            server.url,
            python=sys.executable,
            folder=folder,
            tell=lambda _: None,
            entry=entry,
            names=names,
        )
    bounds = gate.read()["counts"]
    return gate.exceeded(
        results(counts=found),
        {"counts": {name: bounds[name] for name in names}, "memory": {}, "cpu": {}, "times": {}},
    )


async def over_cpu(entry: Entry, key: str, folder: Path) -> dict[str, str]:
    (question,) = (one for one in questions(quick=True) if one.key == key)
    with valkey_server() as server:
        async with (
            worker(RAW, sys.executable, server.url, folder) as raw,
            worker(entry, sys.executable, server.url, folder) as other,
        ):
            row = await ask(
                question, [raw, other], {"redis": raw}, rounds=5, budget=Budget(30), tell=lambda _: None
            )
    cpu = {key: gate.read()["cpu"][key]}
    return gate.exceeded(
        results(rows=[(question, row)]), {"counts": {}, "memory": {}, "cpu": cpu, "times": {}}
    )


async def test_what_is_committed_is_within_the_bounds_of_its_counts(tmp_path: Path) -> None:
    assert await over_counts(OURS, [*counts.CASES], tmp_path) == {}


async def test_an_append_that_reads_the_session_first_is_seen(tmp_path: Path) -> None:
    found = await over_counts(slower("reads_first"), ["append"], tmp_path)
    assert found.keys() == {
        f"counts append {what}" for what in ("commands", "trips", "sent", "received", "functions")
    }


async def test_one_more_command_is_seen(tmp_path: Path) -> None:
    found = await over_counts(slower("asks_twice"), ["list"], tmp_path)
    assert {"counts list commands", "counts list trips"} <= found.keys()


async def test_computing_more_is_seen_though_no_count_is_larger(tmp_path: Path) -> None:
    assert await over_counts(slower("computes"), ["history-100"], tmp_path) == {}
    found = await over_cpu(slower("computes"), "history-100-hundred", tmp_path)
    assert found.keys() == {"cpu history-100-hundred"}


async def test_what_is_committed_is_within_a_bound_of_cpu_time(tmp_path: Path) -> None:
    assert await over_cpu(OURS, "history-100-hundred", tmp_path) == {}
