"""What is asked of every subject, one after the other in each round.

A question names an operation, the data that it needs, and what its answer must be. A target is the largest
ratio to raw Redis, in the same round, that redis-sessions is good enough with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Arguments = Callable[[int], list[Any]]
"""The arguments of an operation in a round; a list among them has one value for each call, over and over."""


@dataclass(frozen=True)
class Question:
    """One row.

    Attributes:
        data: sessions that must be there, with their lengths; kept for the other questions.
        fresh: the same, but made anew before each round.
        warm: of ``fresh``, what is asked for beforehand in each round and does not count: right after much
            was stored, the first calls are slow.
        rest: seconds before each call: a server that frees memory in the background is through with the call
            before.
        rounds: at most so many, where making its data anew is what takes the time.
        weight: its share of the run's time, to that of the others.
        length: how long the longest session is that it is about.
    """

    key: str
    title: str
    operation: str
    arguments: Arguments
    data: dict[str, int] = field(default_factory=dict)
    fresh: Callable[[int], dict[str, int]] = lambda _: {}
    warm: Arguments | None = None
    expected: int | None = None
    target: float | None = None
    calls: int = 40
    rest: float = 0.0
    rounds: int = 99
    weight: float = 1

    @property
    def length(self) -> int:
        return max((*self.data.values(), *self.fresh(0).values()), default=0)


def fixed(*values: Any) -> Arguments:
    return lambda _: list(values)


def questions(*, quick: bool) -> list[Question]:
    """All rows, in the order of the table."""
    many = 1_000 if quick else 10_000
    long, longest = (10_000, 10_000) if quick else (10_000, 100_000)
    found = [
        Question(
            "append",
            "append",
            "append",
            lambda turn: [f"growing-{turn}"],
            fresh=lambda turn: {f"growing-{turn}": 100},  # so that it does not become long
            target=1.6,
            calls=100,
        ),
    ]
    lengths = {"hundred": 100, "long": long, "longest": longest}
    for count in (20, 100):
        found += [
            Question(
                f"history-{count}-{name}",
                f"history({count}) of {length:,}",
                "history",
                fixed(name, count),
                {name: length},
                expected=count,
                target=2.5 if count == 100 else None,
                weight=3 if name == "longest" else 1,
            )
            for name, length in lengths.items()
            if not (quick and name == "longest")
        ]
    found += [
        Question(
            f"wire-{name}",
            f"history(100) of {length:,}, as wire bytes",
            "history_wire",
            fixed(name, 100),
            {name: length},
            expected=100,
            target=1.3,
        )
        for name, length in lengths.items()
        if not (quick and name == "longest")
    ]
    found += [
        Question(
            "append-long",  # after what reads it
            f"append to {long:,}",
            "append",
            fixed("long"),
            {"long": long},
            target=1.6,
            calls=100,
        ),
        Question(
            "update",
            "update one message",
            "update",
            fixed("edited", [f"changed to text {number}" for number in range(1_000)]),
            {"edited": 100},
            target=3.0,
        ),
        Question(
            "delete-message",
            "delete one message",
            "delete_message",
            lambda turn: [f"shrinking-{turn}"],
            fresh=lambda turn: {f"shrinking-{turn}": 100},
        ),
        Question("rename-100", "rename of 100", "rename", fixed("short"), {"short": 100}),
        Question("rename-long", f"rename of {long:,}", "rename", fixed("moving"), {"moving": long}),
        _deletion("delete-100", 100, each=10),
        _deletion("delete-long", long, each=2, rounds=9, weight=2),
        Question(
            "list",
            f"list 100 of {many:,} sessions",
            "list_sessions",
            fixed(100),
            {f"one-of-many-{number:05}": 1 for number in range(many)},
            expected=100,
        ),
        Question("recent", "newest 100 of a flow", "recent", fixed(100), {"last": 200}, expected=100),
        Question("feed", "a message through a live feed", "feed", fixed("fed"), {"fed": 100}),
    ]
    return found


def _deletion(key: str, length: int, *, each: int, rounds: int = 99, weight: float = 1) -> Question:
    """``each``: sessions that are deleted in a round."""

    def doomed(turn: int) -> dict[str, int]:
        return {f"doomed-{length}-{turn}-{number}": length for number in range(each)}

    def first(turn: int) -> dict[str, int]:
        return {f"doomed-first-{length}-{turn}-{number}": 5 for number in range(5)}

    return Question(
        key,
        f"delete a session of {length:,}",
        "delete_session",
        lambda turn: [[*doomed(turn)]],
        fresh=lambda turn: doomed(turn) | first(turn),
        warm=lambda turn: [[*first(turn)]],
        calls=each,
        rest=0.01,
        rounds=rounds,
        weight=weight,
    )
