from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from benchmarks import charts
from benchmarks.charts import apart, duration
from benchmarks.subjects import ENTRIES
from tests.benchmarks.runs import results, whole

if TYPE_CHECKING:
    from pathlib import Path

_SVG = "{http://www.w3.org/2000/svg}"


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = charts.draw(whole(), tmp_path / "1"), charts.draw(whole(), tmp_path / "2")
    assert [path.name for path in first] == ["history.svg", "clients.svg", "memory.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_charts_of_what_was_not_measured_are_not_drawn(tmp_path: Path) -> None:
    assert charts.draw(results(), tmp_path) == []


def test_a_chart_says_what_it_shows_to_those_who_hear_it(tmp_path: Path) -> None:
    (history, *_) = charts.draw(whole(), tmp_path)
    picture = ET.parse(history).getroot()
    assert picture.get("role") == "img"
    said = picture.findtext(f"{_SVG}desc")
    assert said == (
        "Reading the newest 100 messages of a session: less time is better; in a session of 10,000: "
        "raw Redis commands 100 µs, redis-sessions 200 µs, llama-index 4 ms"
    )


def test_every_subject_has_a_colour_of_its_own() -> None:
    assert charts.COLOURS.keys() == {entry.name for entry in ENTRIES}
    for shade in zip(*charts.COLOURS.values(), strict=True):
        assert len(set(shade)) == len(ENTRIES)


def test_a_subject_has_the_same_colour_in_all_charts(tmp_path: Path) -> None:
    for path in charts.draw(whole(), tmp_path):
        (name,) = [
            text
            for text in ET.parse(path).getroot().iter(f"{_SVG}text")
            if (text.text or "").startswith("redis-sessions")
        ]
        assert f"fill: {charts.COLOURS['ours'][0]}" in (name.get("style") or "")


def test_every_colour_changes_where_pages_are_dark(tmp_path: Path) -> None:
    for path in charts.draw(whole(), tmp_path):
        svg = path.read_text()
        style = svg[svg.index("<style>") : svg.index("</style>")]
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg.replace(style, "")))
        assert used
        assert {colour for colour in used if f": {colour}" not in style} == set()


def test_names_that_have_room_stay_where_they_are() -> None:
    assert apart([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])


def test_names_that_are_too_near_move_apart_around_their_middle() -> None:
    assert apart([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert apart([0.1, 0.5, 0.5, 0.52], 0.1) == pytest.approx([0.1, 0.406667, 0.506667, 0.606667])


def test_a_group_that_reaches_another_becomes_one_with_it() -> None:
    found = apart([0.38, 0.5, 0.5, 0.5], 0.1)
    assert [one - other for one, other in zip(found[1:], found, strict=False)] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(12.3456, "12.3 s"), (1.0, "1 s"), (0.0042, "4.2 ms"), (0.00099996, "1 ms"), (87e-6, "87 µs")],
)
def test_times_have_three_digits_and_a_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
