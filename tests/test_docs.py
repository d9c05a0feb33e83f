"""What docs/ says is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from redis_sessions import SessionStore
from redis_sessions.monitor import MonitorSettings, monitor_app
from redis_sessions.monitor.app import PREFIX
from redis_sessions.monitor.openapi import document

DOCS = Path(__file__).parents[1] / "docs"
MONITOR = (DOCS / "monitor.md").read_text("utf-8")
PAGES = sorted(DOCS.rglob("*.md"))


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


@pytest.mark.parametrize("name", MonitorSettings.model_fields)
def test_every_setting_of_the_monitor_is_in_the_table(name: str) -> None:
    field = MonitorSettings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, (), {}) else f"{default:,}" if isinstance(default, int) else str(default)

    row = rf"\| `{name}` \| `REDIS_SESSIONS_MONITOR_{name.upper()}` \| `?{shown}`? \| "
    assert re.search(row + re.escape(f"{field.description} |"), MONITOR)


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
