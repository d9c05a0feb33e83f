"""The charts that README shows, as SVG.

Each is readable on light and dark pages: it has a ground of its own, and its colours follow the reader's. A
subject has the same colour in all of them, and its name at the end of its line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from benchmarks.clients import COUNTS
from benchmarks.subjects import BY_NAME, OURS, RAW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.results import Results

_INK, _GRID, _GROUND = "#24292f", "#d0d7de", "#fcfcfd"
_DARK = {_INK: "#e6edf3", _GRID: "#3d444d", _GROUND: "#151b23"}
COLOURS = {
    OURS.name: ("#d9480f", "#ff8a4c"),
    "ours_blocking": ("#e8a33d", "#ffc078"),
    RAW.name: ("#6e7781", "#9198a1"),
    "langflow_sqlite": ("#1864ab", "#74b9ff"),
    "langflow_postgresql": ("#1c8fd6", "#35d0ff"),
    "langchain_community": ("#2b8a3e", "#69db7c"),
    "langflow_component": ("#66a80f", "#c0eb75"),
    "langchain_redis": ("#087f5b", "#38d9a9"),
    "redisvl": ("#862e9c", "#da77f2"),
    "openai_agents": ("#a61e4d", "#f783ac"),
    "llama_index": ("#5f3dc4", "#b197fc"),
    "agent_framework": ("#9c6b00", "#ffd43b"),
    "google_adk": ("#e0318c", "#ffa8d5"),
    "strands": ("#7f4f24", "#d8b08c"),
}
"""On light pages, and on dark ones."""
_FONT = 10
_GAP = 0.052
"""Between two names at the ends of lines, as a part of the height."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """One picture of a run.

    Attributes:
        alt: what it shows, in words.
    """

    name: str
    title: str
    alt: str
    figure: Any


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the charts of what was measured; the same results are the same bytes."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # No dates and no random ids in the files.
    with mpl.rc_context({"svg.hashsalt": "redis-sessions", "svg.fonttype": "none", "font.size": _FONT}):
        for chart in charts(results):
            path = folder / f"{chart.name}.svg"
            chart.figure.savefig(
                path, format="svg", bbox_inches="tight", pad_inches=0.15, metadata={"Date": None}
            )
            path.write_text(_for_both(path.read_text(), chart))
            written.append(path)
    return written


def charts(results: Results) -> Iterator[Chart]:
    """Latency by length of the history, throughput by clients, bytes of a message."""
    for make in (_history, _clients, _memory):
        chart = make(results)
        if chart is not None:
            yield chart


def _history(results: Results) -> Chart | None:
    lines: dict[str, Points] = {}
    for question, row in results.rows:
        if question.key.startswith("history-100-"):
            for name, cell in row.items():
                if cell.seconds:
                    lines.setdefault(name, []).append((question.length, cell.median))
    if not lines:
        return None
    title = "Reading the newest 100 messages of a session: less time is better"
    figure, axes = _lines(lines, duration)
    axes.set_title(title, color=_INK, loc="left", pad=12, fontsize=_FONT + 2)
    axes.set_xlabel("messages in the session", color=_INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return Chart("history", title, _said(title, lines, "in a session of {:,.0f}", duration), figure)


def _clients(results: Results) -> Chart | None:
    lines: dict[str, Points] = {}
    for load in results.loads:
        if load.operation == "append":
            lines.setdefault(load.subject, []).append((load.clients, load.rate))
    if not lines:
        return None
    title = "Appends a second, by clients at once: more is better"
    figure, axes = _lines(lines, _rate)
    axes.set_title(title, color=_INK, loc="left", pad=12, fontsize=_FONT + 2)
    axes.set_xlabel("clients, each with a session of 100 messages", color=_INK)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.minorticks_off()
    return Chart("clients", title, _said(title, lines, "with {:,.0f} clients", _rate), figure)


def _memory(results: Results) -> Chart | None:
    from matplotlib.figure import Figure

    lengths = sorted(length for length, sizes in results.memory.items() if sizes)
    if not lengths:
        return None
    names = sorted(
        {name for length in lengths for name in results.memory[length]},
        key=lambda name: -max(results.memory[length].get(name, 0.0) for length in lengths),
    )
    title = "Bytes of a message whose text has 600 (dotted): less is better"
    figure = Figure(figsize=(8.2, 0.5 + 0.28 * len(names)), facecolor=_GROUND)
    every = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
    most = max(size for length in lengths for size in results.memory[length].values())
    for axes, length in zip(every, lengths, strict=True):
        _plain(axes)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"in sessions of {length:,}", color=_INK, loc="left", fontsize=_FONT)
        axes.set_xlim(0, most * 1.28)
        axes.axvline(600, color=_INK, linewidth=1, linestyle=":")
        for place, name in enumerate(names):
            size = results.memory[length].get(name)
            if size is None:
                axes.text(most * 0.01, place, "–", va="center", color=_INK)
                continue
            axes.barh(place, size, 0.68, color=_colour(name))
            axes.text(size + most * 0.02, place, f"{size:,.0f}", va="center", color=_INK, fontsize=_FONT - 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel("bytes", color=_INK)
    every[0].set_yticks(range(len(names)), [BY_NAME[name].label for name in names])
    for label, name in zip(every[0].get_yticklabels(), names, strict=True):
        label.set_color(_colour(name))
        label.set_fontweight("bold" if name == OURS.name else "normal")
    figure.suptitle(title, color=_INK, x=0.125, y=1.0, ha="left", fontsize=_FONT + 2)
    figure.subplots_adjust(wspace=0.06, top=0.87)
    lines: dict[str, Points] = {}
    for length in lengths:
        for name, size in results.memory[length].items():
            lines.setdefault(name, []).append((length, size))
    return Chart("memory", title, _said(title, lines, "in sessions of {:,.0f}", "{:,.0f} B".format), figure)


def _lines(lines: dict[str, Points], said: Callable[[float], str]) -> tuple[Any, Any]:
    """A line for each subject on logarithmic axes, with names beside their ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), facecolor=_GROUND)
    axes = figure.add_subplot()
    _plain(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, **_style(name))
    axes.yaxis.set_major_formatter(lambda value, _: said(value))
    axes.set_ylim(*axes.get_ylim())  # names shall not widen it
    _name(axes, {name: max(points) for name, points in lines.items()}, said)
    return figure, axes


