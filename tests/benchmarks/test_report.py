from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.results import Results
from tests.benchmarks.runs import answer, question, results, whole

if TYPE_CHECKING:
    from pathlib import Path


def page(run: Results) -> str:
    out = io.StringIO()
    report.show(run, Console(file=out, width=250))
    return out.getvalue()


def row_of(run: Results, title: str) -> list[str]:
    line = next(line for line in report.markdown(run).splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_somebody_cannot_do_is_a_dash_and_what_is_not_the_same_has_a_mark() -> None:
    cells = row_of(whole(), "the history-100-hundred")
    assert cells == ["the history-100-hundred", "100 µs", "≤ 2.5 ×", "2.00 ×", "40.0 ×[1]", "–", "–[2]"]
    text = page(whole())
    assert "[1] reads all" in text
    assert "[2] not beyond 10 messages" in text


def test_every_part_has_a_table() -> None:
    text = page(whole())
    for heading in (
        "one client",
        "many clients",
        "memory of",
        "redis-sessions beside",
        "clusters, 64",
        "server CPU a call",
        "consists of",
    ):
        assert heading in text
    assert "Langflow, PostgreSQL is left out: PostgreSQL is not installed" in text


def test_a_missed_target_is_told() -> None:
    row = {"raw": answer(1.0), "ours": answer(1.7)}
    run = results(rows=[(question(), row)])
    assert row_of(run, "the append")[2] == "≤ 1.6 ×, missed"
    assert "missed: the append: 1.70 × raw, not at most 1.6" in page(run)


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


def test_a_summary_has_the_best_of_the_others_in_each_row() -> None:
    row = {
        "raw": answer(1.0),
        "ours": answer(1.5),
        "ours_blocking": answer(1.2),
        "llama_index": answer(40.0),
        "redisvl": answer(7.0),
    }
    run = results(rows=[(question(), row), (question("history-20-hundred"), row)])
    heading, _, *lines = report.view(run, "summary").splitlines()
    assert (
        heading
        == "| what | raw Redis | redis-sessions | must reach | its blocking store | best of the others |"
    )
    assert lines == ["| the append | 100 µs | 150 µs, 1.50 × | ≤ 1.6 × | 120 µs | redisvl 700 µs |"]


def test_the_others_are_shown_side_by_side_with_what_the_marks_say() -> None:
    shown = report.view(whole(), "peers")

    assert "| the history-100-hundred | 100 µs | ≤ 2.5 × | 2.00 × | 40.0 ×[1] | – | –[2] |" in shown
    assert "in sessions of" in shown
    assert "- [1] reads all" in shown
    assert "many clients" not in shown


def test_a_summary_has_memory_and_throughput() -> None:
    lines = report.view(whole(), "summary").splitlines()
    assert "| bytes of a message of 600, in sessions of 20 | 640 B | 700 B, 1.09 × |  | – | – |" in lines
    appends = "| appends a second, 64 clients | 64,000 / s | 64,000 / s, 1.00 × |  | – |"
    assert f"{appends} Langflow, SQLite 64,000 / s |" in lines


def test_a_document_gets_its_tables_between_its_markers(tmp_path: Path) -> None:
    whole().save(tmp_path / "results.json")
    document = tmp_path / "README.md"
    document.write_text(
        "before\n<!-- benchmarks: summary -->\nold\n<!-- /benchmarks -->\nbetween\n"
        "<!-- benchmarks: charts docs/charts -->\n<!-- /benchmarks -->\nafter\n"
    )
    report.main([str(tmp_path / "results.json"), "--update", str(document)])
    text = document.read_text()
    assert text.startswith("before\n<!-- benchmarks: summary -->\n\n| what |")
    assert "\n<!-- /benchmarks -->\nbetween\n" in text
    assert "old" not in text
    assert text.count("](docs/charts/") == 3
    report.main([str(tmp_path / "results.json"), "--update", str(document)])
    assert document.read_text() == text


@pytest.mark.parametrize("text", ["nothing\n", "<!-- benchmarks: sumary -->\n<!-- /benchmarks -->\n"])
def test_a_document_without_a_place_for_tables_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole().save(tmp_path / "results.json")
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        report.main([str(tmp_path / "results.json"), "--update", str(tmp_path / "README.md")])
    assert "README.md: no " in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == text
