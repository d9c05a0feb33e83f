"""Every log record of the library has an event name, and the documentation knows it."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import redis_sessions
from tests.support.talk import FLOW, keys_of, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend

PACKAGE = Path(redis_sessions.__file__).parent
DOCUMENTED = (PACKAGE.parent / "docs" / "observability.md").read_text("utf-8")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged(file: Path) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
        and node.func.attr in LEVELS
    ]


CALLS = [(file.name, call) for file in sorted(PACKAGE.glob("*.py")) for call in logged(file)]


@pytest.mark.parametrize(("file", "call"), CALLS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_record_names_its_event(file: str, call: ast.Call) -> None:
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    assert isinstance(extra, ast.Call), ast.unparse(call)
    assert isinstance(extra.args[0], ast.Constant)
    assert f"| `redis_sessions.{extra.args[0].value}` |" in DOCUMENTED


def test_every_documented_event_is_logged() -> None:
    source = "".join(file.read_text("utf-8") for file in PACKAGE.glob("*.py"))
    events = re.findall(r"^\| `redis_sessions\.(\w+)` \| (?!histogram|counter)", DOCUMENTED, re.MULTILINE)
    assert len(events) == len(set(events)) >= 9
    assert [event for event in events if f'event("{event}"' not in source] == []


@pytest.mark.backends("valkey")
async def test_a_record_has_its_values(
    store: SessionStore, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    await say(store, "secret words")
    entry = await backend.raw(store).xadd(
        keys_of(store).log("chat"), {"b": "secret too"}, id="9999999999999999-1"
    )
    with caplog.at_level(logging.WARNING, "redis_sessions"):
        assert await texts(store) == ["secret words"]
    [record] = caplog.records
    values = vars(record)
    assert values["event.name"] == "redis_sessions.corrupt_entry"
    assert values["redis_sessions.entry"] == entry.decode()
    assert FLOW in values["redis_sessions.key"]
    assert not [value for value in values.values() if "secret" in str(value)]
