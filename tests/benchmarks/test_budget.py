from __future__ import annotations

from benchmarks.budget import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_knows_what_is_spent_and_left() -> None:
    clock = Clock()
    budget = Budget(60, clock=clock)
    clock.now += 45
    assert (budget.spent, budget.left, budget.is_over) == (45, 15, False)
    clock.now += 20
    assert (budget.spent, budget.left, budget.is_over) == (65, 0, True)


def test_time_is_shared_by_weight() -> None:
    shares = Budget(60, clock=Clock()).shared([("one", 1), ("two", 2)])
    name, share = next(shares)
    assert (name, share.seconds) == ("one", 20)


def test_who_takes_less_leaves_the_rest_to_those_after_it() -> None:
    clock = Clock()
    shares = Budget(60, clock=clock).shared([("quick", 1), ("slow", 1)])
    next(shares)
    clock.now += 10
    assert next(shares)[1].seconds == 50


def test_who_takes_more_takes_it_from_those_after_it() -> None:
    clock = Clock()
    shares = Budget(60, clock=clock).shared([("slow", 1), ("one", 1), ("other", 1)])
    next(shares)
    clock.now += 40
    assert next(shares)[1].seconds == 10
    clock.now += 100
    assert next(shares)[1].is_over
