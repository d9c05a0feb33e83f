"""A PostgreSQL server of our own: Debian's, on a free loopback port, gone after the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from tests.support import poll, reaper
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONF = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB", "max_connections": "60"}


def _folder() -> Path | None:
    """Where PostgreSQL's programs are, or None. Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql")
    return max((path.parent for path in versions.glob("*/bin/initdb")), default=None)


FOLDER = _folder()


class PostgreSQL:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def run(self, command: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(command)

    def new_database(self, template: str = "template0") -> str:
        """The URL of a new, empty database, or of a copy."""
        name = f"d{uuid4().hex[:12]}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a server. It refuses to run as root: then it runs as ``postgres``, whom its package made."""
    assert FOLDER is not None
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    reaper.tell("made", folder)
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    port = free_port()
    common: dict[str, Any] = {
        "cwd": folder,
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
        **as_user,
    }
    subprocess.run(
        [FOLDER / "initdb", "-D", "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        check=True, timeout=100, stdout=subprocess.DEVNULL, **common,
    )  # fmt: skip
    conf = [part for name, value in _CONF.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [FOLDER / "postgres", "-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), *conf],
            stdout=log, start_new_session=True, **common,
        )  # fmt: skip
    reaper.tell("started", process.pid)
    try:
        server = PostgreSQL(port)
        poll(lambda: process.poll() is not None or _answers(server), timeout=60)
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text())
        yield server
    finally:
        process.send_signal(2)  # without waiting for clients
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
        reaper.tell("ended", process.pid)
        shutil.rmtree(folder, ignore_errors=True)
        reaper.tell("removed", folder)


def _answers(server: PostgreSQL) -> bool:
    try:
        psycopg.connect(server.url("postgres"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
