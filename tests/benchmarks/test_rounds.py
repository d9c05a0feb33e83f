from __future__ import annotations

from typing import Any

import pytest

from benchmarks.budget import Budget
from benchmarks.rounds import ask, middle
from benchmarks.subjects import BY_NAME
from benchmarks.workers import SubjectError, Timing
from tests.benchmarks.runs import question


class Pretender:
    """A worker whose calls take as long as it is told, round by round."""

    def __init__(self, name: str, *seconds: float, fails_in: int | None = None) -> None:
        self.entry = BY_NAME[name]
        self.operations = {"append"}
        self.marks: dict[str, str] = {}
        self.lies: dict[str, str] = {}
        self.longest: int | None = None
        self.full = False
        self.log: list[str] = []
        self._spent = 0.0
        self._seconds = seconds
        self._fails_in = fails_in
        self._asked = -1  # the first time is to warm up

    def holds(self, count: int) -> bool:
        return self.longest is None or count <= self.longest

    async def prepare(self, sessions: dict[str, int]) -> None:
        self.log.append(f"prepare {sessions}")

    async def fill(self, sessions: dict[str, int], *, texts: int = 0) -> None:
        self.log.append(f"fill {sessions}")
        if self.full:
            raise SubjectError("it is full")

    def server_cpu(self) -> float:
        self._spent += 2.0
        return self._spent

    async def time(self, operation: str, arguments: list[Any], **how: Any) -> Timing:
        place, self._asked = self._asked, self._asked + 1
        self.log.append(f"time {operation}")
        if place == self._fails_in:
            raise SubjectError("it broke\nat line 3")
        return Timing([self._seconds[max(place, 0) % len(self._seconds)]], 1.0, 0.25)


async def asked(*workers: Pretender, rounds: int = 3, seconds: float = 60.0, **more: Any) -> Any:
    return await ask(
        question(**more),
        workers,  # type: ignore[arg-type]
        {"redis": workers[0]},  # type: ignore[dict-item]
        rounds=rounds,
        budget=Budget(seconds),
        tell=lambda _: None,
    )


async def test_a_ratio_is_to_raw_in_the_same_round() -> None:
    row = await asked(Pretender("raw", 0.1, 0.2, 0.4), Pretender("ours", 0.2, 0.4, 0.8))
    assert row["ours"].ratios == [2.0, 2.0, 2.0]
    assert row["ours"].median == 0.4
    assert row["raw"].ratios == [1.0, 1.0, 1.0]


async def test_what_a_subject_cannot_do_is_not_asked_of_it() -> None:
    other = Pretender("llama_index", 1.0)
    other.operations = {"history"}
    row = await asked(Pretender("raw", 1.0), other)
    assert row["llama_index"].missing == "cannot"
    assert other.log == []


async def test_what_a_subject_lies_about_is_not_asked_of_it() -> None:
    other = Pretender("llama_index", 1.0)
    other.lies = {"append": "nothing was stored"}
    row = await asked(Pretender("raw", 1.0), other)
    assert row["llama_index"].missing == "does not do what it says: nothing was stored"
    assert other.log == []


async def test_sessions_longer_than_a_subject_can_hold_are_not_asked_of_it() -> None:
    other = Pretender("google_adk", 1.0)
    other.longest = 10_000
    row = await asked(Pretender("raw", 1.0), other, length=100_000)
    assert row["google_adk"].missing == "not beyond 10,000 messages"
    assert other.log == []


async def test_a_subject_that_fails_has_no_figure_and_is_asked_no_more() -> None:
    other = Pretender("redisvl", 1.0, fails_in=1)
    row = await asked(Pretender("raw", 1.0), other, rounds=5)
    assert row["redisvl"].missing == "it broke"
    assert other.log.count("time append") == 3  # to warm up, and two rounds


