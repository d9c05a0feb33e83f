"""`import` and `export`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import poll, valkey_server
from tests.transfer.databases import ANN, FLOW, LangflowDatabase, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Cli, Started
    from tests.conftest import Backend

pytestmark = pytest.mark.backends("valkey")


@pytest.fixture
def database(tmp_path: Path) -> LangflowDatabase:
    """Three messages, a transaction and a build."""
    database = LangflowDatabase(f"sqlite:///{tmp_path / 'langflow.db'}")
    database.create()
    database.add_user()
    database.add_flow()
    database.insert("message", [database.message(number, text=str(number)) for number in range(3)])
    database.insert("transaction", [database.transaction()])
    database.insert("vertex_build", [database.build()])
    return database


def test_a_database_comes_and_goes(cli: Cli, database: LangflowDatabase, tmp_path: Path) -> None:
    done = cli("import", database.url)
    assert done.code == 0
    assert done.out.splitlines() == [
        "Messages:      3 added",
        "Transactions:  1 added",
        "Builds:        1 added",
        "Compared:      3 messages of 1 sessions; 1 sessions are equal",
        "Both sides are equal.",
    ]
    shown = cli("history", FLOW, "chat", "--json").json
    assert [message["text"] for message in shown] == ["0", "1", "2"]
    before = {table: database.rows(table) for table in ("message", "transaction", "vertex_build")}
    for table in before:
        database.execute(f'DELETE FROM "{table}"')
    assert cli("export", "--to", database.url).code == 0
    assert {table: database.rows(table) for table in before} == before
    assert cli("export", "--to", str(tmp_path / "a.jsonl")).code == 0
    assert "3 there already" in cli("import", str(tmp_path / "a.jsonl")).out


def test_json_tells_counts_and_that_both_sides_are_equal(cli: Cli, database: LangflowDatabase) -> None:
    done = cli("import", database.url, "--json").json
    assert done["equal"] is True
    assert done["source"] == database.url
    assert done["counts"]["messages added"] == 3
    assert done["findings"] == {}


def test_a_difference_is_listed_and_is_the_exit_code(
    cli: Cli, database: LangflowDatabase, tmp_path: Path
) -> None:
    database.insert("message", [database.message(1, session_id="x" * 3_000) for _ in range(120)])
    listed = tmp_path / "findings.jsonl"
    done = cli("import", database.url, "--findings", str(listed))
    assert done.code == 7
    assert "refused: message" in done.err
    assert done.err.count("refused: ") == 100
    assert "and 20 more" in done.err
    assert "Differences:   120 refused" in done.out
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    assert len(lines) == 120
    assert {line["what"] for line in lines} == {"refused"}
    assert cli("import", database.url, "--json").json["findings"] == {"refused": 120}


def test_a_dry_run_says_so(cli: Cli, database: LangflowDatabase) -> None:
    done = cli("import", database.url, "--dry-run")
    assert done.code == 0
    assert "Nothing was changed" in done.out
    assert cli("sessions").out.count(FLOW) == 0


def test_since_and_flow_choose(cli: Cli, database: LangflowDatabase) -> None:
    assert cli("import", database.url, "--flow", ANN, "--json").json["counts"] == {}
    compact = FLOW.replace("-", "").upper()
    chosen = cli("import", database.url, "--flow", compact, "--since", "2026-01-02T03:04:06Z", "--json").json
    assert chosen["counts"]["messages added"] == 2


def test_export_to_stdout_is_nothing_but_lines(cli: Cli, database: LangflowDatabase) -> None:
    cli("import", database.url)
    done = cli("export")
    assert done.code == 0
    assert done.err == ""
    kinds = [json.loads(line)["type"] for line in done.out.splitlines()]
    assert kinds == ["header", "flow", "message", "message", "message", "transaction", "build", "end"]


def test_a_reader_that_has_had_enough_ends_the_export(cli: Cli, environment: None, tmp_path: Path) -> None:
    path = tmp_path / "big.db"
    fill(path, 400, sessions=5, flows=1)
    assert cli("import", f"sqlite:///{path}").code == 0
    script = f"{sys.executable} -m redis_sessions export | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["type"] == "header"


MISTAKES: list[Any] = [
    pytest.param("sqlite:///nowhere.db", 2, "there is no file 'nowhere.db'", id="no such database"),
    pytest.param("nowhere.jsonl", 2, "there is no file 'nowhere.jsonl'", id="no such file"),
    pytest.param("langflow.db", 2, "write sqlite:///langflow.db", id="a path for a URL"),
    pytest.param("sqlite:langflow.db", 2, "write sqlite:///langflow.db", id="half a URL"),
    pytest.param("sqlite://", 2, "name the file", id="no file"),
    pytest.param("mysql://host/db", 2, "mysql:// is not a database of Langflow's", id="MySQL"),
    pytest.param("postgressql://host/db", 2, "postgressql:// is not", id="typo"),
    pytest.param("postgresql:/host/db", 2, "postgresql://user@host/database", id="one slash"),
    pytest.param("redis://localhost:6379/0", 2, "redis:// is not a database", id="Redis"),
    pytest.param("://x", 2, "", id="no scheme"),
    pytest.param("/", 2, "'/' is a folder: name a file", id="a folder"),
]


@pytest.mark.parametrize(("source", "code", "text"), MISTAKES)
def test_a_typical_mistake_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("import", source)
    assert done.code == code
    assert done.err.startswith("error: ")
    assert text in done.err
    assert list(tmp_path.iterdir()) == [], "no database is made by mistake"


def test_an_absolute_path_with_three_slashes_is_told(
    cli: Cli, database: LangflowDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    wrong = database.url.replace("sqlite:////", "sqlite:///")
    done = cli("import", wrong)
    assert done.code == 2
    assert "four slashes" in done.err


def test_a_target_without_its_option_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli("export", "out.jsonl")
    assert done.code == 2
    assert "redis-sessions export --to out.jsonl" in done.err


@pytest.mark.parametrize("target", ["file", "database"])
def test_a_flow_that_is_not_there_is_not_exported_as_an_empty_one(
    cli: Cli, database: LangflowDatabase, tmp_path: Path, target: str
) -> None:
    to = str(tmp_path / "out.jsonl") if target == "file" else database.url
    done = cli("export", "--flow", "mistyped", "--to", to)
    assert done.code == 1
    assert "there is no flow 'mistyped'" in done.err
    assert not (tmp_path / "out.jsonl").exists()


def test_an_import_of_a_flow_that_is_not_there_says_so(cli: Cli, database: LangflowDatabase) -> None:
    done = cli("import", database.url, "--flow", "mistyped")
    assert done.code == 0
    assert "has nothing of flow 'mistyped'" in done.err


def test_a_file_that_is_no_database_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"nothing of the kind" * 100)
    done = cli("import", f"sqlite:///{tmp_path / 'x.db'}")
    assert done.code == 6
    assert "file is not a database" in done.err


def test_a_database_that_does_not_answer_is_told_without_its_password(cli: Cli) -> None:
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        done = cli("import", f"postgresql://ann:secret@127.0.0.1:{port}/langflow")
    assert done.code == 6
    assert "refused" in done.err
    assert "secret" not in done.err


@pytest.mark.parametrize("command", [["import", "--since", "noon"], ["export", "--since", "noon", "--to"]])
def test_a_since_that_is_no_time_is_told(cli: Cli, command: list[str], tmp_path: Path) -> None:
    done = cli(*command, str(tmp_path / "x"))
    assert done.code == 2
    assert "--since is not a time" in done.err


def test_an_export_replaces_a_file_only_when_told(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    assert cli("export", "--to", str(path)).code == 2
    assert path.read_text() == "mine"
    assert cli("export", "--to", str(path), "--force").code == 0
    assert json.loads(path.read_text().splitlines()[-1])["type"] == "end"


@pytest.mark.parametrize("command", ["import", "export"])
def test_help_names_what_there_is(cli: Cli, command: str) -> None:
    shown = cli(command, "--help").out
    assert "sqlite:///langflow.db" in " ".join(shown.split())
    for option in ("--flow", "--since", "--dry-run", "--findings", "--json"):
        assert option in shown


@pytest.mark.parametrize(
    ("command", "module", "url"),
    [
        (["import"], "sqlalchemy", "sqlite:///x.db"),
        (["import"], "psycopg", "postgresql://h/d"),
        (["export", "--to"], "sqlalchemy", "sqlite:///x.db"),
    ],
    ids=["import", "driver", "export"],
)
def test_a_missing_extra_is_named(environment: None, command: list[str], module: str, url: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['x', *{[*command, url]!r}]; "
        "from redis_sessions.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install 'redis-sessions[sql]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_import_that_is_killed_goes_on_where_it_was(
    command: Cli, started: Callable[..., Started], backend: Backend, tmp_path: Path
) -> None:
    path = tmp_path / "big.db"
    fill(path, 6_000, sessions=20, flows=2)
    first = started("import", f"sqlite:///{path}")
    redis: Any = backend.redis

    def progress() -> bool:
        keys = redis.keys(f"{backend.prefix}:import:*")
        return bool(keys) and _stored(redis, backend.prefix) >= 500

    poll(progress, timeout=60)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    there = _stored(redis, backend.prefix)
    assert there < 6_000, "it was killed in the middle"
    done = command("import", f"sqlite:///{path}", "--json")
    assert done.code == 0
    assert done.json["counts"]["resumed"] == 1
    assert done.json["counts"]["messages added"] == 6_000 - there
    assert _stored(redis, backend.prefix) == 6_000
    assert redis.keys(f"{backend.prefix}:import:*") == []


def _stored(redis: Any, prefix: str) -> int:
    return sum(redis.xlen(key) for key in redis.scan_iter(f"{prefix}:*:log:*", count=1_000))


def test_when_redis_goes_away_the_import_stops_and_says_how_to_go_on(
    started: Callable[..., Started], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.db"
    fill(path, 6_000, sessions=20, flows=2)
    with valkey_server() as server:
        monkeypatch.setenv("REDIS_SESSIONS_URL", server.url)
        monkeypatch.setenv("REDIS_SESSIONS_DEADLINE", "1")
        task = started("import", f"sqlite:///{path}")
        redis: Any = server.client()
        poll(lambda: _stored(redis, os.environ["REDIS_SESSIONS_PREFIX"]) >= 500, timeout=60)
        server.kill()
        assert task.end() in {3, 5}
    assert any("run the same command again" in line for line in task.err)
    assert not any("Traceback" in line for line in task.err)


def test_ctrl_c_ends_an_import_and_the_next_goes_on(
    command: Cli, started: Callable[..., Started], backend: Backend, tmp_path: Path
) -> None:
    path = tmp_path / "big.db"
    fill(path, 6_000, sessions=20, flows=2)
    first = started("import", f"sqlite:///{path}")
    redis: Any = backend.redis
    poll(lambda: _stored(redis, backend.prefix) >= 500, timeout=60)
    assert first.stop(signal.SIGINT) == 130
    assert not any("Traceback" in line for line in first.err)
    assert command("import", f"sqlite:///{path}").code == 0
    assert _stored(redis, backend.prefix) == 6_000
