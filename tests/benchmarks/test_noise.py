from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.noise import Noise, listen
from benchmarks.workers import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence


class Metronome:
    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = itertools.cycle(seconds)

    async def time(self, *_: Any, **__: Any) -> Timing:
        return Timing([next(self._seconds)], 1.0)


async def heard(one: Sequence[float], other: Sequence[float]) -> Noise:
    return await listen(Metronome(one), Metronome(other))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does now."""
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.1, 0.1))


def test_a_machine_with_more_to_do_than_it_can_is_too_noisy() -> None:
    assert Noise(1.0, 1.0, 1.0, 2.0).too_noisy


async def test_a_machine_that_treats_equals_alike_is_quiet() -> None:
    assert not (await heard([1.0, 1.1], [1.05])).too_noisy


async def test_a_machine_that_favours_one_is_too_noisy() -> None:
    noise = await heard([1.3], [1.0])
    assert noise.too_noisy
    assert "ratio 1.30" in str(noise)


async def test_a_machine_that_favours_now_the_one_and_now_the_other_is_too_noisy() -> None:
    assert (await heard([1.0, 3.0, 0.3], [1.0])).too_noisy


@pytest.mark.parametrize("ratio", [1.2, 1 / 1.2])
def test_a_bias_counts_whomever_it_favours(ratio: float) -> None:
    assert Noise(ratio, ratio, ratio, 0.1).too_noisy
