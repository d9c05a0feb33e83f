from __future__ import annotations

import re
import signal
import socket
import subprocess

import httpx
import pytest

from redis_sessions.cli.demo import FLOW, SESSION
from tests.support.secrets import remember

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
    assert "access is open" in outcome.err


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


def _key(cli, owner: str) -> tuple[str, str]:
    made = cli("key", "new", "--owner", owner, "--json").json
    remember(made["key"])
    return made["key"], f"{made['hash']} {made['owner']}"


def test_keys_open_the_flows_of_their_owner(in_store, cli, flow, started, tmp_path) -> None:
    fields = {"text": "hello", "sender": "u", "sender_name": "u", "session_id": "a", "owner": "ann"}
    in_store(lambda store: store.append(flow, **fields))
    (ann, line), (ben, other) = _key(cli, "ann"), _key(cli, "ben")
    file = tmp_path / "keys"
    file.write_text(f"# keys\n{line}\n{other}\n")
    who = ("--access", "keys", "--keys-file", str(file))
    server = started("serve", "--port", "0", "--host", "0.0.0.0", *who)
    base = _address(server).replace("0.0.0.0", "127.0.0.1")
    found = [
        httpx.get(base + MESSAGES, params={"flow_id": flow}, headers={"x-api-key": key})
        for key in (ann, ben, "wrong")
    ]
    assert [answer.status_code for answer in found] == [200, 200, 403]
    assert [len(answer.json()) for answer in found[:2]] == [1, 0]
    for path in ("/ready", "/metrics", "/openapi.json"):
        assert httpx.get(base + path).status_code == 200
    assert "TLS" in server.wait_for("other machines", server.err)
    assert server.stop() == 0


def test_keys_may_come_from_the_environment(cli, started, monkeypatch) -> None:
    key, line = _key(cli, "ann")
    monkeypatch.setenv("REDIS_SESSIONS_MONITOR_ACCESS", "keys")
    monkeypatch.setenv("REDIS_SESSIONS_MONITOR_KEYS", line.replace(" ", "="))
    monkeypatch.setenv("REDIS_SESSIONS_MONITOR_RATE_LIMIT", "1/hour")
    server = started("serve", "--port", "0")
    base = _address(server)
    answers = [httpx.get(base + MESSAGES, headers={"x-api-key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert server.stop() == 0


def test_a_langflow_that_is_away_lets_nobody_in(started) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://user:hush-hush@127.0.0.1:{taken.getsockname()[1]}"
        remember(url)
    server = started("serve", "--port", "0", "--access", "langflow", "--langflow-url", url)
    base = _address(server)
    assert httpx.get(base + MESSAGES, headers={"x-api-key": "k"}).status_code == 503
    assert "hush-hush" not in "".join((*server.out, *server.err))
    assert server.stop() == 0


def test_pages_of_an_origin_that_is_named_may_read(started) -> None:
    server = started("serve", "--port", "0", "--cors-origin", "https://a.example")
    answer = httpx.get(_address(server) + MESSAGES, headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--access", "keys"], "no API key is configured"),
        (["--access", "keys", "--keys-file", "no-such-file"], "cannot be read"),
        (["--access", "langflow"], "LANGFLOW_URL"),
        (["--access", "langflow", "--langflow-url", "127.0.0.1:7860"], "http://127.0.0.1:7860"),
        (["--keys-file", "keys"], "--keys-file is for --access keys; access is open"),
        (["--langflow-url", "http://localhost"], "--langflow-url is for --access langflow"),
        (["--cors-origin", "a.example"], "an origin is https://host"),
        (["--rate-limit", "many"], "600/minute"),
        (["--access", "nobody"], "--access"),
    ],
)
def test_a_mistake_in_who_gets_in_is_said_before_it_listens(cli, arguments, problem) -> None:
    outcome = cli("serve", "--port", "0", *arguments)
    assert outcome.code == 2
    assert problem in outcome.err
    assert "serving" not in outcome.out
    assert "Traceback" not in outcome.err


def test_the_help_names_the_variables(cli) -> None:
    out = cli("serve", "--help").out.replace("\n", " ")
    for name in ("ACCESS", "KEYS_FILE", "LANGFLOW_URL", "CORS_ORIGINS", "RATE_LIMIT"):
        assert f"REDIS_SESSIONS_MONITOR_{name}" in out.replace(" ", "")
    assert "MAX_STREAMS" in out


def test_short_answers_do_not_wait_for_acknowledgements(started) -> None:
    server = started("serve", "--port", "0")
    with httpx.Client(base_url=_address(server)) as client:
        times = sorted(client.get("/health").elapsed.total_seconds() for _ in range(41))
    assert times[20] < 0.03  # 40 ms with Nagle's algorithm
    assert server.stop() == 0
