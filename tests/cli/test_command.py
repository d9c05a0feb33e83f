"""The command as a whole: where Redis is, exit codes, streams, help."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import redis_sessions
from tests.cli.conftest import command_line
from tests.support import valkey_server
from tests.support.servers import a_sentinel

pytestmark = pytest.mark.backends("valkey")
COMMANDS = ["serve", "add", "history", "sessions", "rename", "delete", "tail", "info"]


def test_the_script_and_the_module_are_the_same(command) -> None:
    script = Path(sys.executable).with_name("redis-sessions")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == command("--help").out


def test_help_names_the_commands_and_the_exit_codes(cli) -> None:
    out = cli("--help").out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert "Exit codes:" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli, name) -> None:
    outcome = cli(name, "--help")
    assert outcome.code == 0
    assert "--url" in outcome.out


def test_version(cli) -> None:
    assert cli("--version").out == f"redis-sessions {redis_sessions.__version__}\n"


def test_no_command_shows_the_help_and_is_wrong_usage(cli) -> None:
    outcome = cli()
    assert outcome.code == 2
    assert "Commands:" in outcome.out + outcome.err


def test_options_may_stand_before_the_command(lone_cli, backend, flow) -> None:
    assert lone_cli("--url", backend.url, "add", flow, "hello").code == 0
    assert lone_cli("history", flow, "--url", backend.url).code == 0


def test_prefixes_are_apart(cli, flow) -> None:
    cli("add", flow, "hello")
    assert cli("history", flow, "--prefix", "elsewhere").code == 1
    assert cli("history", flow, "--prefix", "{x}").code == 2


def test_without_a_url_nothing_is_stored(lone_cli, flow, tmp_path) -> None:
    outcome = lone_cli("add", flow, "hello")
    assert outcome.code == 2
    assert "REDIS_SESSIONS_URL" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_url_the_store_that_serve_made_is_used(lone_cli, flow, tmp_path) -> None:
    assert lone_cli("add", flow, "hello", "--url", f"embedded://{tmp_path}/redis-sessions").code == 0
    outcome = lone_cli("history", flow)
    assert outcome.code == 0
    assert "no URL is set: using embedded://" in outcome.err


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        (("--url", ""), "--url is empty"),
        (("--url", "localhost:6379"), "redis://localhost:6379/0"),
        (("--url", "redis://localhost/x"), "database"),
        (("--url", "redis://:geh@im@localhost"), "percent-encode"),
        (("--deadline", "nan"), "deadline"),
        (("--deadline", "0"), "deadline"),
        (("--deadline", "soon"), "--deadline"),
    ],
)
def test_settings_that_cannot_work_are_refused(cli, option, hint) -> None:
    outcome = cli("info", *option)
    assert (outcome.code, outcome.out) == (2, "")
    assert hint in outcome.err
    assert "geh" not in outcome.err


def test_bad_environment_is_refused(cli, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_TTL", "tomorrow")
    outcome = cli("info")
    assert outcome.code == 2
    assert "ttl" in outcome.err


def test_a_redis_that_is_away_is_unavailable_and_named_without_its_password(cli) -> None:
    outcome = cli("info", "--url", "redis://:geheim@127.0.0.1:1/0", "--deadline", "0.2")
    assert (outcome.code, outcome.out) == (3, "")
    assert "redis://127.0.0.1:1/0" in outcome.err
    assert "geheim" not in outcome.err


def test_a_write_that_may_have_happened_has_a_code_of_its_own(cli, flow) -> None:
    with valkey_server() as server:
        cli("add", flow, "first", "--url", server.url)
        server.client().execute_command("CLIENT", "PAUSE", "60000", "WRITE")
        outcome = cli("add", flow, "second", "--url", server.url, "--deadline", "0.5")
    assert outcome.code == 5
    assert "may have happened" in outcome.err


def test_a_wrong_password_says_so(cli) -> None:
    with valkey_server(requirepass="right") as server:
        outcome = cli("info", "--url", server.url.replace("right", "wrong"))
    assert outcome.code == 3
    assert "password" in outcome.err


def test_a_socket_that_is_not_there_is_told(cli, tmp_path) -> None:
    outcome = cli("info", "--url", f"unix://{tmp_path}/none", "--deadline", "0.2")
    assert outcome.code == 3
    assert "there is no such socket" in outcome.err


def test_a_server_that_is_no_sentinel_is_told(cli) -> None:
    with valkey_server() as server:
        outcome = cli("info", "--url", f"redis+sentinel://127.0.0.1:{server.port}/sessions")
    assert outcome.code == 2
    assert "this server is no Sentinel" in outcome.err


def test_sentinels_that_are_away_are_not_said_to_know_something(cli) -> None:
    outcome = cli("info", "--url", "redis+sentinel://127.0.0.1:1/sessions", "--deadline", "0.2")
    assert outcome.code == 3
    assert "the Sentinels cannot be reached" in outcome.err


def test_a_name_that_no_sentinel_knows_is_told(cli) -> None:
    with a_sentinel("valkey") as sentinel:
        outcome = cli("info", "--url", f"{sentinel_url(sentinel)}/sessions", "--deadline", "0.5")
    assert outcome.code == 3
    assert "the Sentinels know no primary of that name" in outcome.err


def test_a_password_that_a_sentinel_refuses_is_told(cli, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_SENTINEL_PASSWORD", "geheim")
    with a_sentinel("valkey", requirepass="right") as sentinel:
        outcome = cli("info", "--url", f"{sentinel_url(sentinel)}/sessions", "--deadline", "0.5")
    assert outcome.code == 3
    assert "check sentinel_username and sentinel_password" in outcome.err
    assert "geheim" not in outcome.err


def sentinel_url(sentinel) -> str:
    return f"redis+sentinel://127.0.0.1:{sentinel.port}"


def test_tls_to_a_port_without_it_says_what_to_try(cli) -> None:
    with valkey_server() as server:
        outcome = cli("info", "--url", f"rediss://127.0.0.1:{server.port}", "--deadline", "0.5")
    assert outcome.code == 3
    assert "write redis://" in outcome.err


def test_a_port_that_hangs_up_says_what_to_try(cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hanging_up = threading.Thread(target=hang_up, args=(listening,), daemon=True)
        hanging_up.start()
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}"
        outcome = cli("info", "--url", url, "--deadline", "0.5")
        listening.shutdown(socket.SHUT_RDWR)
        hanging_up.join(10)
    assert outcome.code == 3
    assert "write rediss://" in outcome.err


def hang_up(listening: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listening.accept()[0].close()


def test_a_key_of_another_type_is_told(cli, flow, backend) -> None:
    cli("add", flow, "hello", "-s", "a")
    backend.redis.set(f"{backend.prefix}:{{{flow}}}:log:b", "something")
    outcome = cli("add", flow, "hello", "-s", "b")
    assert outcome.code == 6
    assert "another Redis type" in outcome.err


def test_a_reader_that_leaves_early_is_no_error(cli, environment, flow) -> None:
    cli("add", flow, "hello")
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            command_line("history", flow), stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_that_lacks_characters_gets_escapes(cli, environment, flow) -> None:
    cli("add", flow, "caf\u00e9 \U0001f600", "-s", "a")
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command_line("history", flow, "a"), capture_output=True, env=env, check=True)
    assert rb"caf\xe9 \U0001f600" in done.stdout


def test_without_typer_one_line_names_the_extra(tmp_path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(name='typer')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command_line("info"), capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: the command line needs typer and rich: pip install 'redis-sessions[cli]'"
    ]
