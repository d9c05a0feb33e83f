from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks import charts, report
from benchmarks.results import Results
from tests.benchmarks.runs import answer, question, results, whole

if TYPE_CHECKING:
    from pathlib import Path


def page(run: Results) -> str:
    out = io.StringIO()
    report.show(run, Console(file=out, width=250))
    return out.getvalue()


def row_of(run: Results, title: str) -> list[str]:
    (line,) = [line for line in report.markdown(run).splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_somebody_cannot_do_is_a_dash_and_what_is_not_the_same_has_a_mark() -> None:
    cells = row_of(whole(), "the history-100-hundred")
    assert cells == ["the history-100-hundred", "100 µs", "≤ 2.5 ×", "2.00 ×", "40.0 ×[1]", "–", "–[2]"]
    text = page(whole())
    assert "[1] reads all" in text
    assert "[2] not beyond 10 messages" in text


def test_every_part_has_a_table() -> None:
    text = page(whole())
    for heading in ("one client", "many clients", "memory of", "redis-sessions beside", "clusters, 64"):
        assert heading in text
    assert "Langflow, PostgreSQL is left out: PostgreSQL is not installed" in text


def test_a_missed_target_is_told() -> None:
    row = {"raw": answer(1.0), "ours": answer(1.7)}
    run = results(rows=[(question(), row)])
    assert row_of(run, "the append")[2] == "≤ 1.6 ×, missed"
    assert "missed: the append: 1.70 × raw, not at most 1.6" in page(run)


@pytest.mark.parametrize(
    ("length", "ours", "line"),
    [
        (100, 1.4, None),
        (100, 1.6, "the append: 1.60 × the time of redisvl, not at most 1.5"),
        (10_000, 0.9, None),
        (10_000, 1.1, "the append: 1.10 × the time of redisvl, not at most 1"),
    ],
)
def test_being_behind_a_peer_is_told(length: int, ours: float, line: str | None) -> None:
    row = {"raw": answer(1.0), "ours": answer(ours), "redisvl": answer(1.0)}
    run = results(rows=[(question(length=length, target=None), row)])
    assert report.missed(run) == ([line] if line else [])


def test_a_history_that_slows_down_with_its_length_is_told() -> None:
    rows = [
        (question(f"history-100-{name}", target=None), {"raw": answer(1.0), "ours": answer(ratio)})
        for name, ratio in (("hundred", 1.0), ("longest", 1.4))
    ]
    (line,) = report.missed(results(rows=rows))
    assert line.startswith("the history-100-longest: 1.40 × the time of the history-100-hundred")


def test_saved_results_are_shown_like_those_of_the_run(tmp_path: Path) -> None:
    whole().save(tmp_path / "results.json")
    assert page(Results.load(tmp_path / "results.json")) == page(whole())


def test_the_command_prints_a_saved_run_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole().save(tmp_path / "results.json")
    report.main([str(tmp_path / "results.json"), "--charts", str(tmp_path / "charts")])
    assert capsys.readouterr().out == report.markdown(whole())
    assert len(list((tmp_path / "charts").iterdir())) == 3


def test_the_same_results_are_the_same_bytes_of_charts(tmp_path: Path) -> None:
    first, second = charts.draw(whole(), tmp_path / "1"), charts.draw(whole(), tmp_path / "2")
    assert [path.name for path in first] == ["history.svg", "clients.svg", "memory.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert ET.parse(one).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert "redis-sessions" in one.read_text()


def test_charts_of_what_was_not_measured_are_not_drawn(tmp_path: Path) -> None:
    assert charts.draw(results(), tmp_path) == []
