"""The tables of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from benchmarks.charts import duration
from benchmarks.clients import COUNTS
from benchmarks.subjects import BY_NAME, OURS, OURS_BLOCKING, OWN, RAW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.questions import Question
    from benchmarks.results import Results
    from benchmarks.rounds import Cell

_DASH = "–"
_SUMMARY = {
    "append",
    "append-long",
    "history-100-hundred",
    "history-100-longest",
    "wire-longest",
    "update",
    "delete-message",
    "rename-long",
    "delete-long",
    "list",
    "recent",
}


def tables(results: Results) -> Iterator[Table]:
    if results.rows:
        yield questions(results)
        yield _server(results)
    if results.loads:
        yield _clients(results)
    if results.memory:
        yield memory(results)
    if results.growth:
        yield _growth(results)
    if results.clusters:
        yield _clusters(results)
    if results.counts:
        yield counts(results)


def footnotes(results: Results) -> list[str]:
    """What the marks say, and why there is no figure where there is a dash with a number."""
    lines = [
        "× is the time of a call to that of raw Redis commands, in the same rounds; µs is the median call."
    ]
    lines += [f"{mark} {text}" for text, mark in _marks(results).items()]
    lines += [f"{label} is left out: {reason}" for label, reason in results.left_out.items()]
    return lines


def questions(results: Results) -> Table:
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


def _server(results: Results) -> Table:
    """Only of those that use a Redis."""
    subjects = [name for name in results.rows[0][1] if any(row[name].servers for _, row in results.rows)]
    table = _table("server CPU a call, one client", "what", *(BY_NAME[name].label for name in subjects))
    for question, row in results.rows:
        spent = [row[name].server_seconds for name in subjects]
        table.add_row(question.title, *(_DASH if one is None else duration(one) for one in spent))
    return table


def counts(results: Results) -> Table:
    table = _table(
        "what a call of redis-sessions consists of",
        "what",
        "commands",
        "round trips",
        "bytes sent",
        "bytes received",
        "function calls of the client",
    )
    for name, count in results.counts.items():
        table.add_row(
            name,
            f"{count.total:,.0f}",
            f"{count.trips:,.0f}",
            f"{count.sent:,.0f}",
            f"{count.received:,.0f}",
            f"{count.functions:,.0f}",
        )
    return table


def summary(results: Results) -> Table:
    """The rows that tell most, each with the best of the others."""
    table = _table(
        "", "what", "raw Redis", "redis-sessions", "must reach", "its blocking store", "best of the others"
    )
    for question, row in results.rows:
        if question.key not in _SUMMARY:
            continue
        ours = row[OURS.name]
        others = {name: cell.median for name, cell in row.items() if name not in OWN and cell.seconds}
        blocking = row.get(OURS_BLOCKING.name)
        best = min(others, key=others.__getitem__, default=None)
        table.add_row(
            question.title,
            duration(row[RAW.name].median) if row[RAW.name].seconds else _DASH,
            f"{duration(ours.median)}, {_shown(ours, {})}" if ours.seconds else _DASH,
            _target(question, ours),
            duration(blocking.median) if blocking is not None and blocking.seconds else _DASH,
            _DASH if best is None else f"{BY_NAME[best].label} {duration(others[best])}",
        )
    for length, sizes in sorted(results.memory.items()):
        _add_measured(
            table,
            f"bytes of a message of 600, in sessions of {length:,}",
            sizes,
            lambda size: f"{size:,.0f} B",
            smallest=True,
        )
    rates = {
        load.subject: load.rate
        for load in results.loads
        if load.operation == "append" and load.clients == max(COUNTS)
    }
    _add_measured(
        table,
        f"appends a second, {max(COUNTS)} clients",
        rates,
        lambda rate: f"{rate:,.0f} / s",
        smallest=False,
    )
    return table


def _add_measured(
    table: Table, title: str, found: dict[str, float], said: Callable[[float], str], *, smallest: bool
) -> None:
    if RAW.name not in found or OURS.name not in found:
        return
    raw, ours = found[RAW.name], found[OURS.name]
    others = {name: value for name, value in found.items() if name not in OWN}
    best = (min if smallest else max)(others, key=others.__getitem__, default=None)
    table.add_row(
        title,
        said(raw),
        f"{said(ours)}, {ours / raw:.2f} ×",
        "",
        said(found[OURS_BLOCKING.name]) if OURS_BLOCKING.name in found else _DASH,
        _DASH if best is None else f"{BY_NAME[best].label} {said(others[best])}",
    )


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
            load.title,
            f"{load.clients}",
            BY_NAME[load.subject].label,
            f"{load.rate:,.0f}",
            f"{load.p50 * 1e3:,.2f} ms",
            f"{load.p99 * 1e3:,.2f} ms",
            spent,
        )
    return table


def memory(results: Results) -> Table:
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
