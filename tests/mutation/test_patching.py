from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from tests.mutation.forks import in_a_fork
from tests.mutation.patching import Patches
from tests.mutation.run import statement_at

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType
    from typing import IO

MODULE = """
from functools import lru_cache

LIMIT = 3

class Counter:
    step = 1

    def up(self, count: int) -> int:
        return count + self.step

@lru_cache
def small(count: int) -> bool:
    return any(count == each for each in range(LIMIT))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "patched.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "patched", raising=False)
    return importlib.import_module("patched")


def mutate(module: ModuleType, old: str, new: str) -> int | None:
    """How many functions were given other code; None when the module is to be imported afresh."""
    assert module.__file__ is not None
    changed = Patches(module.__file__).prepare(MODULE.replace(old, new))
    for function, code in changed or ():
        function.__code__ = code
    return None if changed is None else len(changed)


def test_a_method_of_an_imported_module_gets_the_mutants_code(module: ModuleType) -> None:
    counter = module.Counter()

    assert mutate(module, "count + self", "count - self") == 1
    assert counter.up(5) == 4


def test_a_function_behind_a_decorator_gets_the_mutants_code(module: ModuleType) -> None:
    assert mutate(module, "count == each", "count != each") == 1
    assert module.small(0)
    assert module.small(7)


def test_lines_that_only_move_change_nothing(module: ModuleType) -> None:
    assert mutate(module, "class Counter", "\n\nclass Counter") == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("LIMIT = 3", "LIMIT = 4"), ("step = 1", "step = 2"), ("@lru_cache\n", "@lru_cache(2)\n")],
)
def test_what_is_done_when_it_is_imported_takes_importing_it_afresh(
    module: ModuleType, old: str, new: str
) -> None:
    assert mutate(module, old, new) is None


def test_a_mutant_is_of_the_innermost_statement() -> None:
    assert statement_at(MODULE, 10) == {10}
    assert statement_at(MODULE, 9) == {9, 10}
    assert statement_at("call(\n    1,\n    2,\n)", 3) == {1, 2, 3, 4}


def test_a_fork_answers_with_what_was_said_last() -> None:
    def work(said: IO[str]) -> None:
        said.write('a test\n{"noticed": null}\n')

    assert in_a_fork(work) == {"noticed": None, "stopped": False}


def test_what_is_raised_in_a_fork_is_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    def work(said: IO[str]) -> None:
        raise ValueError("wrong")

    assert in_a_fork(work)["noticed"] == "ValueError: wrong"
    assert "Traceback" in capfd.readouterr().err


def test_a_fork_that_hangs_is_ended_in_the_test_that_it_began() -> None:
    def work(said: IO[str]) -> None:
        said.write("a test\n")
        while True:
            pass

    answer = in_a_fork(work, longest=0.5)
    assert (answer["noticed"], answer["by"]) == ("a test", "the time limit")
