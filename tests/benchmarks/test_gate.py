from __future__ import annotations

import json
from pathlib import Path

import benchmarks
from benchmarks.gate import exceeded
from benchmarks.memory import SHAPES
from benchmarks.questions import questions
from benchmarks.rounds import Cell
from tests.benchmarks.runs import answer, question, results


def test_a_ratio_within_its_bound_passes() -> None:
    assert exceeded(results(), {"append": 1.5}) == {}


def test_a_ratio_over_its_bound_is_told_with_its_spread() -> None:
    line = exceeded(results(), {"append": 1.4})["append"]
    assert line.startswith("append: 1.50 × raw, over its bound of 1.4")
    assert "1.40 to 1.70" in line


def test_one_slow_round_is_not_a_regression() -> None:
    row = {"raw": answer(1.0), "ours": answer(1.4, 9.0, 1.4)}
    assert exceeded(results(rows=[(question(), row)]), {"append": 1.5}) == {}


def test_a_bound_for_nothing_is_told() -> None:
    assert exceeded(results(), {"apend": 2.0}) == {"apend": "apend: not measured (no such question)"}


def test_a_bound_for_what_failed_is_told() -> None:
    row = {"raw": answer(1.0), "ours": Cell(missing="timed out")}
    assert exceeded(results(rows=[(question(), row)]), {"append": 2.0}) == {
        "append": "append: not measured (timed out)"
    }


def test_a_bound_of_memory_is_for_the_bytes_to_those_of_raw() -> None:
    run = results(memory={20: {"raw": 600.0, "ours": 660.0}})
    assert exceeded(run, {"memory-20": 1.15}) == {}
    (line,) = exceeded(run, {"memory-20": 1.05}).values()
    assert line == "memory-20: 1.10 × the bytes of raw, over its bound of 1.05"
    (line,) = exceeded(run, {"memory-21": 1.05}).values()
    assert "not measured" in line


def test_every_committed_bound_is_for_a_question_of_the_quick_run() -> None:
    bounds = json.loads((Path(benchmarks.__file__).parent / "bounds.json").read_text())
    known = {one.key for one in questions(quick=True)} | {f"memory-{length}" for length, _ in SHAPES}
    assert bounds.keys() <= known
    assert all(bound > 0 for bound in bounds.values())
