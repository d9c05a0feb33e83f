"""Mutants by hand: ``python -m tests.mutation.run ids lua/append --sample 50``.

A line for each mutant that no test notices, with what it changes, and one that sums up. Tests that fail on
the code as it is are named and left out, for they say nothing; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from tests.mutation import targets
from tests.mutation.mutants import Mutant, sample
from tests.mutation.patching import is_of_functions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
_COPIED = (
    "redis_sessions",
    "tests",
    "docs",
    "charts",
    "benchmarks",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "CHANGELOG.md",
)


class Nursery:
    """A copy of the tree, and the process in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-sessions-mutants-"))
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, self.folder / name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of a time in which nobody stopped us, for then tests fail of being late."""
        while True:
            _pipe(self._process.stdin).write(json.dumps(question) + "\n")
            _pipe(self._process.stdin).flush()
            answer: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
            if not answer.get("stopped"):
                return answer

    def try_out(self, mutant: Mutant, tests: Sequence[str]) -> str | None:
        """By what the mutant was noticed; None: it lives."""
        question = {"path": mutant.path, "text": mutant.text, "tests": list(tests)}
        noticed: str | None = self.ask(question)["noticed"]
        return noticed

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


class Trial:
    """The mutants of one target: which tests each is shown. What noticed the last ones is asked first."""

    def __init__(self, name: str, nurseries: Sequence[Nursery], without: Sequence[str] = ()) -> None:
        self.path = targets.path_of(name)
        self.original = (ROOT / self.path).read_text("utf-8")
        files = [file for file in targets.tests_of(name) if Path(file).stem[5:] not in without]
        self._nurseries: SimpleQueue[Nursery] = SimpleQueue()
        for nursery in nurseries:
            self._nurseries.put(nursery)
        self._workers = len(nurseries)
        survey = nurseries[0].ask({"survey": self.path, "files": files})
        if "met" not in survey:
            raise RuntimeError(f"the tests cannot be run on the code as it is: {survey}")
        self.failed: list[str] = survey["failed"]
        self._seconds: dict[str, float] = {
            test: seconds for test, seconds in survey["seconds"].items() if test not in self.failed
        }
        self._met = {test: set(lines) for test, lines in survey["met"].items()}
        self._imported = set(survey["imported"])
        self._noticed_at: dict[str, int] = {}
        for nursery in nurseries:
            nursery.ask({"collect": self.path, "files": files})

    def try_all(self, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str | None]]:
        """What each was noticed by, in the order given."""
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(self._try, mutants)

    def _try(self, mutant: Mutant) -> tuple[Mutant, str | None]:
        nursery = self._nurseries.get()
        try:
            tests = self.tests_of(mutant)
            noticed = nursery.try_out(mutant, tests) if tests else None
            while noticed in self._seconds and self._is_doubtful(noticed):
                if nursery.try_out(mutant, [noticed]) and not nursery.try_out(self.unchanged(), [noticed]):
                    break
                tests.remove(noticed)  # it fails on the code as it is, at times: it says nothing
                noticed = nursery.try_out(mutant, tests) if tests else None
            if noticed is not None:
                self._noticed_at[noticed] = mutant.line
            return mutant, noticed
        finally:
            self._nurseries.put(nursery)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that meet what was changed; all of them, if it is run when the file is imported."""
        lines = statement_at(self.original, mutant.line) if self.path.endswith(".py") else set()
        if lines & self._imported:
            tests = list(self._seconds)
        else:
            tests = [
                test for test in self._seconds if test in self._met and (not lines or lines & self._met[test])
            ]
        return sorted(tests, key=lambda test: (-self._noticed_at.get(test, 0), self._seconds[test]))

    def unchanged(self) -> Mutant:
        """The code as it is, which the tests must let live."""
        return Mutant(self.path, 0, "unchanged", self.original)

    def _is_doubtful(self, test: str) -> bool:
        """Servers and deadlines are in it."""
        return self._seconds[test] > 1 or "[valkey" in test


def statement_at(text: str, line: int) -> set[int]:
    """The lines of the innermost statement that has this line."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(text)):  # outer ones first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            found = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return set(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run", description="Do the tests notice?")
    parser.add_argument(
        "targets", nargs="*", help=f"of {', '.join(targets.names())}; lua: all scripts (default: all)"
    )
    parser.add_argument("--sample", type=int, help="mutants of each target (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--lines", help="only mutants of these: 92,105-110")
    parser.add_argument(
        "--functions", action="store_true", help="without mutants for which all is to be imported afresh"
    )
    parser.add_argument(
        "--without", nargs="*", default=(), help="files of tests: slow ones, for what lives without them"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--noticed", action="store_true", help="list also what was noticed, and by what")
    asked = parser.parse_args()
    wanted = [
        each
        for name in asked.targets or [""]
        for each in targets.names()
        if each == name or each.startswith(f"{name}/" if name else "")
    ]
    if not wanted:
        parser.error("there is no such target")
    nurseries = [Nursery() for _ in range(asked.workers)]
    tried = survivors = failures = 0
    try:
        for name in wanted:
            began = time.monotonic()
            trial = Trial(name, nurseries, asked.without)
            failures += len(trial.failed)
            for test in trial.failed:
                print(f"{name}: {test} fails on the code as it is", flush=True)
            every = targets.mutants_of(name, ROOT)
            if asked.lines:
                every = [mutant for mutant in every if mutant.line in _lines(asked.lines)]
            if asked.functions and trial.path.endswith(".py"):
                every = [mutant for mutant in every if is_of_functions(mutant.text, trial.original)]
            chosen = sample(every, asked.sample, asked.seed)
            alive = 0
            for mutant, noticed in trial.try_all(chosen):
                if noticed is None:
                    alive += 1
                    print(f"  lives: {mutant}\n{mutant.diff(trial.original)}", flush=True)
                elif asked.noticed:
                    print(f"  noticed: {mutant} by {noticed}", flush=True)
            tried, survivors = tried + len(chosen), survivors + alive
            took = time.monotonic() - began
            print(f"{name}: {len(chosen)} of {len(every)} mutants, {alive} live ({took:.0f} s)", flush=True)
    finally:
        for nursery in nurseries:
            nursery.close()
    print(f"{tried} mutants, {survivors} live")
    return 1 if failures else 0


def _lines(text: str) -> set[int]:
    pairs = [part.partition("-") for part in text.split(",")]
    return {line for first, _, last in pairs for line in range(int(first), int(last or first) + 1)}


if __name__ == "__main__":
    sys.exit(main())
