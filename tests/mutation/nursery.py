"""A process that forks for each mutant: ``python -m tests.mutation.nursery`` in a copy of the tree.

One line of JSON comes in for each mutant: ``path``, ``text`` and ``tests``. One goes out: ``noticed``, by
which test or by what else, or null. What takes long to import is imported once; nothing of the package is.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest

_HEAVY = """
    cryptography.x509 fakeredis httpx hypothesis lupa.lua51 msgspec prometheus_client pydantic
    pydantic_settings pytest_asyncio redis.asyncio.cluster redis.asyncio.sentinel sqlalchemy
    starlette.applications starlette.testclient tenacity uvicorn
"""
_LONGEST = 600.0
"""Seconds that the tests of a mutant may take: one that hangs is noticed too, by its time limit."""


class _Order:
    """Takes ``memory://`` where a test can have it, leaves other rows out, and keeps the first failure."""

    def __init__(self) -> None:
        self.failed: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        has_memory = {_function(item) for item in items if _row(item) == "memory"}
        items[:] = [
            item
            for item in items
            if _row(item) in {"", "memory"} or (_row(item) == "valkey" and _function(item) not in has_memory)
        ]

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


def _run(tests: list[str], output: Path) -> str | None:
    with output.open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    order = _Order()
    quiet = "ignore::pytest.PytestAssertRewriteWarning"  # of what this process has imported already
    options = [
        "-W",
        quiet,
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-o",
        "timeout=60",
        "--hypothesis-seed=0",
    ]
    status = pytest.main([*options, *tests], plugins=[order])
    return order.failed or (None if status == 0 else f"pytest's status {status}")


def _child(tests: list[str], answer: int, output: Path) -> None:
    os.setsid()
    try:
        noticed = _run(tests, output)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the mutant's
        noticed = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    os.write(answer, json.dumps(noticed).encode())
    with contextlib.suppress(BaseException):
        import atexit

        atexit._run_exitfuncs()
    os._exit(0)


def _try(tests: list[str], output: Path) -> str | None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(tests, writing, output)
    os.close(writing)
    end = time.monotonic() + _LONGEST
    ended = False
    while not ended and time.monotonic() < end:
        ended = os.waitpid(child, os.WNOHANG)[0] != 0
        time.sleep(0.05)
    if not ended:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    if not ended and not told:
        return "the time limit"
    return json.loads(told) if told else "its process died"


def main() -> None:
    for name in _HEAVY.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    stamp = int(time.time())
    for line in sys.stdin:
        asked = json.loads(line)
        path = Path(asked["path"])
        original = path.read_text("utf-8")
        stamp += 2  # Python takes a compiled file for fresh when the source's size and second are the same
        try:
            path.write_text(asked["text"], "utf-8")
            os.utime(path, (stamp, stamp))
            noticed = _try(asked["tests"], Path("output"))
        finally:
            stamp += 2
            path.write_text(original, "utf-8")
            os.utime(path, (stamp, stamp))
        print(json.dumps({"noticed": noticed}), flush=True)


if __name__ == "__main__":
    main()
