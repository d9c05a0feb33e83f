"""The tables of a run: in the terminal, and as Markdown.

``python -m benchmarks.report results.json`` prints the Markdown of a run that was saved. ``--charts FOLDER``
draws its charts, and ``--update FILE …`` puts its tables into documents, between lines that say which::

    <!-- benchmarks: summary -->
    <!-- /benchmarks -->
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import charts
from benchmarks.results import Results
from benchmarks.tables import counts, footnotes, memory, questions, summary, tables
from benchmarks.targets import missed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

_MARKED = re.compile(r"(<!-- benchmarks: ([a-z]+)(?: ([^ ]+))? -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)


def show(results: Results, console: Console) -> None:
    """All tables, and what the marks in them mean."""
    for table in tables(results):
        console.print(table)
        console.print()
    for line in footnotes(results):
        console.print(line)
    for line in missed(results):
        console.print(f"missed: {line}", style="red")


def markdown(results: Results) -> str:
    """Everything that :func:`show` shows, as a page."""
    parts = [_where(results)]
    parts += [f"**{table.title}**\n\n{as_markdown(table)}" for table in tables(results)]
    parts.append(_notes(results))
    return "\n".join(parts)


def view(results: Results, name: str, folder: str = "") -> str:
    """One part of a run, as Markdown.

    Args:
        name: ``summary``, ``tables`` (all of them), ``peers`` (all subjects with one client, and memory),
            ``counts``, ``missed``, or ``charts``.
        folder: where the charts are, seen from the document.

    Raises:
        ValueError: there is no such view.
    """
    match name:
        case "summary":
            return as_markdown(summary(results))
        case "tables":
            return markdown(results)
        case "peers":
            parts = [
                *([questions(results)] if results.rows else []),
                *([memory(results)] if results.memory else []),
            ]
            notes = "".join(f"- {line}\n" for line in footnotes(results))
            return "\n".join([_where(results), *map(as_markdown, parts), notes])
        case "counts":
            return as_markdown(counts(results))
        case "missed":
            return "".join(f"- {line}\n" for line in missed(results)) or "Nothing.\n"
        case "charts":
            return "\n".join(
                f"![{chart.alt}]({folder.rstrip('/')}/{chart.name}.svg)\n" for chart in charts.charts(results)
            )
    raise ValueError(f"no such view of benchmarks: {name}")


def update(document: str, results: Results) -> str:
    """The document with what is between its markers made anew.

    Raises:
        ValueError: it has no markers, or they name no view.
    """

    def made(found: re.Match[str]) -> str:
        return f"{found[1]}\n{view(results, found[2], found[3] or '')}\n{found[4]}"

    updated, count = _MARKED.subn(made, document)
    if not count:
        raise ValueError("no line <!-- benchmarks: … --> with a <!-- /benchmarks --> after it")
    return updated


def _where(results: Results) -> str:
    about = ", ".join(f"{name} {value}" for name, value in results.about.items())
    return f"{about}. {results.noise}. It took {results.seconds:,.0f} s.\n"


def _notes(results: Results) -> str:
    lines = [*footnotes(results), *(f"Missed: {line}" for line in missed(results))]
    return "".join(f"- {line}\n" for line in lines)


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
    parser.add_argument(
        "--update", type=Path, nargs="+", metavar="FILE", help="documents whose tables are made anew"
    )
    given = parser.parse_args(arguments)
    results = Results.load(given.results)
    if given.charts:
        charts.draw(results, given.charts)
    if not given.update:
        print(markdown(results), end="")
    for path in given.update or ():
        try:
            path.write_text(update(path.read_text(), results))
        except ValueError as error:
            parser.error(f"{path}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
