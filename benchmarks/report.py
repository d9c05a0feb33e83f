"""The tables of a run: in the terminal, and as Markdown.

``python -m benchmarks.report results.json`` prints the Markdown of a run that was saved, and draws its charts
with ``--charts FOLDER``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from benchmarks import charts
from benchmarks.results import Results
from benchmarks.subjects import BY_NAME, OURS, RAW
from benchmarks.targets import missed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from benchmarks.questions import Question
    from benchmarks.rounds import Cell

_DASH = "–"


def show(results: Results, console: Console) -> None:
    """All tables, and what the marks in them mean."""
    for table in tables(results):
        console.print(table)
        console.print()
    for line in footnotes(results):
        console.print(line)
    for line in missed(results):
        console.print(f"missed: {line}", style="red")


def tables(results: Results) -> Iterator[Table]:
    if results.rows:
        yield _questions(results)
    if results.loads:
        yield _clients(results)
    if results.memory:
        yield _memory(results)
    if results.growth:
        yield _growth(results)
    if results.clusters:
        yield _clusters(results)


def footnotes(results: Results) -> list[str]:
    """What the marks say, and why there is no figure where there is a dash with a number."""
    lines = [
        "× is the time of a call to that of raw Redis commands, in the same rounds; µs is the median call."
    ]
    lines += [f"{mark} {text}" for text, mark in _marks(results).items()]
    lines += [f"{label} is left out: {reason}" for label, reason in results.left_out.items()]
    return lines


def _questions(results: Results) -> Table:
    subjects = [name for name in results.rows[0][1] if name != RAW.name]
    marks = _marks(results)
    table = _table("one client", "what", "raw", "must reach", *(BY_NAME[name].label for name in subjects))
    for question, row in results.rows:
        table.add_row(
            question.title,
            f"{row[RAW.name].median * 1e6:,.0f} µs" if row[RAW.name].seconds else _DASH,
            _target(question, row[OURS.name]),
            *(_shown(row[name], marks) for name in subjects),
        )
    return table


def _target(question: Question, ours: Cell) -> Text:
    if question.target is None:
        return Text()
    over = bool(ours.ratios) and ours.ratio > question.target
    return Text(f"≤ {question.target:g} ×{', missed' if over else ''}", style="red" if over else "")


def _shown(cell: Cell, marks: dict[str, str]) -> str:
    if cell.missing:
        return _DASH + marks.get(cell.missing, "")
    ratio = cell.ratio
    digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
    return f"{ratio:,.{digits}f} ×{marks.get(cell.mark, '')}"


def _marks(results: Results) -> dict[str, str]:
    """A number for each reason that stands behind a figure or a dash."""
    reasons: dict[str, str] = {}
    for _, row in results.rows:
        for cell in row.values():
            for reason in (cell.mark, cell.missing):
                if reason and reason != "cannot" and reason not in reasons:
                    reasons[reason] = f"[{len(reasons) + 1}]"
    return reasons


def _clients(results: Results) -> Table:
    table = _table(
        "many clients", "what", "clients", "subject", "a second", "p50", "p99", "server CPU a call"
    )
    for load in results.loads:
        spent = _DASH if load.server_seconds is None else f"{load.server_seconds * 1e6:,.1f} µs"
        table.add_row(
            load.operation,
            f"{load.clients}",
            BY_NAME[load.subject].label,
            f"{load.rate:,.0f}",
            f"{load.p50 * 1e3:,.2f} ms",
            f"{load.p99 * 1e3:,.2f} ms",
            spent,
        )
    return table


def _memory(results: Results) -> Table:
    lengths = sorted(results.memory)
    table = _table(
        "memory of a message with a text of 600 bytes",
        "subject",
        *(f"in sessions of {length:,}" for length in lengths),
    )
    for name in {name: None for length in lengths for name in results.memory[length]}:
        sizes = (results.memory[length].get(name) for length in lengths)
        table.add_row(BY_NAME[name].label, *(_DASH if size is None else f"{size:,.0f} B" for size in sizes))
    return table


def _growth(results: Results) -> Table:
    operations = list(results.growth[0].ratios)
    table = _table(
        "redis-sessions beside more and more sessions of its flow", "sessions", *operations, "a session"
    )
    for grown in results.growth:
        table.add_row(
            f"{grown.sessions:,}",
            *(f"{grown.ratios[name]:.2f} ×" for name in operations),
            f"{grown.session_bytes:,.0f} B",
        )
    return table


def _clusters(results: Results) -> Table:
    table = _table("clusters, 64 clients", "primaries", "appends a second", "p50", "server CPU an append")
    for spread in results.clusters:
        table.add_row(
            f"{spread.primaries}",
            f"{spread.rate:,.0f}",
            f"{spread.p50 * 1e3:,.2f} ms",
            f"{spread.server_seconds * 1e6:,.1f} µs",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", overflow="fold")
    return table


def markdown(results: Results) -> str:
    """Everything that :func:`show` shows, as a page."""
    about = ", ".join(f"{name} {value}" for name, value in results.about.items())
    parts = [f"{about}. {results.noise}.\n"]
    parts += [f"**{table.title}**\n\n{as_markdown(table)}" for table in tables(results)]
    lines = [*footnotes(results), *(f"Missed: {line}" for line in missed(results))]
    parts.append("".join(f"- {line}\n" for line in lines))
    return "\n".join(parts)


def as_markdown(table: Table) -> str:
    """The table without its title."""
    columns = [[str(heading.header), *map(str, heading.cells)] for heading in table.columns]
    rows = list(zip(*columns, strict=True))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(columns) - 1))
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="The Markdown of a run that was saved."
    )
    parser.add_argument("results", type=Path, help="what python -m benchmarks --json wrote")
    parser.add_argument("--charts", type=Path, help="draw its charts into this folder")
    given = parser.parse_args(arguments)
    results = Results.load(given.results)
    print(markdown(results), end="")
    if given.charts:
        charts.draw(results, given.charts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
