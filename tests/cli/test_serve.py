from __future__ import annotations

import re
import signal
import socket
import subprocess

import httpx
import pytest

from redis_sessions.cli.demo import FLOW, SESSION

pytestmark = pytest.mark.backends("valkey")
MESSAGES = "/api/v1/monitor/messages"


def _address(server) -> str:
    return re.search(r"http://\S+", server.wait_for("serving:", server.out))[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_stops_in_order(cli, flow, started, number) -> None:
    cli("add", flow, "hello", "-s", "a")
    server = started("serve", "--port", "0")
    base = _address(server)
    assert httpx.get(f"{base}/health").json() == {"status": "ok"}
    [message] = httpx.get(base + MESSAGES, params={"flow_id": flow, "session_id": "a"}).json()
    assert message["text"] == "hello"
    assert server.stop(number) == 0
    assert server.err == ["stopped"]


def test_the_example_that_it_prints_works(started) -> None:
    server = started("serve", "--port", "0", "--demo")
    example = server.wait_for("curl", server.out)
    _address(server)
    url = re.search(r"curl '(.*)'", example)[1]
    texts = [message["text"] for message in httpx.get(url).json()]
    assert any("4711" in text for text in texts)
    assert server.stop() == 0


def test_the_demo_is_loaded_once(cli, started) -> None:
    for notice in ("loaded the demo", "not empty"):
        server = started("serve", "--port", "0", "--demo")
        _address(server)
        server.wait_for(notice, server.err)
        assert server.stop() == 0
    assert len(cli("history", FLOW, SESSION, "--json").json) == 4


def test_the_demo_leaves_a_store_with_sessions_alone(cli, flow, started) -> None:
    cli("add", flow, "hello")
    server = started("serve", "--port", "0", "--demo")
    _address(server)
    server.stop()
    assert {entry["flow_id"] for entry in cli("sessions", "--json").json} == {flow}


def test_without_a_url_it_has_a_store_of_its_own_that_outlives_it(lone_cli, started, tmp_path) -> None:
    server = started("serve", "--port", "0", "--demo")
    _address(server)
    assert f"embedded://{tmp_path}/redis-sessions" in server.wait_for("data:", server.out)
    assert lone_cli("history", FLOW, SESSION).code == 0  # while it runs: the same server
    assert server.stop() == 0
    assert lone_cli("history", FLOW, SESSION).code == 0


def test_memory_says_that_it_forgets(started) -> None:
    server = started("serve", "--port", "0", "--url", "memory://")
    _address(server)
    assert "gone when it ends" in server.wait_for("data:", server.out)
    assert server.stop() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_it_does_not_listen_for_other_machines(cli, host) -> None:
    outcome = cli("serve", "--host", host, "--port", "0")
    assert outcome.code == 2
    assert "no login yet" in outcome.err


def test_a_host_that_does_not_resolve_is_refused(cli) -> None:
    assert cli("serve", "--host", "no.such.host.invalid").code == 2


def test_a_port_in_use_is_one_clear_line(cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("serve", "--port", str(port))
    assert outcome.code == 6
    assert f"port {port} of 127.0.0.1 is in use" in outcome.err
    assert "--port" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_redis_that_is_away_is_unavailable(cli) -> None:
    outcome = cli("serve", "--port", "0", "--url", "redis://127.0.0.1:1", "--deadline", "0.2")
    assert outcome.code == 3
    assert "serving" not in outcome.out


def test_ctrl_c_while_it_waits_for_redis_ends_it(started) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = started(
            "serve",
            "--port",
            "0",
            "--url",
            f"redis://127.0.0.1:{silent.getsockname()[1]}",
            "--deadline",
            "60",
        )
        silent.accept()[0].close()
        assert server.stop() == 0


def test_a_client_that_stays_connected_does_not_keep_it(started) -> None:
    server = started("serve", "--port", "0")
    with httpx.Client(base_url=_address(server)) as client:
        client.get("/health")
        assert server.stop() == 0


def test_without_uvicorn_one_line_names_the_extra(tmp_path, environment) -> None:
    import os

    from tests.cli.conftest import command_line

    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(name='uvicorn')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command_line("serve"), capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: serve needs uvicorn: pip install 'redis-sessions[serve]'\n"