def _name(axes: Any, ends: dict[str, tuple[float, float]], said: Callable[[float], str]) -> None:
    """Each line's subject and last value, right of the axes, as near to its height as the others let it."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    heights = {name: (math.log(end[1]) - low) / (high - low) for name, end in ends.items()}
    order = sorted(heights, key=heights.__getitem__)
    for name, place in zip(order, apart([heights[name] for name in order], _GAP), strict=True):
        axes.annotate(
            f"{BY_NAME[name].label}  {said(ends[name][1])}",
            ends[name],
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            fontsize=_FONT - 1,
            fontweight="bold" if name == OURS.name else "normal",
            color=_colour(name),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _colour(name),
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved so that there is a gap between each two, all of them as little as may be.

    Neighbours that are too near become a group around the middle of where its members want to be.
    """
    groups: list[tuple[float, int]] = []  # the middle of a group, and how many it has
    for height in heights:
        middle, count = height, 1
        while groups and middle - groups[-1][0] < gap * (count + groups[-1][1]) / 2:
            before, more = groups.pop()
            middle = (middle * count + before * more) / (count + more)
            count += more
        groups.append((middle, count))
    return [middle + (number - (count - 1) / 2) * gap for middle, count in groups for number in range(count)]


def _plain(axes: Any) -> None:
    axes.set_facecolor(_GROUND)
    axes.tick_params(colors=_INK, which="both", length=0)
    axes.grid(visible=True, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_GRID)


def _colour(name: str) -> str:
    return COLOURS[name][0]


def _style(name: str) -> dict[str, Any]:
    strong = name in (OURS.name, RAW.name)
    return {
        "color": _colour(name),
        "linewidth": 2.6 if name == OURS.name else 2 if strong else 1.3,
        "linestyle": "--" if name == RAW.name else "-",
        "zorder": 3 if strong else 2,
    }


def duration(seconds: float) -> str:
    for unit, name in ((1, "s"), (1e-3, "ms")):
        if seconds >= unit * 0.9995:
            return f"{seconds / unit:,.3g} {name}"
    return f"{seconds * 1e6:,.3g} µs"


def _rate(rate: float) -> str:
    return f"{rate:,.0f} / s" if rate >= 100 else f"{rate:,.3g} / s"


def _said(title: str, lines: dict[str, Points], where: str, said: Callable[[float], str]) -> str:
    """The last point of each line, in words."""
    last = max(place for points in lines.values() for place, _ in points)
    shown = [
        f"{BY_NAME[name].label} {said(points[last])}"
        for name, points in ((name, dict(points)) for name, points in lines.items())
        if last in points
    ]
    return f"{title}; {where.format(last)}: {', '.join(shown)}"


def _for_both(svg: str, chart: Chart) -> str:
    """The same picture, named for those who hear it, in other colours where pages are dark."""
    pairs = _DARK | dict(COLOURS.values())
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in pairs.items()
        for what in ("fill", "stroke")
    )
    head = (
        f"<title>{escape(chart.title)}</title><desc>{escape(chart.alt)}</desc>"
        f"<style>text{{font-family:system-ui,sans-serif !important}}"
        f"@media (prefers-color-scheme: dark){{{rules}}}</style>"
    )
    svg = re.sub(r"(<svg [^>]*?)>", rf'\1 role="img">{head}', svg, count=1, flags=re.DOTALL)
    # Matplotlib draws the ground of a figure without round corners, and ends its lines with blanks.
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
