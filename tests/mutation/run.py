"""Mutants by hand: ``python -m tests.mutation.run ids lua/append --sample 50``.

A line for each mutant that no test notices, with what it changes, and one that sums up. Exit code 1 if the
tests fail on the code as it is: then they say nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING

from tests.mutation import targets
from tests.mutation.mutants import Mutant, sample

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
            text=True,
        )

    def try_out(self, mutant: Mutant, tests: Sequence[str]) -> str | None:
        """By what the mutant was noticed; None: it lives."""
        question = {"path": mutant.path, "text": mutant.text, "tests": list(tests)}
        _pipe(self._process.stdin).write(json.dumps(question) + "\n")
        _pipe(self._process.stdin).flush()
        noticed = json.loads(_pipe(self._process.stdout).readline())["noticed"]
        return None if noticed is None else str(noticed)

    def output(self) -> str:
        """What pytest printed last."""
        return (self.folder / "output").read_text(errors="replace")

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def try_all(
    name: str, mutants: Sequence[Mutant], nurseries: Sequence[Nursery]
) -> Iterator[tuple[Mutant, str | None]]:
    """What each was noticed by, in the order given."""
    idle: SimpleQueue[Nursery] = SimpleQueue()
    for nursery in nurseries:
        idle.put(nursery)
    near, far = targets.tests_of(name)

    def one(mutant: Mutant) -> tuple[Mutant, str | None]:
        nursery = idle.get()
        try:
            noticed = nursery.try_out(mutant, near)
            if noticed is None and far:
                noticed = nursery.try_out(mutant, far)
                if noticed is not None and nursery.try_out(unchanged(name), [noticed]) is not None:
                    noticed = None  # it fails on the code as it is: it says nothing
            return mutant, noticed
        finally:
            idle.put(nursery)

    with ThreadPoolExecutor(len(nurseries)) as pool:
        yield from pool.map(one, mutants)


def unchanged(name: str) -> Mutant:
    """The code as it is, which the tests must let live."""
    path = f"redis_sessions/{name}.{'lua' if name.startswith('lua/') else 'py'}"
    return Mutant(path, 0, "unchanged", (ROOT / path).read_text("utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run", description="Do the tests notice?")
    parser.add_argument(
        "targets", nargs="*", help=f"of {', '.join(targets.names())}; lua: all scripts (default: all)"
    )
    parser.add_argument("--sample", type=int, help="mutants of each target (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--killed", action="store_true", help="list those too that were noticed, and by what")
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
    tried = survivors = 0
    try:
        for name in wanted:
            original = unchanged(name)
            if noticed := nurseries[0].try_out(original, targets.tests_of(name)[0]):
                print(f"{name}: the tests fail on the code as it is: {noticed}\n{nurseries[0].output()}")
                return 1
            every = targets.mutants_of(name, ROOT)
            chosen = sample(every, asked.sample, asked.seed)
            alive = 0
            for mutant, noticed in try_all(name, chosen, nurseries):
                if noticed is None:
                    alive += 1
                    print(f"  lives: {mutant}\n{mutant.diff(original.text)}", flush=True)
                elif asked.killed:
                    print(f"  noticed: {mutant} by {noticed}", flush=True)
            tried, survivors = tried + len(chosen), survivors + alive
            print(f"{name}: {len(chosen)} of {len(every)} mutants, {alive} live", flush=True)
    finally:
        for nursery in nurseries:
            nursery.close()
    print(f"{tried} mutants, {survivors} live")
    return 0


if __name__ == "__main__":
    sys.exit(main())
