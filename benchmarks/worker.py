"""One subject in a process of its own: ``python -m benchmarks.worker NAME URL``.

Commands come as JSON objects, one a line, on stdin; each is answered with one on stdout.

==========================================================  ==============================================
``{"do": "can"}``                                           ``{"operations": […], "marks": {…}, …}``
``{"do": "check"}``                                         ``{"lies": {operation: what happened, …}}``
``{"do": "fill", "sessions": {name: count, …}}``            ``{}``; ``"texts": n``: all of n bytes
``{"do": "time", "operation": o, "arguments": […],          ``{"times": […], "elapsed": s}``, seconds
"calls": n, "budget": seconds, "clients": c}``
==========================================================  ==============================================

What fails is answered with ``{"error": …}``. The process ends when stdin does.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import sys
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks import subjects
from benchmarks.checks import lies
from benchmarks.payloads import plain, turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.subjects import Subject

_TURNS = 512
"""Different turns that are appended, over and over."""


class Worker:
    """Carries out what it is told, on one subject."""

    def __init__(self, subject: type[Subject], url: str) -> None:
        self._class = subject
        self._url = url
        self._subject = subject(url)
        self._turns = itertools.cycle(turns(_TURNS))
        self._names: dict[str, str] = {}

    async def run(self) -> None:
        await self._subject.open()
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            try:
                answer = await self._do(**json.loads(line))
            except Exception as error:  # noqa: BLE001 - whatever a library raises, the other side is to know
                answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            print(json.dumps(answer), flush=True)
        await self._subject.close()

    async def _do(self, do: str, **arguments: Any) -> dict[str, Any]:
        match do:
            case "can":
                return {
                    "operations": self._class.can(),
                    "marks": self._class.marks,
                    "longest": self._class.longest,
                }
            case "check":
                return {"lies": await lies(self._subject)}
            case "fill":
                return await self._fill(**arguments)
            case "time":
                return await self._time(**arguments)
        raise ValueError(f"no such command: {do}")

    async def _fill(self, sessions: dict[str, int], texts: int = 0) -> dict[str, Any]:
        said = {count: [plain(texts)] * count if texts else turns(count) for count in set(sessions.values())}
        await self._subject.fill_many({session: said[count] for session, count in sessions.items()})
        return {}

    async def _time(
        self,
        operation: str,
        arguments: list[Any],
        calls: int,
        budget: float,
        clients: int = 1,
        expected: int | None = None,
    ) -> dict[str, Any]:
        made = self._calls(operation, arguments, expected)
        gc.collect()
        gc.disable()
        try:
            if clients == 1:
                return await _timed(self._subject, made, calls, budget)
            if self._class.blocking:
                return await self._timed_in_threads(made, budget, clients)
            return await self._timed_in_tasks(made, budget, clients)
        finally:
            gc.enable()

    def _calls(self, operation: str, arguments: list[Any], expected: int | None) -> Iterator[Any]:
        """Endless calls. ``arguments`` that are lists hold one value for each call, in turn."""
        varied = [
            itertools.cycle(value) if isinstance(value, list) else itertools.repeat(value)
            for value in arguments
        ]
        takes_turn = operation in ("append", "feed")
        while True:
            values = [next(values) for values in varied]
            if takes_turn:
                values.append(next(self._turns))
            elif operation == "rename":
                values = self._there_and_back(*values)
            yield _call(operation, values, expected)

    def _there_and_back(self, session: str) -> list[str]:
        """Its present name and another one, whose turn is then."""
        now = self._names.get(session, session)
        self._names[session] = then = f"{session}-renamed" if now == session else session
        return [now, then]

    async def _timed_in_tasks(self, made: Iterator[Any], budget: float, clients: int) -> dict[str, Any]:
        started = time.perf_counter()
        parts = await asyncio.gather(
            *(_timed(self._subject, made, sys.maxsize, budget) for _ in range(clients))
        )
        return _together(parts, time.perf_counter() - started)

    async def _timed_in_threads(self, made: Iterator[Any], budget: float, clients: int) -> dict[str, Any]:
        prepared = list(itertools.islice(made, 10_000))

        def client() -> dict[str, Any]:
            async def run() -> dict[str, Any]:
                subject = self._class(self._url)
                await subject.open()
                try:
                    return await _timed(subject, itertools.cycle(prepared), sys.maxsize, budget)
                finally:
                    await subject.close()

            return asyncio.run(run())

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(clients) as threads:
            started = time.perf_counter()
            parts = await asyncio.gather(*(loop.run_in_executor(threads, client) for _ in range(clients)))
            return _together(parts, time.perf_counter() - started)


def _call(operation: str, values: list[Any], expected: int | None) -> Any:
    async def call(subject: Subject) -> None:
        got = await getattr(subject, operation)(*values)
        if expected is not None and got != expected:
            raise AssertionError(f"{operation}{tuple(values)!r} gave {got}, not {expected}")

    return call


async def _timed(subject: Subject, made: Iterator[Any], calls: int, budget: float) -> dict[str, Any]:
    times: list[float] = []
    started = time.perf_counter()
    for _ in range(calls):
        call = next(made)
        before = time.perf_counter()
        await call(subject)
        after = time.perf_counter()
        times.append(after - before)
        if after - started > budget:
            break
    return {"times": times, "elapsed": time.perf_counter() - started}


def _together(parts: list[dict[str, Any]], elapsed: float) -> dict[str, Any]:
    return {"times": [one for part in parts for one in part["times"]], "elapsed": elapsed}


def main() -> None:
    name, url = sys.argv[1:]
    # Libraries greet, warn and log on stdout; that is for answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = answers
    warnings.simplefilter("ignore")
    asyncio.run(Worker(subjects.BY_NAME[name].load(), url).run())


if __name__ == "__main__":
    main()
