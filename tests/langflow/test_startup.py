"""The check at start: one clear line, and then no Langflow, or a stock one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from lfx.services.transaction.service import NoopTransactionService

from redis_sessions.langflow import plugin, runtime, seams, services, startup
from tests.langflow import flows
from tests.support.langflow import LangflowServer
from tests.support.servers import free_port
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Server


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LANGFLOW_REDIS_URL", "REDIS_SESSIONS_URL"):
        monkeypatch.delenv(name, raising=False)
    runtime.reset()
    startup.forget()
    yield
    seams.restore()
    runtime.reset()
    startup.forget()


def test_without_a_url_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFLOW_REDIS_URL", "redis://127.0.0.1:1/0")
    plugin.register(None)  # would fail if it looked at the application
    assert not startup.ready()
    from langflow.services.transaction.service import TransactionService

    assert services.transaction_service is TransactionService


@pytest.mark.parametrize("enabled", ["true", "1"])
def test_langflows_own_url_is_taken_when_that_is_said(
    monkeypatch: pytest.MonkeyPatch, valkey: Server, enabled: str
) -> None:
    monkeypatch.setenv("LANGFLOW_REDIS_URL", valkey.url)
    monkeypatch.setenv("REDIS_SESSIONS_ENABLED", enabled)
    assert startup.ready()


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("REDIS_SESSIONS_ENABLED", "false")
    assert not startup.ready()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"REDIS_SESSIONS_URL": "http://x"}, "URL"),
        (
            {"REDIS_SESSIONS_URL": "redis://user:hush@127.0.0.1:1/0", "REDIS_SESSIONS_DEADLINE": "0.2"},
            "cannot be reached",
        ),
        ({"REDIS_SESSIONS_URL": "redis://127.0.0.1:1", "REDIS_SESSIONS_DEADLINE": "soon"}, "deadline"),
        (
            {"REDIS_SESSIONS_URL": "redis://127.0.0.1:1", "REDIS_SESSIONS_STRICT": "maybe"},
            "REDIS_SESSIONS_STRICT",
        ),
    ],
    ids=["scheme", "unreachable", "setting", "switch"],
)
def test_a_wrong_setting_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], line: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        startup.ready()
    assert ended.value.code == startup.EXIT_CODE
    said = capsys.readouterr().err
    assert said.startswith("error: redis-sessions")
    assert said.count("\n") == 1
    assert line in said
    assert "hush" not in said


def test_an_old_redis_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], valkey: Server
) -> None:
    monkeypatch.setattr("redis_sessions.server.OLDEST_REDIS", (99, 0))
    monkeypatch.setenv("REDIS_SESSIONS_URL", valkey.url)
    with pytest.raises(SystemExit):
        startup.ready()
    assert "this server is" in capsys.readouterr().err


@pytest.mark.parametrize("strict", [True, False])
def test_an_unsupported_langflow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], valkey: Server, *, strict: bool
) -> None:
    monkeypatch.setattr(startup, "_installed", lambda name: "1.9.0")
    monkeypatch.setenv("REDIS_SESSIONS_URL", valkey.url)
    monkeypatch.setenv("REDIS_SESSIONS_STRICT", str(strict))
    if strict:
        with pytest.raises(SystemExit):
            startup.ready()
        assert "langflow-base 1.9.0 is not supported" in capsys.readouterr().err
    else:
        assert not startup.ready()
        assert not runtime.active()


def test_an_untried_langflow_warns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], valkey: Server
) -> None:
    said: list[str] = []
    monkeypatch.setattr(startup, "_installed", lambda name: "1.13.99")
    monkeypatch.setattr(startup.logger, "warning", said.append)
    monkeypatch.setenv("REDIS_SESSIONS_URL", valkey.url)
    assert startup.ready()
    assert said == [
        f"langflow-base 1.13.99 was not tried with redis-sessions; tried: {', '.join(startup.TRIED)}"
    ]


def test_a_changed_function_is_not_replaced(monkeypatch: pytest.MonkeyPatch, valkey: Server) -> None:
    """All or nothing: what was replaced before is put back."""
    from langflow import memory

    async def changed(id_: str, flow_id: str) -> None: ...

    stock = memory.aget_messages
    monkeypatch.setattr(memory, "delete_message", changed)
    monkeypatch.setenv("REDIS_SESSIONS_URL", valkey.url)
    monkeypatch.setenv("REDIS_SESSIONS_STRICT", "false")
    from langflow.services.transaction.service import TransactionService

    assert services.transaction_service is TransactionService
    assert memory.aget_messages is stock
    assert memory.delete_message is changed
    assert not runtime.active()


def test_bare_lfx_without_a_url_has_its_own_transaction_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langflow", None)
    assert services.transaction_service is NoopTransactionService


def test_langflow_run_refuses_or_runs_stock(tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    strict = LangflowServer(tmp_path / "strict", REDIS_SESSIONS_URL=nobody, REDIS_SESSIONS_DEADLINE="1")
    lenient = LangflowServer(
        tmp_path / "lenient",
        REDIS_SESSIONS_URL=nobody,
        REDIS_SESSIONS_DEADLINE="1",
        REDIS_SESSIONS_STRICT="false",
    )
    try:
        strict.spawn()
        lenient.spawn()
        assert strict.wait() == startup.EXIT_CODE
        assert strict.log.count("error: redis-sessions cannot keep Langflow's sessions in Redis: ") == 1
        poll(lenient.healthy, timeout=240, interval=0.2)
        lenient.log_in()
        assert "Langflow runs stock" in lenient.log
        flow = lenient.create_flow(flows.chat())
        lenient.run(flow, "hello", session_id="s")
        assert [message["text"] for message in lenient.messages(flow_id=flow)] == ["hello", "hello"]
    finally:
        strict.close()
        lenient.close()


def test_a_part_that_cannot_be_imported_takes_nothing_over(redis: None) -> None:
    with pytest.raises(startup.RefusedError):
        startup.install(("memory", "no_such_part"))

    assert seams._seams == {}
