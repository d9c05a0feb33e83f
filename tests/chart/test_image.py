"""The recipe of the images: its steps are run in a clean folder, and what they install serves and is healthy.

A build with a real builder needs the base images, and is done by hand (``make image``).
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chart.rendering import ROOT, find, render, values
from tests.support import reaper, valkey_server
from tests.support.servers import free_port
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = re.sub(r"\\\n\s*", " ", (ROOT / "Containerfile").read_text())
STAGES = {
    name: lines.splitlines()
    for name, lines in re.findall(r"(?ms)^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", TEXT)
}


def steps(stage: str, kind: str) -> list[str]:
    """The arguments of a stage's instructions of one kind."""
    return [line.removeprefix(f"{kind} ") for line in STAGES[stage] if line.startswith(f"{kind} ")]


def ignored() -> list[str]:
    return (ROOT / ".containerignore").read_text().splitlines()


def test_the_image_takes_what_the_container_runs() -> None:
    container = find(render(values()), "Deployment", "-monitor")["spec"]["template"]["spec"]["containers"][0]

    assert steps("service", "ENTRYPOINT") == ['["redis-sessions"]']
    assert steps("service", "EXPOSE") == [str(container["ports"][0]["containerPort"])]
    assert ast.literal_eval(steps("service", "CMD")[0]) == container["args"]


def test_what_is_copied_is_there_and_not_left_out() -> None:
    for source in sources():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored(), source
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def sources() -> list[str]:
    return [source for copy in steps("build", "COPY") for source in copy.split()[:-1]]


def test_the_images_are_those_of_a_user_without_rights() -> None:
    assert steps("service", "USER")[-1] == "10001:10001"
    assert steps("langflow", "USER") == ["root", "1000"]
    for base in re.findall(r"(?m)^ARG \w+=(\S+)", TEXT):
        assert re.search(r":\d+\.\d+\.\d+\b", base), f"{base} is not pinned"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the build stage makes, made by its own steps."""
    root = tmp_path_factory.mktemp("image")
    source = root / "source"
    source.mkdir()
    for name in sources():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    [run] = steps("build", "RUN")
    run = re.sub(r"(?<![\w/])/(opt/redis-sessions|wheels)", rf"{root}/\1", run)
    result = subprocess.run(
        ["sh", "-euc", run],
        cwd=source,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return root / "opt" / "redis-sessions"


@pytest.fixture
def serving(installed: Path, tmp_path: Path) -> Iterator[int]:
    """The port of the installed service, which runs the image's own command with a real server behind it."""
    port = free_port()
    command = [*ast.literal_eval(steps("service", "ENTRYPOINT")[0]), "serve", "--port", str(port)]
    with valkey_server() as server:
        process = subprocess.Popen(
            [str(installed / "bin" / command[0]), *command[1:]],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "REDIS_SESSIONS_URL": server.url},
            stdout=subprocess.DEVNULL,
        )
        reaper.tell("started", process.pid)
        try:
            yield port
        finally:
            process.terminate()
            assert process.wait(20) == 0
            reaper.tell("ended", process.pid)


def health(installed: Path, port: int) -> int:
    [check] = steps("service", "HEALTHCHECK")
    command = ast.literal_eval(check.partition(" CMD ")[2])
    program = [str(installed / "bin" / command[0]), *command[1:]]
    return subprocess.run(
        [word.replace(":7861/", f":{port}/") for word in program], stderr=subprocess.DEVNULL, timeout=10
    ).returncode


@pytest.mark.timeout(600)
def test_the_health_check_tells_a_service_that_serves_from_none(installed: Path, serving: int) -> None:
    assert health(installed, free_port()) != 0

    poll(lambda: health(installed, serving) == 0, timeout=30, interval=0.2)


@pytest.mark.timeout(600)
def test_the_image_has_no_tools_to_install_with(installed: Path) -> None:
    assert not (installed / "bin" / "pip").exists()
    assert (installed / "bin" / "redis-sessions").exists()


def make_image(path: Path, builder: str | None) -> subprocess.CompletedProcess[str]:
    """``make image`` where only this builder is: a program that tells what it was asked."""
    for tool in ("sh", "make", "sed"):
        found = shutil.which(tool)
        assert found is not None
        (path / tool).symlink_to(found)
    if builder is not None:
        (path / builder).write_text('#!/bin/sh\necho "$0 $*"\n')
        (path / builder).chmod(0o755)
    return subprocess.run(
        ["make", "--no-print-directory", "image"],
        cwd=ROOT,
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_without_a_builder_make_image_says_what_is_missing(tmp_path: Path) -> None:
    result = make_image(tmp_path, None)

    assert result.returncode != 0
    assert "no builder: install docker, podman or buildah" in result.stderr


@pytest.mark.parametrize(("builder", "says"), [("docker", False), ("podman", True), ("buildah", True)])
def test_make_image_asks_for_the_format_that_has_the_health_check(
    builder: str, says: bool, tmp_path: Path
) -> None:
    asked = make_image(tmp_path, builder).stdout

    assert f"/{builder} build " in asked
    assert "--target service --file Containerfile --tag redis-sessions:0.1.0" in asked
    assert ("--format docker" in asked) is says
