"""What a run found, as one JSON document."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from benchmarks.clients import Load
from benchmarks.clusters import Spread
from benchmarks.counts import Count
from benchmarks.growth import Grown
from benchmarks.noise import Noise
from benchmarks.questions import Question, fixed
from benchmarks.rounds import Cell, Row

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.counts import Counts
    from benchmarks.memory import Bytes


@dataclass
class Results:
    """One run.

    Attributes:
        about: the versions that were measured, and the machine.
        rows: questions with the answers of all subjects.
        left_out: subjects that could not be measured at all, and questions that there was no time for.
        seconds: how long it took.
        counts: what a call of redis-sessions consists of.
        memory: bytes of a message by length of its session and subject.
    """

    about: dict[str, str]
    noise: Noise
    rows: list[tuple[Question, Row]] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    memory: Bytes = field(default_factory=dict)
    growth: list[Grown] = field(default_factory=list)
    clusters: list[Spread] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    counts: Counts = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it; times are in seconds, sizes in bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._as_json(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What was saved; its questions can be shown, not asked."""
        document = json.loads(path.read_text())
        return cls(
            document["about"],
            Noise(**document["noise"]),
            [_row(row) for row in document["rows"]],
            [Load(**load) for load in document["clients"]],
            {int(length): sizes for length, sizes in document["memory"].items()},
            [Grown(**grown) for grown in document["growth"]],
            [Spread(**spread) for spread in document["clusters"]],
            document["left_out"],
            document["seconds"],
            {name: Count(**count) for name, count in document["counts"].items()},
        )

    def _as_json(self) -> dict[str, Any]:
        rows = [
            {
                "question": question.key,
                "title": question.title,
                "operation": question.operation,
                "length": question.length,
                "target": question.target,
                "answers": {
                    name: {
                        "median": cell.median,
                        "ratio": cell.ratio,
                        "middle": cell.spread,
                        "mark": cell.mark,
                        "client_cpu": [round(one, 9) for one in cell.clients],
                        "server_cpu": [round(one, 9) for one in cell.servers],
                        "seconds": [round(one, 9) for one in cell.seconds],
                        "ratios": [round(one, 6) for one in cell.ratios],
                    }
                    if not cell.missing
                    else {"missing": cell.missing}
                    for name, cell in row.items()
                },
            }
            for question, row in self.rows
        ]
        return {
            "about": self.about,
            "noise": asdict(self.noise),
            "seconds": round(self.seconds, 1),
            "left_out": self.left_out,
            "counts": {name: asdict(count) for name, count in self.counts.items()},
            "rows": rows,
            "clients": [asdict(load) for load in self.loads],
            "memory": self.memory,
            "growth": [asdict(grown) for grown in self.growth],
            "clusters": [asdict(spread) for spread in self.clusters],
        }


def _row(row: dict[str, Any]) -> tuple[Question, Row]:
    question = Question(
        row["question"],
        row["title"],
        row["operation"],
        fixed(),
        {"session": row["length"]},
        target=row["target"],
    )
    answers = {
        name: Cell(
            answer.get("seconds", []),
            answer.get("ratios", []),
            answer.get("mark", ""),
            answer.get("missing", ""),
            answer.get("client_cpu", []),
            answer.get("server_cpu", []),
        )
        for name, answer in row["answers"].items()
    }
    return question, answers


def machine() -> dict[str, str]:
    """What this runs on."""
    return {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
