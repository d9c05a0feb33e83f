"""Every console block of README and docs is typed into a shell, and what it shows is what comes.

Numbers, times, ids and line breaks are not compared. ``serve`` runs on behind the commands after it.
What cannot be run here is in ``INSTEAD``, each with a check of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import SessionStore
from redis_sessions.cli.demo import FLOW, load_demo
from redis_sessions.keys import Keys
from tests.support.servers import free_port, valkey_server
from tests.test_formats import load
from tests.transfer.databases import FLOW as LANGFLOW_FLOW
from tests.transfer.databases import LangflowDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PORT = "7861"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def is_in_the_package(command: str) -> bool:
    """What is on the package index is not this version; test_package.py installs a wheel of this one."""
    extras = re.fullmatch(r"pip install '?redis-sessions(?:\[([a-z,]+)\])?'?", command)
    return extras is not None and set((extras[1] or "serve").split(",")) <= set(EXTRAS)


def is_a_target(command: str) -> bool:
    """They are what this suite is run by, and take minutes."""
    return command.removeprefix("make ") in TARGETS


def is_tested_with_langflow(command: str) -> bool:
    """Langflow is in an environment of its own: make test-langflow starts it, and lfx, with the plug-in."""
    return any(
        command.split()[0] in file.read_text("utf-8")
        for folder in ("langflow", "support")
        for file in (ROOT / "tests" / folder).rglob("*.py")
    )


INSTEAD: dict[str, Callable[[str], bool]] = {
    "pip install": is_in_the_package,
    "make help": is_a_target,
    "make test": is_a_target,
    "make test-langflow": is_a_target,
    "make test-lowest": is_a_target,
    "make docs": is_a_target,
    "make lint": is_a_target,
    "make coverage": is_a_target,
    "make mutants": is_a_target,
    "make audit": is_a_target,
    "langflow run": is_tested_with_langflow,
    "lfx run": is_tested_with_langflow,
}
"""Commands that are not run, by how they begin."""


def in_place_of(command: str) -> Callable[[str], bool] | None:
    kind = max((kind for kind in INSTEAD if f"{command} ".startswith(f"{kind} ")), key=len, default=None)
    return INSTEAD[kind] if kind else None


def commands_of(block: str) -> list[tuple[str, list[str]]]:
    """Each command, without its comment, and the lines shown after it."""
    commands: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append((re.sub(r"\s+# .*", "", line[2:]), []))
        else:
            commands[-1][1].append(line)
    return commands


BLOCKS = [
    pytest.param(page.name, commands_of(block), id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with valkey_server(maxmemory="500mb", appendonly=True, dir=str(tmp_path)) as found:
        yield found


def prepare(page: str, server: Server, folder: Path) -> None:
    """What the page tells of."""

    async def fill() -> None:
        async with SessionStore.from_url(server.url) as store:
            if page == "upgrading.md":
                await load(store, 1)
            elif page not in {"README.md", "import-export.md"}:
                await load_demo(store)

    asyncio.run(fill())
    if page == "doctor.md":
        with server.client() as client:
            client.zrem(Keys("rs").flow(FLOW).sessions, "refund-4711")
    if page == "import-export.md":
        database = LangflowDatabase(f"sqlite:///{folder / 'langflow.db'}")
        database.create()
        database.add_user()
        database.add_flow(LANGFLOW_FLOW)
        for table, row in (
            ("message", database.message()),
            ("transaction", database.transaction()),
            ("vertex_build", database.build()),
        ):
            database.insert(table, [row])


@contextmanager
def shell(server: Server, folder: Path) -> Iterator[Shell]:
    found = Shell(server, folder)
    try:
        yield found
    finally:
        found.close()


class Shell:
    """What is exported stays for the next command. ``serve`` runs on behind."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._folder = folder
        self._url = server.url
        self._port = str(free_port())
        self._serving: list[subprocess.Popen[str]] = []
        self._exports: list[str] = []
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "REDIS_SESSIONS_URL": self._url,
            "HOST": f"http://127.0.0.1:{self._port}",
            "FLOW": FLOW,
            "F": FLOW,
            "COLUMNS": "100",
        }

    def type(self, command: str) -> list[str]:
        """What it prints. It must not fail, but where it says so itself."""
        if command == "make serve":
            recipe = re.search(
                r"^serve:.*\n\t@\.venv/bin/(.*) \$\(ARGS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE
            )
            assert recipe is not None
            command = recipe[1]
        command = re.sub(r"redis://localhost:6379/0|embedded://", self._url, command).replace(
            PORT, self._port
        )
        if command.startswith("redis-sessions serve"):
            return self._serve(command)
        if re.match(r"export |\w+=", command):
            self._exports.append(command)
            return []
        if command.startswith("curl -N "):  # which would go on
            command = f"{command} --max-time 1 || test $? = 28"
        done = subprocess.run(
            ["bash", "-c", "\n".join([*self._exports, command])],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "echo $?" in command else subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 or "Not healthy." in done.stdout, (command, done.stdout, done.stderr)
        return done.stdout.splitlines()

    def _serve(self, command: str) -> list[str]:
        process = subprocess.Popen(
            ["bash", "-c", "\n".join([*self._exports, f"exec {command} --port {self._port}"])],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._serving.append(process)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("serving:"):
                return lines
        raise AssertionError(lines)

    def close(self) -> None:
        for process in self._serving:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def alike(lines: list[str]) -> str:
    """Text without what differs from day to day and place to place."""
    text = re.sub(r"(redis|embedded)://\S+", "<url>", " ".join(lines))
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)
    text = re.sub(r"[─-]{3,}", "─", text)
    return re.sub(r"\s+", " ", re.sub(r"[+-]?\d[\d,.:]*", "0", text)).strip()


@pytest.mark.parametrize(("page", "commands"), BLOCKS)
def test_a_console_block_shows_what_comes(
    page: str, commands: list[tuple[str, list[str]]], server: Server, tmp_path: Path
) -> None:
    prepare(page, server, tmp_path)
    with shell(server, tmp_path) as console:
        if page == "monitor.md" and "curl" in commands[0][0]:
            console.type("redis-sessions serve")
        if page == "command-line.md" and "echo $?" in commands[0][0]:  # the block before it does
            console.type("redis-sessions rename $F refund-4711 refund-4711-done")
        for command, shown in commands:
            check = in_place_of(command)
            if check is not None:
                assert check(command), command
                assert not shown
                continue
            printed = console.type(command)
            if shown:
                assert alike(printed) == alike(shown)


def test_every_command_that_is_not_run_is_still_in_the_docs() -> None:
    typed = [command for block in BLOCKS for command, _ in block.values[1]]  # type: ignore[union-attr]
    used = {kind for kind in INSTEAD for command in typed if f"{command} ".startswith(f"{kind} ")}
    assert used == set(INSTEAD)


@pytest.mark.parametrize(
    ("command", "check"),
    [
        ("pip install 'redis-sessions[nothing]'", is_in_the_package),
        ("pip install other", is_in_the_package),
        ("make nothing", is_a_target),
        ("flowlang run", is_tested_with_langflow),
    ],
)
def test_what_is_not_there_is_found(command: str, check: Any) -> None:
    assert not check(command)
