"""The command line in this process (``cli``), and as a process of its own (``command``, ``started``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

import pytest
from typer.testing import CliRunner

from redis_sessions import SessionStore
from redis_sessions.cli.app import app
from tests.support import poll, secrets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.conftest import Backend

FLOW = "3f1d2c9a-7b64-4e8e-9a51-0c2d4e6f8a10"


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli(Protocol):
    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Outcome: ...


@pytest.fixture
def flow() -> str:
    return FLOW


@pytest.fixture
def environment(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this process and its children name the test's store."""
    monkeypatch.setenv("REDIS_SESSIONS_URL", backend.url)
    monkeypatch.setenv("REDIS_SESSIONS_PREFIX", backend.prefix)


@pytest.fixture
def cli(environment: None) -> Cli:
    def run(*arguments: str, stdin: str | bytes | None = None) -> Outcome:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def lone_cli(backend: Backend, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """``cli`` where no URL is set and nothing was ever served."""
    monkeypatch.delenv("REDIS_SESSIONS_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return cli


@pytest.fixture
def in_store(backend: Backend) -> Callable[[Callable[[SessionStore], Awaitable[Any]]], Any]:
    """``in_store(lambda store: store.append(…))``: its result, in an event loop of its own."""

    def run(work: Callable[[SessionStore], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with SessionStore.from_url(backend.url, prefix=backend.prefix) as store:
                return await work(store)

        return asyncio.run(inside())

    return run


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "redis_sessions", *arguments]


@pytest.fixture
def command(environment: None) -> Cli:
    """Run the command as a process, to its end."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Outcome:
        text = stdin.encode() if isinstance(stdin, str) else stdin or b""
        done = subprocess.run(
            command_line(*arguments), input=text, capture_output=True, timeout=60, check=False
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


class Started:
    """A command that runs until it is stopped; what it prints can be waited for."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            command_line(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_with_ctrl_c,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        streams = [(self.process.stdout, self.out), (self.process.stderr, self.err)]
        self._readers = [threading.Thread(target=_read, args=pair) for pair in streams]
        for reader in self._readers:
            reader.start()

    def wait_for(self, text: str, lines: list[str]) -> str:
        """The first of ``self.out`` or ``self.err`` with this text in it."""

        def found() -> str | None:
            line = next((line for line in lines if text in line), None)
            if line is None and self.process.poll() is not None:
                raise AssertionError(f"it ended without {text!r}: {self.out} {self.err}")
            return line

        return str(poll(found, timeout=60, interval=0.02))

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code after this signal."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(30)
        for reader in self._readers:
            reader.join()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        secrets.look_at(f"what {self.process.args} printed", "\n".join((*self.out, *self.err)))


def _with_ctrl_c() -> None:
    # A shell that runs pytest in the background has SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read(stream: IO[str] | None, lines: list[str]) -> None:
    for line in stream or ():
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - each is waited for


@pytest.fixture
def started(environment: None) -> Iterator[Callable[..., Started]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Started:
            return stack.enter_context(contextlib.closing(Started(arguments)))

        yield start


@pytest.fixture
def terminal() -> Iterator[Callable[..., Outcome]]:
    """Run the command with a terminal as its stdin, and these answers typed there."""
    import pty

    def run(*arguments: str, typed: str) -> Outcome:
        ours, theirs = pty.openpty()
        try:
            os.write(ours, typed.encode())
            done = subprocess.run(
                command_line(*arguments),
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
