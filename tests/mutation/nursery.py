"""A process that forks for each mutant: ``python -m tests.mutation.nursery`` in a copy of the tree.

Lines of JSON come in, and for each goes one out. What takes long to import is imported once.

``{"survey": path, "files": […]}``          runs the tests on the code as it is; what each of them meets
``{"collect": path, "files": […]}``         has a process collect these tests, for mutants of this file
``{"path": …, "text": …, "tests": […]}``    a mutant: the test that notices it, or null

The process that has collected the tests forks for each mutant that changes functions only. Where importing
the file does something else, the tests are collected afresh.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from tests.mutation.brood import OPTIONS, Brood, Order, Survey
from tests.mutation.forks import in_a_fork

_HEAVY = """
    cryptography.x509 fakeredis httpx hypothesis lupa.lua51 msgspec prometheus_client pydantic
    pydantic_settings pytest_asyncio redis.asyncio.cluster redis.asyncio.sentinel sqlalchemy
    starlette.applications starlette.testclient tenacity uvicorn
"""


class _Litter:
    """The process that has the tests of one file collected, and the pipes to it."""

    def __init__(self, path: str, files: list[str]) -> None:
        asked, asking = os.pipe()
        answered, answering = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(asking)
            os.close(answered)
            order, questions, answers = Order(), os.fdopen(asked), os.fdopen(answering, "w")
            with contextlib.suppress(BaseException):
                _pytest(files, "brood.output", order, Brood(path, order, questions, answers))
            os._exit(0)
        os.close(asked)
        os.close(answering)
        self._asking, self._answered = os.fdopen(asking, "w"), os.fdopen(answered)
        # Before a mutant takes the file's place, it is to be imported as it is.
        if not self._answered.readline():
            raise RuntimeError(Path("brood.output").read_text(errors="replace"))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._asking.write(json.dumps(question) + "\n")
        self._asking.flush()
        answer: dict[str, Any] = json.loads(self._answered.readline())
        return answer

    def close(self) -> None:
        self._asking.close()
        self._answered.close()
        os.waitpid(self._child, 0)


def _pytest(tests: list[str], output: str, *plugins: object, options: tuple[str, ...] = ()) -> int:
    with Path(output).open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    return int(pytest.main([*OPTIONS, *options, *tests], plugins=plugins))


def _survey(path: str, files: list[str]) -> dict[str, Any]:
    def work(said: IO[str]) -> None:
        survey = Survey(path)
        _pytest(files, "survey.output", Order(said=said), survey)
        said.write(json.dumps(survey.told()) + "\n")

    return in_a_fork(work, longest=180.0)


def _afresh(tests: list[str]) -> dict[str, Any]:
    def work(said: IO[str]) -> None:
        order = Order(tests, said)
        status = _pytest(files, "output", order, options=("-x",))
        noticed = order.failed or (None if status == 0 else f"pytest's status {status}")
        said.write(json.dumps({"noticed": noticed}) + "\n")

    files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
    return in_a_fork(work, longest=90.0)


class _File:
    """A file that is other than it was, for a while."""

    _stamp = int(time.time())

    def __init__(self, path: str, text: str) -> None:
        self._path = Path(path)
        self._text = text
        self._original = self._path.read_text("utf-8")

    def __enter__(self) -> None:
        self._write(self._text)

    def __exit__(self, *_: object) -> None:
        self._write(self._original)

    def _write(self, text: str) -> None:
        # Python takes a compiled file for fresh when the source's size and second are the same.
        type(self)._stamp += 2
        self._path.write_text(text, "utf-8")
        os.utime(self._path, (self._stamp, self._stamp))


def main() -> None:
    for name in _HEAVY.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    answers, litter = os.fdopen(os.dup(1), "w"), None
    for line in sys.stdin:
        asked = json.loads(line)
        if "survey" in asked:
            answer = _survey(asked["survey"], asked["files"])
        elif "collect" in asked:
            if litter is not None:
                litter.close()
            litter = _Litter(asked["collect"], asked["files"])
            answer = {}
        else:
            assert litter is not None
            with _File(asked["path"], asked["text"]):
                answer = litter.ask(asked)
                if "afresh" in answer:
                    answer = _afresh(asked["tests"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