async def test_those_that_are_fast_go_on_alone() -> None:
    fast, slow = Pretender("ours", 0.0005), Pretender("agent_framework", 0.002)
    row = await asked(Pretender("raw", 0.0001), fast, slow, rounds=12)
    assert len(row["raw"].seconds) == len(row["ours"].seconds) == 12
    assert len(row["agent_framework"].seconds) == 3


async def test_only_raw_does_not_go_on() -> None:
    raw = Pretender("raw", 0.0001)
    row = await asked(raw, Pretender("agent_framework", 3.0), rounds=12)
    assert len(row["raw"].seconds) == 1


async def test_nothing_is_stored_for_who_is_asked_no_more() -> None:
    slow = Pretender("agent_framework", 3.0)
    fresh = lambda turn: {f"doomed-{turn}": 5}  # noqa: E731
    await asked(Pretender("raw", 0.1), Pretender("ours", 0.1), slow, rounds=3, fresh=fresh)
    assert [line for line in slow.log if "fill" in line] == ["fill {'doomed-0': 5}"]


async def test_slow_subjects_are_asked_in_fewer_rounds() -> None:
    other = Pretender("agent_framework", 0.9)
    row = await asked(Pretender("raw", 0.1), other, rounds=9)
    assert len(row["agent_framework"].seconds) == 3
    assert row["agent_framework"].ratio == 9.0


async def test_very_slow_subjects_are_asked_once() -> None:
    other = Pretender("agent_framework", 3.0)
    row = await asked(Pretender("raw", 0.1), other, rounds=9)
    assert row["agent_framework"].seconds == [3.0]
    assert other.log.count("time append") == 1


async def test_without_time_there_are_fewer_rounds_and_as_many_for_everybody() -> None:
    row = await asked(Pretender("raw", 1.0), Pretender("ours", 2.0), rounds=9, seconds=0.0)
    assert len(row["raw"].seconds) == len(row["ours"].seconds) == 3


async def test_cpu_time_is_noted_of_client_and_server() -> None:
    row = await asked(Pretender("raw", 1.0), Pretender("ours", 2.0))
    assert row["ours"].clients == [0.25] * 3
    assert row["ours"].servers == [2.0] * 3
    assert row["ours"].server_seconds == 2.0


async def test_a_subject_that_cannot_store_what_a_question_is_about_is_not_asked() -> None:
    other = Pretender("redisvl", 1.0)
    other.full = True
    row = await asked(Pretender("raw", 1.0), other, fresh=lambda turn: {f"doomed-{turn}": 5})
    assert row["redisvl"].missing == "it is full"
    assert "time append" not in other.log


async def test_without_raw_there_is_nothing_to_compare_with() -> None:
    raw = Pretender("raw", 1.0)
    raw.full = True
    with pytest.raises(SubjectError, match="full"):
        await asked(raw, fresh=lambda turn: {f"doomed-{turn}": 5})


async def test_what_is_consumed_is_made_anew_before_each_round() -> None:
    raw, ours = Pretender("raw", 1.0), Pretender("ours", 1.0)
    await asked(raw, ours, rounds=2, fresh=lambda turn: {f"doomed-{turn}": 5})
    made = ["fill {'doomed-0': 5}", "time append", "fill {'doomed-1': 5}", "time append"]
    assert ours.log == ["prepare {'hundred': 100}", *made]


async def test_what_warms_up_does_not_count() -> None:
    other = Pretender("ours", 1.0, 0.1)  # the very first call, and the one that counts
    row = await asked(
        Pretender("raw", 0.1), other, rounds=1, fresh=lambda _: {"doomed": 5}, warm=lambda _: [["first"]]
    )
    assert other.log.count("time append") == 2
    assert len(row["ours"].seconds) == 1


def test_the_middle_leaves_out_a_tenth_at_either_end() -> None:
    assert middle([float(value) for value in range(20)]) == (2.0, 17.0)
    assert middle([3.0]) == (3.0, 3.0)
