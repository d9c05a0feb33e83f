"""What is built and installed: the same bytes from the same sources, whole, and working by itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from redis_sessions.cli.demo import FLOW, SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKED = (
    "redis_sessions",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "mkdocs.yml",
)
WITHOUT_EXTRAS = """
import importlib.util, redis_sessions, redis_sessions.blocking
from redis_sessions.scripting import NAMES, source
assert all(source(name).text for name in NAMES)
others = ("fakeredis", "httpx", "langchain_core", "lfx", "opentelemetry", "rich", "sqlalchemy", "typer")
assert not [name for name in others if importlib.util.find_spec(name)]
"""

pytestmark = pytest.mark.timeout(300)


def run(*command: object, **options: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=os.environ | options,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, when: float) -> Path:
    """What is built from a copy of the sources whose files are of another time."""
    for name in PACKED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    for file in folder.rglob("*"):
        os.utime(file, (when, when))
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder,
        SOURCE_DATE_EPOCH="1750000000",
    )  # fmt: skip
    return folder / "dist"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("one") / "sources", 1_600_000_000)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and nothing but what that needs."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", folder)
    install(folder / "bin", str(wheel))
    return folder / "bin"


def install(programs: Path, what: str) -> None:
    run(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what)


def test_what_is_built_elsewhere_and_at_another_time_has_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "elsewhere", 1_700_000_000)

    assert {file.name: file.read_bytes() for file in dist.iterdir()} == {
        file.name: file.read_bytes() for file in again.iterdir()
    }


def test_the_index_would_take_it(dist: Path) -> None:
    assert "PASSED" in run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()))


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "redis_sessions").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert packed == there
    assert "redis_sessions/py.typed" in packed


def test_it_is_small(wheel: Path, clean: Path) -> None:
    installed = run(clean / "python", "-m", "pip", "list", "--format", "freeze").lower()

    assert wheel.stat().st_size < 1_000_000
    assert len(installed.splitlines()) <= 16, installed


def test_the_library_works_without_extras(clean: Path) -> None:
    run(clean / "python", "-W", "error", "-c", WITHOUT_EXTRAS)


def test_what_needs_an_extra_says_which(clean: Path) -> None:
    done = subprocess.run([clean / "redis-sessions", "serve"], capture_output=True, text=True, timeout=60)

    assert done.returncode != 0
    assert "pip install 'redis-sessions[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def served(clean: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the demo of an environment with ``[serve]`` is. After the tests of one without it."""
    install(clean, f"{wheel}[serve]")
    with subprocess.Popen(
        [clean / "redis-sessions", "serve", "--demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp("empty"),
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if line.startswith("serving:"):
                    yield re.search(r"http://[^\s/]+", line)[0]  # type: ignore[index]
                    break
        finally:
            server.send_signal(signal.SIGINT)


def test_the_installed_wheel_serves_messages(served: str) -> None:
    found = httpx.get(
        f"{served}/api/v1/monitor/messages", params={"flow_id": FLOW, "session_id": SESSION}
    ).json()

    assert len(found) == 4


def test_the_installed_wheel_serves_the_page_with_all_its_files(served: str) -> None:
    page = httpx.get(f"{served}/", follow_redirects=True)
    files = set(re.findall(r'(?:src|href)="([^"#:]+)"', page.text))

    assert files
    for name in files:
        assert httpx.get(page.url.join(name)).status_code == 200, name
