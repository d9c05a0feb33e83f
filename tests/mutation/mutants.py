"""What a mutant is."""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Mutant:
    """A file of the package with one thing changed."""

    path: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}"

    def diff(self, original: str) -> str:
        """The lines that were changed, without surroundings."""
        lines = difflib.unified_diff(original.splitlines(), self.text.splitlines(), n=0, lineterm="")
        return "\n".join(line for line in lines if line[:3] not in {"---", "+++"} and line[:2] != "@@")


def sample(mutants: Sequence[Mutant], size: int | None, seed: int) -> list[Mutant]:
    """Some of them, always the same ones for a seed, in the order of the file. All, without a size."""
    if size is None or size >= len(mutants):
        return list(mutants)
    places = sorted(random.Random(seed).sample(range(len(mutants)), size))
    return [mutants[place] for place in places]
