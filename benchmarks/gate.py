"""Has something become slower, or larger? Ratios to raw Redis against committed bounds.

The bounds of times are 1.6 to 2 times what a quiet machine measures, so that a busy one passes; those of
memory, which is the same everywhere, are close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.subjects import OURS, RAW

if TYPE_CHECKING:
    from benchmarks.results import Results

_MEMORY = "memory-"


def exceeded(results: Results, bounds: dict[str, float]) -> dict[str, str]:
    """What is over its bound, and bounds that nothing was measured for, each with a line that says so."""
    measured = {question.key: row[OURS.name] for question, row in results.rows}
    lines = {}
    for key, bound in bounds.items():
        if key.startswith(_MEMORY):
            ratio = _memory_ratio(results, key)
            if ratio is None:
                lines[key] = f"{key}: not measured (no such length of sessions)"
            elif ratio > bound:
                lines[key] = f"{key}: {ratio:.2f} × the bytes of raw, over its bound of {bound:g}"
            continue
        cell = measured.get(key)
        if cell is None or cell.missing:
            lines[key] = f"{key}: not measured ({cell.missing if cell else 'no such question'})"
        elif cell.ratio > bound:
            low, high = cell.spread
            lines[key] = (
                f"{key}: {cell.ratio:.2f} × raw, over its bound of {bound:g} "
                f"(middle 80 %: {low:.2f} to {high:.2f})"
            )
    return lines


def _memory_ratio(results: Results, key: str) -> float | None:
    sizes = {f"{_MEMORY}{length}": found for length, found in results.memory.items()}.get(key, {})
    raw, ours = sizes.get(RAW.name), sizes.get(OURS.name)
    return ours / raw if raw and ours else None
