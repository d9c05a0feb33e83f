"""One subject in a process of its own: ``python -m benchmarks.worker MODULE URL``.

Commands come as JSON objects, one a line, on stdin; each is answered with one on stdout.

==========================================================  ==============================================
``{"do": "can"}``                                           ``{"operations": […], "marks": {…}, …}``
``{"do": "check"}``                                         ``{"lies": {operation: what happened, …}}``
``{"do": "fill", "sessions": {name: count, …}}``            ``{}``; ``"texts": n``: all of n bytes
``{"do": "time", "operation": o, "arguments": […],          ``{"times": […], "elapsed": s, "cpu": s}``,
"calls": n, "budget": seconds, "clients": c,                seconds; ``cpu`` is this process's
"rest": seconds}``
``{"do": "count", "operation": o, "arguments": […],         ``{"functions": n}``: calls of functions
"calls": n}``
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
from threading import Barrier, BrokenBarrierError
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
        # Libraries are large: what they consist of is not looked at before each measurement.
        gc.freeze()
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
            case "count":
                return await self._count(**arguments)
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
        rest: float = 0.0,
    ) -> dict[str, Any]:
        made = [
            self._calls(operation, _of_client(arguments, number, clients), expected)
            for number in range(clients)
        ]
        gc.collect()
        gc.disable()
        try:
            if clients == 1:
                return await _timed(self._subject, made[0], calls, budget, rest)
            if self._class.blocking:
                return await self._timed_in_threads(made, budget)
            return await self._timed_in_tasks(made, budget)
        finally:
            gc.enable()

    async def _count(
        self, operation: str, arguments: list[Any], calls: int, expected: int | None = None
    ) -> dict[str, Any]:
        made = self._calls(operation, arguments, expected)
        count = 0

        def seen(_: object, event: str, __: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(seen)
        try:
            for _ in range(calls):
                await next(made)(self._subject)
        finally:
            sys.setprofile(None)
        return {"functions": count}

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

    async def _timed_in_tasks(self, made: list[Iterator[Any]], budget: float) -> dict[str, Any]:
        await asyncio.gather(*(next(calls)(self._subject) for calls in made))  # connects
        started, spent = time.perf_counter(), time.process_time()
        parts = await asyncio.gather(*(_timed(self._subject, calls, sys.maxsize, budget) for calls in made))
        return _together(parts, time.perf_counter() - started, time.process_time() - spent)

    async def _timed_in_threads(self, made: list[Iterator[Any]], budget: float) -> dict[str, Any]:
        began: list[float] = []
        ready = Barrier(len(made), lambda: began.append(time.process_time()))

        def client(calls: Iterator[Any]) -> dict[str, Any]:
            async def run() -> dict[str, Any]:
                subject = self._class(self._url)
                await subject.open()
                try:
                    await next(calls)(subject)  # connects
                    ready.wait()
                    return await _timed(subject, calls, sys.maxsize, budget)
                finally:
                    await subject.close()

            try:
                return asyncio.run(run())
            except BaseException:
                ready.abort()
                raise

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(len(made)) as threads:
            found = await asyncio.gather(
                *(loop.run_in_executor(threads, client, calls) for calls in made), return_exceptions=True
            )
        if failed := [one for one in found if isinstance(one, BaseException)]:
            # The others only say that they waited in vain.
            raise min(failed, key=lambda one: isinstance(one, BrokenBarrierError))
        parts = [one for one in found if not isinstance(one, BaseException)]
        return _together(parts, max(part["elapsed"] for part in parts), time.process_time() - began[0])


def _of_client(arguments: list[Any], number: int, clients: int) -> list[Any]:
    """One of several clients keeps to its own session: the first argument, where that is a list."""
    if clients == 1 or not arguments or not isinstance(arguments[0], list):
        return arguments
    return [arguments[0][number % len(arguments[0])], *arguments[1:]]


def _call(operation: str, values: list[Any], expected: int | None) -> Any:
    async def call(subject: Subject) -> None:
        got = await getattr(subject, operation)(*values)
        if expected is not None and got != expected:
            raise AssertionError(f"{operation}{tuple(values)!r} gave {got}, not {expected}")

    return call


async def _timed(
    subject: Subject, made: Iterator[Any], calls: int, budget: float, rest: float = 0.0
) -> dict[str, Any]:
    times: list[float] = []
    started, spent = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call = next(made)
        if rest:
            await asyncio.sleep(rest)
        before = time.perf_counter()
        await call(subject)
        after = time.perf_counter()
        times.append(after - before)
        if after - started > budget:
            break
    elapsed = time.perf_counter() - started
    return {"times": times, "elapsed": elapsed, "cpu": time.process_time() - spent}


def _together(parts: list[dict[str, Any]], elapsed: float, cpu: float) -> dict[str, Any]:
    return {"times": [one for part in parts for one in part["times"]], "elapsed": elapsed, "cpu": cpu}


def main() -> None:
    module, url = sys.argv[1:]
    # Libraries greet, warn and log on stdout; that is for answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = answers
    warnings.simplefilter("ignore")
    asyncio.run(Worker(subjects.load(module), url).run())


if __name__ == "__main__":
    main()
