"""What docs/ says is what there is."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import redis_sessions
from redis_sessions import SessionStore
from redis_sessions.monitor import MonitorSettings, monitor_app
from redis_sessions.monitor.app import PREFIX
from redis_sessions.monitor.openapi import document

DOCS = Path(__file__).parents[1] / "docs"
MONITOR = (DOCS / "monitor.md").read_text("utf-8")
PAGES = sorted(DOCS.rglob("*.md"))
REFERENCE = re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
PUBLIC = [
    *(f"redis_sessions.{name}" for name in redis_sessions.__all__),
    *(
        f"redis_sessions.{module}.{name}"
        for module in ("blocking", "doctor", "langchain", "monitor", "transfer")
        for name in importlib.import_module(f"redis_sessions.{module}").__all__
    ),
    "redis_sessions.acl.rules",
    "redis_sessions.acl.sentinel_rules",
    "redis_sessions.otel.instrument",
]


def _snippets() -> list[Any]:
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    ]


@pytest.mark.parametrize("code", _snippets())
def test_python_in_the_docs_runs(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def found(name: str) -> Any:
    """What a dotted name stands for: a module, or what is in one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, rest = name.rpartition(".")
        return getattr(found(module), rest)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    whole = [one for one in REFERENCE if isinstance(found(one), ModuleType)]

    assert name in REFERENCE or found(name).__module__ in whole


@pytest.mark.parametrize("name", REFERENCE)
def test_what_the_reference_names_is_there(name: str) -> None:
    assert found(name) is not None


@pytest.mark.parametrize("name", MonitorSettings.model_fields)
def test_every_setting_of_the_monitor_is_in_the_table(name: str) -> None:
    field = MonitorSettings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, (), {}) else f"{default:,}" if isinstance(default, int) else str(default)

    row = rf"\| `{name}` \| `REDIS_SESSIONS_MONITOR_{name.upper()}` \| `?{shown}`? \| "
    assert re.search(row + re.escape(f"{field.description} |"), MONITOR)


def test_others_are_compared_in_the_versions_that_are_measured() -> None:
    groups = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    pinned = dict(
        re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", one).groups()  # type: ignore[union-attr]
        for group in ("peers", "adk", "langflow")
        for one in groups[group]
        if "==" in one and ";" not in one
    )

    shown = re.findall(
        r"^\| .* \| ([\w-]+) (\d[\w.]+) \| .* \|$", (DOCS / "comparison.md").read_text("utf-8"), re.MULTILINE
    )

    assert dict(shown) == pinned


def test_every_endpoint_is_named() -> None:
    section = MONITOR[MONITOR.index("## Endpoints") : MONITOR.index("## Who may see what")]

    for path in document(PREFIX)["paths"]:
        named = path.removeprefix(PREFIX)
        assert f"{named}`" in section or f"{named}?" in section or named.startswith("/page/"), path


async def test_the_metrics_are_those_that_are_served() -> None:
    shown = set(re.findall(r"^\| `(redis_sessions_\w+)` \|", MONITOR, re.MULTILINE))

    async with SessionStore.from_url("memory://") as store:
        app = httpx.ASGITransport(monitor_app(store))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            text = (await client.get("/metrics")).text
    served = {
        name if kind != "counter" or name.endswith("_total") else f"{name}_total"
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE)
        if not name.endswith("_created")
    }
    assert shown == served
