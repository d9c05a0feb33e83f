"""The extension, as Langflow finds and loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import redis_sessions
from redis_sessions.langflow import extension

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer

FOLDER = Path(extension.__file__).parent


def lfx(*arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("lfx"), "extension", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_valid_and_can_be_imported() -> None:
    assert "validate: ok (1 file(s) scanned)" in lfx("validate", "--execute-imports", str(FOLDER))


def test_it_is_found_where_the_package_is_installed() -> None:
    [entry] = entry_points(group="langflow.extensions", name="redis-sessions")

    assert entry.value == extension.__name__
    assert "redis-sessions" in lfx("list")


def test_its_version_is_the_packages() -> None:
    manifest = json.loads((FOLDER / "extension.json").read_text("utf-8"))

    assert manifest["version"] == redis_sessions.__version__


def test_a_stock_langflow_offers_it(stock: LangflowServer) -> None:
    offered = stock.http.get("/api/v1/all").raise_for_status().json()["redis_sessions"]

    [(name, component)] = offered.items()
    assert name == "ext:redis_sessions:RedisSessionsComponent@official"
    assert component["display_name"] == "Redis Sessions"
    assert [(output["name"], output["types"]) for output in component["outputs"]] == [
        ("memory", ["Memory"]),
        ("messages", ["Table"]),
    ]
    secret = {
        name
        for name, field in component["template"].items()
        if isinstance(field, dict) and field.get("password")
    }
    assert secret == {"url", "password"}
    assert not {field["value"] for field in map(component["template"].get, secret)} - {""}
