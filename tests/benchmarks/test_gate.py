from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import gate
from benchmarks.counts import CASES
from benchmarks.gate import bounds_of, exceeded, questions_of
from benchmarks.memory import SHAPES
from benchmarks.noise import Noise
from benchmarks.questions import questions
from benchmarks.rounds import Cell
from tests.benchmarks.runs import answer, count, question, results

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.gate import Bounds

_NOISY = Noise(1.3, 0.5, 3.0, 9.0)


def bounds(**kinds: Any) -> Bounds:
    none: Bounds = {"counts": {}, "memory": {}, "cpu": {}, "times": {}}
    return none | kinds  # type: ignore[return-value]


def test_a_ratio_within_its_bound_passes() -> None:
    assert exceeded(results(), bounds(times={"append": 1.5})) == {}


def test_a_ratio_over_its_bound_is_told() -> None:
    assert exceeded(results(), bounds(times={"append": 1.4})) == {
        "times append": "append: 1.50 × the time of raw, over its bound of 1.4"
    }


def test_one_slow_round_is_not_a_regression() -> None:
    row = {"raw": answer(1.0, 1.0, 1.0), "ours": answer(1.4, 9.0, 1.4)}
    assert exceeded(results(rows=[(question(), row)]), bounds(times={"append": 1.5})) == {}


def test_times_of_a_noisy_machine_mean_nothing() -> None:
    run = results()
    run.noise = _NOISY
    assert exceeded(run, bounds(times={"append": 1.4})) == {}


def test_cpu_time_counts_on_a_noisy_machine_too() -> None:
    row = {"raw": answer(1.0, 1.0, 1.0), "ours": answer(1.0, 1.0, 1.0, cpu=3.0)}
    run = results(rows=[(question(), row)])
    run.noise = _NOISY
    assert exceeded(run, bounds(cpu={"append": 3.1})) == {}
    assert exceeded(run, bounds(cpu={"append": 2.9})) == {
        "cpu append": "append: 3.00 × the CPU time of raw, over its bound of 2.9"
    }


def test_a_bound_for_nothing_is_told() -> None:
    assert exceeded(results(), bounds(times={"apend": 2.0})) == {
        "times apend": "apend: not measured (no such question)"
    }


def test_a_bound_for_what_failed_is_told() -> None:
    row = {"raw": answer(1.0), "ours": Cell(missing="timed out")}
    assert exceeded(results(rows=[(question(), row)]), bounds(cpu={"append": 2.0})) == {
        "cpu append": "append: not measured (timed out)"
    }


def test_a_bound_of_memory_is_for_the_bytes_to_those_of_raw() -> None:
    run = results(memory={20: {"raw": 600.0, "ours": 660.0}})
    assert exceeded(run, bounds(memory={"20": 1.15})) == {}
    (line,) = exceeded(run, bounds(memory={"20": 1.05})).values()
    assert line == "memory in sessions of 20: 1.100 × the bytes of raw, over its bound of 1.05"
    (line,) = exceeded(run, bounds(memory={"21": 1.05})).values()
    assert "not measured" in line


_COUNT = {"commands": 2.0, "sent": 100.0, "received": 50.0, "trips": 1.0, "functions": 200.0}


def test_what_consists_of_as_much_as_before_passes() -> None:
    assert exceeded(results(counts={"append": count()}), bounds(counts={"append": _COUNT})) == {}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"commands": {"xadd": 2.0, "xrange": 1.0}},
            "append: 3.0 commands a call (2 xadd, 1 xrange), over the bound of 2",
        ),
        ({"trips": 2}, "append: 2.0 round trips a call, over the bound of 1"),
        ({"sent": 120}, "append: 120.0 bytes sent a call, over the bound of 100"),
        ({"received": 60}, "append: 60.0 bytes received a call, over the bound of 50"),
        ({"functions": 230}, "append: 230.0 function calls of the client a call, over the bound of 200"),
    ],
)
def test_each_count_over_its_bound_is_told(more: dict[str, float], line: str) -> None:
    found = exceeded(results(counts={"append": count(**more)}), bounds(counts={"append": _COUNT}))
    assert list(found.values()) == [line]


def test_what_was_not_counted_is_told() -> None:
    assert exceeded(results(), bounds(counts={"append": _COUNT})) == {
        "counts append all": "append: not counted"
    }


def test_only_times_are_asked_for_once_more() -> None:
    over = {"cpu append": "", "times update": "", "memory 20": "", "counts list sent": ""}
    assert questions_of(over) == {"append", "update"}


def test_a_run_passes_the_bounds_that_it_has_set() -> None:
    row = {"raw": answer(1.0, 1.0), "ours": answer(1.4, 1.5, cpu=2.0)}
    run = results(
        rows=[(question(), row)],
        counts={"append": count()},
        memory={20: {"raw": 600.0, "ours": 660.0}},
    )
    found = bounds_of(run, bounds())
    assert found["cpu"] == {"append": 2.8}
    assert found["memory"] == {"20": 1.133}
    assert exceeded(run, found) == {}


def test_a_noisy_run_sets_no_bounds_of_times() -> None:
    run = results()
    run.noise = _NOISY
    assert bounds_of(run, bounds(times={"append": 3.0}))["times"] == {"append": 3.0}


def test_bounds_that_were_written_are_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "BOUNDS", tmp_path / "bounds.json")
    some = bounds(counts={"append": _COUNT}, times={"append": 3.0, "update": 5.0})
    gate.write(some)
    assert gate.read() == some
    assert '  "update": 5.0' in gate.BOUNDS.read_text().splitlines()


def test_every_committed_bound_is_for_something_that_the_quick_run_measures() -> None:
    committed = json.loads(gate.BOUNDS.read_text())
    known = {one.key for one in questions(quick=True)}
    assert committed["cpu"].keys() <= known
    assert committed["times"].keys() <= known
    assert committed["memory"].keys() == {str(length) for length, _ in SHAPES}
    assert committed["counts"].keys() == CASES.keys()
