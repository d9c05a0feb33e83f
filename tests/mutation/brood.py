"""Plug-ins of pytest that run one file's mutants: which tests, which of them meet the file, and forks.

======================  ============================================================================
``Order``               takes ``memory://`` where a test can have it, and keeps the first failure
``Survey``              runs all tests on the code as it is, and notes what each meets, and its time
``Brood``               has everything imported and collected, and forks for each mutant
======================  ============================================================================
"""

from __future__ import annotations

import gc
import json
import time
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import coverage
import hypothesis
import pytest

from tests.mutation.forks import in_a_fork
from tests.mutation.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import CodeType, FunctionType

OPTIONS = (
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # of what this process has imported already
    *("-q", "-n", "0", "--tb=short", "-p", "no:cacheprovider", "-o", "timeout=60", "--hypothesis-seed=0"),
)
_IMPORT = "import"
_Phase = hypothesis.Phase


class Order:
    """Takes ``memory://`` where a test can have it, leaves other rows out, and keeps the first failure."""

    def __init__(self, wanted: Sequence[str] = (), said: IO[str] | None = None) -> None:
        self.failed: str | None = None
        self.said = said
        self._places = {name: place for place, name in enumerate(wanted)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        has_memory = {_function(item) for item in items if _row(item) == "memory"}
        items[:] = [
            item
            for item in items
            if _row(item) in {"", "memory"} or (_row(item) == "valkey" and _function(item) not in has_memory)
        ]
        if self._places:
            items[:] = [item for item in items if item.nodeid in self._places]
            items.sort(key=lambda item: self._places[item.nodeid])
        for item in items:
            test = getattr(item, "obj", None)
            given = getattr(test, "_hypothesis_internal_use_settings", None)
            if given is not None:  # that it fails is all that is asked: not with how little
                phases = (_Phase.explicit, _Phase.reuse, _Phase.generate)
                short = hypothesis.settings(given, phases=phases, report_multiple_bugs=False)
                getattr(test, "__func__", test)._hypothesis_internal_use_settings = short

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.said is not None:
            self.said.write(f"{nodeid}\n")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = f"collecting {report.nodeid}"


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _row(item: pytest.Item) -> str:
    return str(getattr(getattr(item, "callspec", None), "params", {}).get("backend", ""))


class Survey:
    """What each test meets of a file: lines of a Python module, or whether it asks for a script at all."""

    def __init__(self, path: str) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._path = str(Path(path).resolve())
        self._met: dict[str, list[int]] = {}
        self._script = Path(path).stem if path.endswith(".lua") else None
        self._coverage = coverage.Coverage(data_file=None, include=[self._path], config_file=False)
        if self._script is None:
            self._coverage.start()
            self._coverage.switch_context(_IMPORT)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        start = time.monotonic()
        if self._script is None:
            self._coverage.switch_context(item.nodeid)
            done = yield
        else:
            from redis_sessions import scripting

            original, asked = scripting.source, set[str]()

            def source(name: str) -> Any:
                asked.add(name)
                return original(name)

            scripting.source = source  # type: ignore[assignment]
            try:
                done = yield
            finally:
                scripting.source = original
            if any(self._script in _parts(name) for name in asked):
                self._met[item.nodeid] = []
        self.seconds[item.nodeid] = round(time.monotonic() - start, 3)
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)

    def told(self) -> dict[str, Any]:
        """All of it."""
        if self._script is None:
            self._coverage.stop()
            for line, names in self._coverage.get_data().contexts_by_lineno(self._path).items():
                for name in names:
                    self._met.setdefault(name, []).append(line)
        imported = self._met.pop(_IMPORT, [])
        return {"met": self._met, "seconds": self.seconds, "failed": self.failed, "imported": imported}


def _parts(name: str) -> set[str]:
    """A script's name, and those of what it includes."""
    text = Path(f"redis_sessions/lua/{name}.lua").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("-- @include ")]
    return {name, *(part for line in lines for part in line.split()[2:])}


class Brood:
    """Serves mutants, once everything is collected, until there are no more."""

    def __init__(self, path: str, order: Order, asked: IO[str], answers: IO[str]) -> None:
        self._path = path
        self._order = order
        self._asked = asked
        self._answers = answers

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        patches = None if self._path.endswith(".lua") else Patches(self._path)
        gc.collect()
        gc.freeze()  # what is here stays: collecting it in each fork would copy it
        self._answer({})
        for line in self._asked:
            asked = json.loads(line)
            changed = patches.prepare(asked["text"]) if patches is not None else []
            chosen = [items[name] for name in asked["tests"]]
            if changed is None:
                answer: dict[str, Any] = {"afresh": True}
            else:
                answer = in_a_fork(partial(self._run, session, chosen, changed))
            self._answer(answer)
        return True

    def _answer(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def _run(
        self,
        session: pytest.Session,
        items: list[pytest.Item],
        changed: list[tuple[FunctionType, CodeType]],
        said: IO[str],
    ) -> None:
        from redis_sessions import scripting

        for function, code in changed:
            function.__code__ = code
        scripting.source.cache_clear()
        self._order.said = said
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._order.failed:
                break
        session._setupstate.teardown_exact(None)
        said.write(json.dumps({"noticed": self._order.failed}) + "\n")
