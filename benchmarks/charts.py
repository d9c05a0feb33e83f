"""The charts that README shows, as SVG: for light and dark pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.clients import COUNTS
from benchmarks.subjects import BY_NAME, OURS, RAW

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results

_GREY = "#808890"
_STRONG = {OURS.name: "#d4380d", RAW.name: "#808890"}
_OTHERS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#6b8e23", "#b8860b")


def draw(results: Results, folder: Path) -> list[Path]:
    """Latency by length of the history, throughput by clients, bytes a message; what was written."""
    import matplotlib as mpl

    mpl.use("svg")
    # No dates and no random ids in the files: the same results are the same bytes.
    mpl.rcParams.update({"svg.hashsalt": "redis-sessions", "svg.fonttype": "none", "font.size": 10})
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawn in (("history", _history), ("clients", _clients), ("memory", _memory)):
        figure = drawn(results)
        if figure is not None:
            path = folder / f"{name}.svg"
            figure.savefig(path, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
            written.append(path)
    return written


def _history(results: Results) -> Any:
    lines: dict[str, list[tuple[int, float]]] = {}
    for question, row in results.rows:
        if question.key.startswith("history-100-"):
            for name, cell in row.items():
                if cell.seconds:
                    lines.setdefault(name, []).append((question.length, cell.median * 1e3))
    if not lines:
        return None
    figure, axes = _figure("newest 100 messages of a session, one client", "messages in the session", "ms")
    for name, points in lines.items():
        points.sort()
        axes.plot(*zip(*points, strict=True), marker="o", label=BY_NAME[name].label, **_style(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    _legend(axes)
    return figure


def _clients(results: Results) -> Any:
    lines: dict[str, list[tuple[int, float]]] = {}
    for load in results.loads:
        if load.operation == "append":
            lines.setdefault(load.subject, []).append((load.clients, load.rate))
    if not lines:
        return None
    figure, axes = _figure("appends a second", "clients at once", "appends / s")
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=BY_NAME[name].label, **_style(name))
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_yscale("log")
    _legend(axes)
    return figure


def _memory(results: Results) -> Any:
    if not results.memory:
        return None
    lengths = sorted(results.memory)
    names = [name for name in BY_NAME if any(name in results.memory[length] for length in lengths)]
    figure, axes = _figure("memory of a message with a text of 600 bytes", "bytes", "")
    height = 0.8 / len(lengths)
    for place, length in enumerate(lengths):
        sizes = [results.memory[length].get(name, 0.0) for name in names]
        rows = [number + place * height for number in range(len(names))]
        axes.barh(rows, sizes, height * 0.9, label=f"in sessions of {length:,}", color=_OTHERS[place])
    axes.set_yticks(
        [number + height * (len(lengths) - 1) / 2 for number in range(len(names))],
        [BY_NAME[name].label for name in names],
    )
    axes.invert_yaxis()
    _legend(axes)
    return figure


def _figure(title: str, across: str, up: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2))
    axes = figure.add_subplot()
    axes.set_title(title, color=_GREY, loc="left")
    axes.set_xlabel(across, color=_GREY)
    axes.set_ylabel(up, color=_GREY)
    axes.tick_params(colors=_GREY, which="both")
    axes.grid(visible=True, color=_GREY, alpha=0.25)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GREY)
    return figure, axes


def _style(name: str) -> dict[str, Any]:
    if name in _STRONG:
        return {"color": _STRONG[name], "linewidth": 2.5, "linestyle": "--" if name == RAW.name else "-"}
    others = [one for one in BY_NAME if one not in _STRONG]
    return {"color": _OTHERS[others.index(name) % len(_OTHERS)], "linewidth": 1.2}


def _legend(axes: Any) -> None:
    axes.legend(fontsize=8, labelcolor=_GREY, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
