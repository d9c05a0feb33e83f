"""Is it as good as it should be? What redis-sessions promises of itself, against what a run found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.subjects import BY_NAME, OURS, RAW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results

_FLAT = 1.3
_FLAT_PAIRS = (
    ("history-100-hundred", "history-100-longest"),
    ("wire-hundred", "wire-longest"),
    ("rename-100", "rename-long"),
)
"""Rows whose times are to be the same, within a factor of ``_FLAT``."""
_LONG = 10_000
_BEHIND_AT_SHORT = 1.5
_SHARE_OF_RAW = 0.7
_CLIENTS = 64


def missed(results: Results) -> list[str]:
    """What was measured and is not good enough, a line each."""
    return [*_ratios(results), *_flatness(results), *_peers(results), *_throughput(results)]


def _ratios(results: Results) -> Iterator[str]:
    for question, row in results.rows:
        ours = row[OURS.name]
        if question.target is not None and ours.ratios and ours.ratio > question.target:
            yield f"{question.title}: {ours.ratio:.2f} × raw, not at most {question.target:g}"


def _flatness(results: Results) -> Iterator[str]:
    rows = {question.key: (question, row[OURS.name]) for question, row in results.rows}
    for short, long in _FLAT_PAIRS:
        if short in rows and long in rows and rows[short][1].seconds and rows[long][1].seconds:
            ratio = rows[long][1].median / rows[short][1].median
            if ratio > _FLAT:
                yield (
                    f"{rows[long][0].title}: {ratio:.2f} × the time of {rows[short][0].title}, "
                    f"not at most {_FLAT:g}"
                )


def _peers(results: Results) -> Iterator[str]:
    """Ahead of all at long sessions, and not far behind anybody at short ones."""
    for question, row in results.rows:
        most = 1.0 if question.length >= _LONG else _BEHIND_AT_SHORT
        for name, cell in row.items():
            if name in (RAW.name, OURS.name) or not cell.seconds or not row[OURS.name].seconds:
                continue
            ratio = row[OURS.name].median / cell.median
            if ratio > most:
                yield (
                    f"{question.title}: {ratio:.2f} × the time of {BY_NAME[name].label}, not at most {most:g}"
                )


def _throughput(results: Results) -> Iterator[str]:
    """What a second of the server's CPU carries, of appends, to what it carries of raw ones."""
    spent = {
        load.subject: load.server_seconds
        for load in results.loads
        if load.operation == "append" and load.clients == _CLIENTS
    }
    raw, ours = spent.get(RAW.name), spent.get(OURS.name)
    if raw and ours and raw / ours < _SHARE_OF_RAW:
        yield (
            f"append, {_CLIENTS} clients: {raw / ours:.2f} of what a second of the server carries of raw "
            f"appends, not at least {_SHARE_OF_RAW:g}"
        )
