"""Has something become slower, or larger? What a run found, against ``bounds.json``.

``counts``: what a call consists of, which is the same on every machine. Its bounds are what was measured,
with the slack below. ``memory``: the bytes of a message to those of raw Redis, as steady.

``cpu``: CPU time of client and server for a call, to that of raw Redis in the same round. Others that use the
machine take time, and hardly any of this CPU, so that these bounds hold on a busy machine. ``times``: the
same of the time that passes; looked at only where the machine is quiet enough to tell.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from benchmarks.subjects import OURS, RAW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.counts import Count
    from benchmarks.results import Results
    from benchmarks.rounds import Cell, Row

BOUNDS = Path(__file__).parent / "bounds.json"

_NO_BOUND = {"feed", "delete-100", "delete-long"}
"""Of too few calls, or of waiting: their times are not steady."""
_CPU, _TIMES, _MEMORY = 1.4, 2.0, 1.03
"""What bounds are to what was measured when they are written."""
_MORE = 0.1
"""Commands and trips of a call that come now and then: looking at the server's clock."""
_BYTES, _MORE_BYTES, _FUNCTIONS = 1.02, 8, 1.1
"""The same; and libraries call other functions in their next version."""


class Bounds(TypedDict):
    """By name of what was counted, and by question or length of sessions."""

    counts: dict[str, dict[str, float]]
    memory: dict[str, float]
    cpu: dict[str, float]
    times: dict[str, float]


def exceeded(results: Results, bounds: Bounds) -> dict[str, str]:
    """What is over its bound, and bounds that nothing was measured for, each with a line that says so.

    The names of those that may be noise, and may be asked again, are of ``questions_of``.
    """
    lines: dict[str, str] = {}
    for name, most in bounds["counts"].items():
        lines |= {
            f"counts {name} {what}": f"{name}: {line}"
            for what, line in _count_over(results.counts.get(name), most)
        }
    for length, bound in bounds["memory"].items():
        ratio = _memory_ratio(results, int(length))
        if ratio is None:
            lines[f"memory {length}"] = f"memory in sessions of {length}: not measured"
        elif ratio > bound:
            lines[f"memory {length}"] = (
                f"memory in sessions of {length}: {ratio:.3f} × the bytes of raw, over its bound of {bound:g}"
            )
    rows = {question.key: row for question, row in results.rows}
    judged = (
        {"cpu": bounds["cpu"]}
        if results.noise.too_noisy
        else {"cpu": bounds["cpu"], "times": bounds["times"]}
    )
    for kind, found in judged.items():
        for key, bound in found.items():
            row = rows.get(key)
            if row is None or row[OURS.name].missing:
                missing = "no such question" if row is None else row[OURS.name].missing
                lines[f"{kind} {key}"] = f"{key}: not measured ({missing})"
            elif (ratio := _ratio(kind, row)) > bound:
                what = "CPU time" if kind == "cpu" else "time"
                lines[f"{kind} {key}"] = (
                    f"{key}: {ratio:.2f} × the {what} of raw, over its bound of {bound:g}"
                )
    return lines


def questions_of(over: dict[str, str]) -> frozenset[str]:
    """The questions that are to be asked once more: noise comes and goes."""
    return frozenset(name.split()[1] for name in over if name.startswith(("cpu ", "times ")))


def bounds_of(results: Results, before: Bounds) -> Bounds:
    """The bounds that this run just passes. What it did not measure, or could not tell, stays as it was."""
    rows = {
        question.key: row
        for question, row in results.rows
        if question.key not in _NO_BOUND and not row[OURS.name].missing
    }
    found: Bounds = {
        "counts": {
            name: {
                "commands": round(count.total, 2),
                "trips": round(count.trips, 2),
                "sent": round(count.sent),
                "received": round(count.received),
                "functions": round(count.functions),
            }
            for name, count in results.counts.items()
        },
        "memory": {
            str(length): round(ratio * _MEMORY, 3)
            for length in results.memory
            if (ratio := _memory_ratio(results, length)) is not None
        },
        "cpu": {key: round(_ratio("cpu", row) * _CPU, 2) for key, row in rows.items()},
        "times": {key: round(_ratio("times", row) * _TIMES, 2) for key, row in rows.items()},
    }
    if results.noise.too_noisy:
        found["times"] = {}
    return {
        "counts": found["counts"] or before["counts"],
        "memory": found["memory"] or before["memory"],
        "cpu": before["cpu"] | found["cpu"],
        "times": before["times"] | found["times"],
    }


def read() -> Bounds:
    """The committed ones."""
    bounds: Bounds = json.loads(BOUNDS.read_text())
    return bounds


def write(bounds: Bounds) -> None:
    """One line for each name, so that a change of them is read easily."""
    parts = []
    for kind, found in bounds.items():
        named = dict(found)  # type: ignore[call-overload]
        inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(bound)}" for name, bound in named.items())
        parts.append(f' "{kind}": {{\n{inner}\n }}')
    BOUNDS.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _count_over(count: Count | None, bound: dict[str, float]) -> Iterator[tuple[str, str]]:
    if count is None:
        yield "all", "not counted"
        return
    allowed = {
        "commands": bound["commands"] + _MORE,
        "trips": bound["trips"] + _MORE,
        "sent": bound["sent"] * _BYTES + _MORE_BYTES,
        "received": bound["received"] * _BYTES + _MORE_BYTES,
        "functions": bound["functions"] * _FUNCTIONS,
    }
    measured = {
        "commands": count.total,
        "trips": count.trips,
        "sent": count.sent,
        "received": count.received,
        "functions": count.functions,
    }
    for what, most in allowed.items():
        if measured[what] > most:
            names = ", ".join(f"{number:g} {name}" for name, number in count.commands.items())
            detail = f" ({names})" if what == "commands" else ""
            yield (
                what,
                f"{measured[what]:,.1f} {_SAID[what]} a call{detail}, over the bound of {bound[what]:g}",
            )


_SAID = {
    "commands": "commands",
    "trips": "round trips",
    "sent": "bytes sent",
    "received": "bytes received",
    "functions": "function calls of the client",
}


def _ratio(kind: str, row: Row) -> float:
    ours, raw = row[OURS.name], row[RAW.name]
    if kind == "times":
        return ours.ratio
    return statistics.median(mine / theirs for mine, theirs in zip(_cpu(ours), _cpu(raw), strict=True))


def _cpu(cell: Cell) -> Iterator[float]:
    return (client + server for client, server in zip(cell.clients, cell.servers, strict=True))


def _memory_ratio(results: Results, length: int) -> float | None:
    sizes = results.memory.get(length, {})
    raw, ours = sizes.get(RAW.name), sizes.get(OURS.name)
    return ours / raw if raw and ours else None
