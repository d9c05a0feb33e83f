"""Is it as good as it should be? What redis-sessions promises of itself, against what a run found."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.subjects import BY_NAME, OURS, OURS_BLOCKING, OWN, RAW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results

_FLAT = 1.3
_FLAT_PAIRS = (
    ("history-100-hundred", "history-100-longest"),
    ("wire-hundred", "wire-longest"),
    ("rename-100", "rename-long"),
    ("delete-100", "delete-long"),
)
"""Rows whose times are to be the same, within a factor of ``_FLAT``."""
_LONG = 10_000
_BEHIND_AT_SHORT = 1.5
_SHARE_OF_RAW = 0.7
_CLIENTS = 64


def missed(results: Results) -> list[str]:
    """What was measured and is not good enough, a line each."""
    return [
        *_ratios(results),
        *_flatness(results),
        *_peers(results),
        *_server(results),
        *_rates(results),
        *_memory(results),
    ]


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


def _most(length: int) -> float:
    """How far behind a peer it may be: not at all at long sessions, a little at short ones."""
    return 1.0 if length >= _LONG else _BEHIND_AT_SHORT


def _alike(name: str) -> str:
    """Which of ours does as a peer does: it blocks, or it does not."""
    return OURS_BLOCKING.name if BY_NAME[name].blocking else OURS.name


def _peers(results: Results) -> Iterator[str]:
    for question, row in results.rows:
        most = _most(question.length)
        for name, cell in row.items():
            ours = row.get(_alike(name), row[OURS.name])
            if name in OWN or not cell.seconds or not ours.seconds:
                continue
            # In the same rounds: who is slow is asked in the first ones only.
            ratio = median(mine / theirs for mine, theirs in zip(ours.seconds, cell.seconds, strict=False))
            if ratio > most:
                yield (
                    f"{question.title}: {ratio:.2f} × the time of {BY_NAME[name].label}, not at most {most:g}"
                )


def _server(results: Results) -> Iterator[str]:
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


def _rates(results: Results) -> Iterator[str]:
    ours = {
        (load.operation, load.clients, load.subject): load.rate
        for load in results.loads
        if load.subject in OWN
    }
    for load in results.loads:
        if load.subject in OWN:
            continue
        where = (load.operation, load.clients)
        mine = ours.get((*where, _alike(load.subject))) or ours.get((*where, OURS.name))
        if mine is None:
            continue
        most = _most(load.length)
        if load.rate / mine > most:
            yield (
                f"{load.title}, {load.clients} clients: {BY_NAME[load.subject].label} has "
                f"{load.rate / mine:.2f} × the throughput, not at most {most:g}"
            )


def _memory(results: Results) -> Iterator[str]:
    for length, sizes in results.memory.items():
        for name, size in sizes.items():
            if name in OWN or OURS.name not in sizes or size <= 0:
                continue
            ratio, most = sizes[OURS.name] / size, _most(length)
            if ratio > most:
                yield (
                    f"memory in sessions of {length:,}: {ratio:.2f} × the bytes of {BY_NAME[name].label}, "
                    f"not at most {most:g}"
                )
