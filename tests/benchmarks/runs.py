"""Runs that nobody measured: results with figures that a test chooses."""

from __future__ import annotations

from typing import Any

from benchmarks.clients import Load
from benchmarks.clusters import Spread
from benchmarks.counts import Count
from benchmarks.growth import Grown
from benchmarks.noise import Noise
from benchmarks.questions import Question, fixed
from benchmarks.results import Results
from benchmarks.rounds import Cell

QUIET = Noise(1.0, 0.9, 1.1, 0.2)


def question(key: str = "append", *, length: int = 100, target: float | None = 1.6, **more: Any) -> Question:
    return Question(key, f"the {key}", "append", fixed("hundred"), {"hundred": length}, target=target, **more)


def answer(*ratios: float, raw: float = 1e-4, mark: str = "", cpu: float = 1.0) -> Cell:
    """Times, and CPU times: half of those the client's, half the server's, ``cpu`` times as much as raw's."""
    spent = [raw * cpu / 2] * len(ratios)
    return Cell([raw * ratio for ratio in ratios], list(ratios), mark, clients=spent, servers=spent)


def count(**more: Any) -> Count:
    return Count(
        **({"commands": {"xadd": 2.0}, "sent": 100, "received": 50, "trips": 1, "functions": 200} | more)
    )


def results(**parts: Any) -> Results:
    """A run of one question, and whatever else is said."""
    row = {"raw": answer(1.0, 1.0, 1.0), "ours": answer(1.4, 1.5, 1.7)}
    return Results({"redis": "Valkey 9"}, QUIET, **({"rows": [(question(), row)]} | parts))


def whole() -> Results:
    """Something in every part."""
    rows = [
        (
            question(f"history-100-{name}", length=length, target=2.5),
            {
                "raw": answer(1.0),
                "ours": answer(2.0),
                "llama_index": answer(40.0, mark="reads all"),
                "redisvl": Cell(missing="cannot"),
                "google_adk": Cell(missing="not beyond 10 messages"),
            },
        )
        for name, length in (("hundred", 100), ("long", 10_000))
    ]
    loads = [
        Load("append", "append", 100, clients, name, 1_000.0 * clients, 1e-3, 2e-3, 1e-5)
        for clients in (1, 8, 64)
        for name in ("raw", "ours", "langflow_sqlite")
    ]
    memory = {20: {"raw": 640.0, "ours": 700.0}, 1_000: {"raw": 620.0, "ours": 660.0, "redisvl": 2_000.0}}
    return results(
        rows=rows,
        loads=loads,
        memory=memory,
        growth=[Grown(1_000, {"append": 1.5}, {"append": 1e-4}, 900.0)],
        clusters=[Spread(1, 9_000.0, 1e-3, 2e-5)],
        left_out={"Langflow, PostgreSQL": "PostgreSQL is not installed"},
        counts={"append": count()},
        seconds=61.0,
    )
