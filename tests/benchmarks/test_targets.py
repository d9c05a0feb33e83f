"""What redis-sessions promises of itself: each promise, kept and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.clients import Load
from benchmarks.subjects import ENTRIES, Entry
from benchmarks.targets import missed
from tests.benchmarks.runs import answer, question, results


def load(
    subject: str, rate: float, *, clients: int = 64, length: int = 100, cpu: float | None = None
) -> Load:
    return Load("append", "append", length, clients, subject, rate, 1e-3, 2e-3, cpu)


@pytest.mark.parametrize(
    ("length", "ours", "line"),
    [
        (100, 1.4, None),
        (100, 1.6, "the append: 1.60 × the time of redisvl, not at most 1.5"),
        (10_000, 0.9, None),
        (10_000, 1.1, "the append: 1.10 × the time of redisvl, not at most 1"),
    ],
)
def test_being_behind_a_peer_is_told(length: int, ours: float, line: str | None) -> None:
    row = {"raw": answer(1.0), "ours": answer(ours), "redisvl": answer(1.0)}
    run = results(rows=[(question(length=length, target=None), row)])
    assert missed(run) == ([line] if line else [])


def test_a_peer_that_blocks_is_held_against_what_blocks_of_ours() -> None:
    row = {
        "raw": answer(1.0),
        "ours": answer(3.0),
        "ours_blocking": answer(1.2),
        "redisvl": answer(1.0),
        "openai_agents": answer(1.0),
    }
    run = results(rows=[(question(length=100, target=None), row)])
    assert missed(run) == ["the append: 3.00 × the time of openai-agents, not at most 1.5"]


def test_a_peer_is_compared_with_in_the_rounds_in_which_it_was_asked() -> None:
    row = {
        "raw": answer(1.0, 1.0, 1.0, 1.0),
        "ours": answer(2.0, 4.0, 1.0, 1.0),
        "openai_agents": answer(1.0, 2.0),
    }
    run = results(rows=[(question(length=100, target=None), row)])
    assert missed(run) == ["the append: 2.00 × the time of openai-agents, not at most 1.5"]


def test_throughput_is_compared_among_those_that_block() -> None:
    loads = [load("ours", 2_000), load("ours_blocking", 1_000), load("redisvl", 1_600)]
    lines = missed(results(rows=[], loads=loads))
    assert len(lines) == 1
    assert "redisvl has 1.60 ×" in lines[0]


@pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.name != "raw"], ids=lambda one: one.name
)
def test_it_is_known_who_blocks(entry: Entry) -> None:
    text = Path(f"{entry.path.replace('.', '/')}.py").read_text("utf-8")
    assert entry.blocking == ("blocking = True" in text or "LangchainCommunity" in text)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("history-100-hundred", "history-100-longest"),
        ("wire-hundred", "wire-longest"),
        ("rename-100", "rename-long"),
        ("delete-100", "delete-long"),
    ],
)
def test_what_slows_down_with_the_length_is_told(short: str, long: str) -> None:
    def run(ratio: float) -> list[str]:
        rows = [
            (question(short, target=None), {"raw": answer(1.0), "ours": answer(1.0)}),
            (question(long, target=None), {"raw": answer(1.0), "ours": answer(ratio)}),
        ]
        return missed(results(rows=rows))

    assert run(1.2) == []
    assert run(1.4) == [f"the {long}: 1.40 × the time of the {short}, not at most 1.3"]


def test_a_ratio_to_raw_over_its_target_is_told() -> None:
    row = {"raw": answer(1.0), "ours": answer(1.7)}
    assert missed(results(rows=[(question(), row)])) == ["the append: 1.70 × raw, not at most 1.6"]


def test_appends_that_cost_the_server_too_much_are_told() -> None:
    def run(cpu: float) -> list[str]:
        return missed(results(rows=[], loads=[load("raw", 9_000, cpu=1e-5), load("ours", 5_000, cpu=cpu)]))

    assert run(1.4e-5) == []
    (line,) = run(2e-5)
    assert line.startswith("append, 64 clients: 0.50 of what a second of the server carries")


@pytest.mark.parametrize(
    ("length", "theirs", "is_told"), [(100, 1_400, False), (100, 1_600, True), (10_000, 1_100, True)]
)
def test_less_throughput_than_a_peer_is_told(length: int, theirs: float, is_told: bool) -> None:
    loads = [load("ours", 1_000, length=length), load("openai_agents", theirs, length=length)]
    lines = missed(results(rows=[], loads=loads))
    assert bool(lines) == is_told
    assert all("openai-agents has" in line for line in lines)


def test_throughput_is_compared_at_the_same_number_of_clients() -> None:
    loads = [load("ours", 1_000, clients=1), load("ours", 9_000), load("openai_agents", 1_600)]
    assert missed(results(rows=[], loads=loads)) == []


def test_more_bytes_than_a_peer_are_told() -> None:
    def run(ours: float) -> list[str]:
        return missed(results(rows=[], memory={20: {"raw": 500.0, "ours": ours, "llama_index": 800.0}}))

    assert run(1_200.0) == []
    assert run(1_220.0) == ["memory in sessions of 20: 1.52 × the bytes of llama-index, not at most 1.5"]
