"""Which Pythons the package is for, and whether CI gets at each of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIND = ROOT / ".ci" / "find-python"
CLASSIFIERS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(CLASSIFIERS))
SOURCES = [file.relative_to(ROOT).as_posix() for file in sorted((ROOT / "redis_sessions").rglob("*.py"))]


def find(python: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FIND, python],
        capture_output=True,
        text=True,
        env=os.environ | {name: str(value) for name, value in options.items()},
        timeout=100,
        check=False,
    )


def make_python(file: Path, code: int = 0) -> Path:
    file.parent.mkdir(parents=True)
    file.write_text(f'#!/bin/sh\necho "$0"\nexit {code}\n')
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("source", SOURCES)
def test_no_python_warns_of_what_is_written(source: str) -> None:
    """Warnings are errors here, but a module that was compiled before gives none."""
    compile((ROOT / source).read_bytes(), source, "exec")


@pytest.mark.parametrize("python", PYTHONS)
def test_a_python_that_is_promised_is_in_the_table_of_what_was_tried(python: str) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")

    assert re.search(rf"^\| [0-9., ]*\b{re.escape(python)}\.\d", page, re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS[1:])
def test_a_python_that_is_promised_is_tried_by_ci(python: str) -> None:
    assert f"python{python}" in (ROOT / ".ci" / "run").read_text("utf-8").split()


def test_a_python_of_this_machine_is_found() -> None:
    assert find(sys.executable).stdout == f"{sys.executable}\n"


def test_the_newest_of_pyenvs_is_found_where_its_shim_does_not_run(tmp_path: Path) -> None:
    shim = make_python(tmp_path / "shims" / "python3.99", code=127)
    for version in ("3.98.30", "3.99.2"):
        make_python(tmp_path / "versions" / version / "bin" / "python3.99")
    newest = make_python(tmp_path / "versions" / "3.99.10" / "bin" / "python3.99")

    done = find("python3.99", PYENV_ROOT=tmp_path, PATH=f"{shim.parent}:{os.environ['PATH']}")

    assert done.stdout == f"{newest}\n"


def test_a_python_that_is_nowhere_is_an_error_with_its_reason(tmp_path: Path) -> None:
    done = find("python3.99", PYENV_ROOT=tmp_path, XDG_CACHE_HOME=tmp_path, DEBIAN_MIRROR=f"file:{tmp_path}")

    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no python3.99 on this machine, and none could be had from Debian" in done.stderr


def test_what_could_not_be_had_leaves_nothing_to_be_taken_for_it(tmp_path: Path) -> None:
    find("python3.99", PYENV_ROOT=tmp_path, XDG_CACHE_HOME=tmp_path, DEBIAN_MIRROR=f"file:{tmp_path}")

    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("python3.99")]
