"""The keeper as a program of its own, and what it decides. ``test_embedded`` has it at work."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redis_sessions import keeper
from tests.support import HOST, poll
from tests.support.servers import BINARIES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)  # as the keeper does
    return folder


def run(folder: Path, binary: object = BINARIES["valkey"]) -> subprocess.CompletedProcess[str]:
    """The keeper's foreground part, to its end."""
    command = [sys.executable, "-m", "redis_sessions.keeper", str(binary), str(folder)]
    root = Path(__file__).parents[1]
    return subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, text=True, timeout=60, start_new_session=True, check=False
    )


@contextlib.contextmanager
def locked(path: Path, *, shared: bool) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert keeper.lock(file, shared=shared)
        yield
    finally:
        os.close(file)


def is_free(folder: Path) -> bool:
    """Whether neither keeper nor server live."""
    with contextlib.suppress(AssertionError), locked(folder / keeper.SERVER_LOCK, shared=False):
        return True
    return False


def answers(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link, contextlib.suppress(OSError):
        link.connect(str(folder / keeper.SOCKET))
        link.sendall(b"PING\r\n")
        return link.recv(100).startswith(b"-NOAUTH")
    return False


def test_a_keeper_starts_a_server_and_ends_it_with_the_last_user(folder: Path) -> None:
    with locked(folder / keeper.USERS_LOCK, shared=True):
        done = run(folder)
        assert (done.returncode, done.stdout) == (0, "")
        poll(lambda: answers(folder), timeout=30)
        assert not is_free(folder)
        assert stat.S_IMODE((folder / keeper.PASSWORD).stat().st_mode) == 0o600
    poll(lambda: is_free(folder), timeout=30)

    assert "User requested shutdown" in (folder / keeper.LOG).read_text()


def test_a_keeper_that_is_told_to_end_ends_its_server_first(folder: Path) -> None:
    with locked(folder / keeper.USERS_LOCK, shared=True):
        run(folder)
        poll(lambda: answers(folder), timeout=30)
        os.kill(keeper_of(folder), signal.SIGTERM)
        poll(lambda: is_free(folder), timeout=30)

    assert "User requested shutdown" in (folder / keeper.LOG).read_text()


def keeper_of(folder: Path) -> int:
    """The process that holds the lock and is not the server."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            holds = any(link.readlink() == folder / keeper.SERVER_LOCK for link in (entry / "fd").iterdir())
            if holds and "valkey" not in (entry / "exe").readlink().name:
                return int(entry.name)
    raise AssertionError("no keeper runs")


def test_a_folder_that_another_keeper_has_is_left_to_it(folder: Path) -> None:
    with locked(folder / keeper.SERVER_LOCK, shared=True):
        assert run(folder).returncode == keeper.BUSY


def test_what_cannot_be_started_is_told_with_its_reason(folder: Path) -> None:
    done = run(folder, folder / "no-such-server")

    assert done.returncode == 1
    assert done.stdout == f"No such file or directory: {folder / 'no-such-server'}"
    assert is_free(folder)


def test_a_long_log_is_put_aside_and_the_old_socket_goes(folder: Path) -> None:
    (folder / keeper.LOG).write_bytes(b"x" * (keeper.LOG_LIMIT + 1))
    (folder / keeper.SOCKET).write_text("what a crash left")
    with locked(folder / keeper.USERS_LOCK, shared=True):
        run(folder)
        poll(lambda: answers(folder), timeout=30)
    poll(lambda: is_free(folder), timeout=30)

    assert (folder / (keeper.LOG + ".old")).stat().st_size == keeper.LOG_LIMIT + 1


def test_a_folder_with_a_long_path_has_a_port_and_keeps_it(folder: Path) -> None:
    long = str(folder / ("long" * 30))
    first = keeper.choose_address(long)
    keeper.write(keeper.ADDRESS, first)

    assert first.startswith(f"tcp:{HOST}:")
    assert keeper.choose_address(long) == first


def test_a_port_that_was_taken_meanwhile_is_given_up(folder: Path) -> None:
    long = str(folder / ("long" * 30))
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        keeper.write(keeper.ADDRESS, f"tcp:{HOST}:{taken.getsockname()[1]}")

        address = keeper.choose_address(long)

    assert address.startswith(f"tcp:{HOST}:")
    assert address != (folder / keeper.ADDRESS).read_text().strip()


def test_a_password_is_drawn_once_and_an_empty_one_drawn_anew(folder: Path) -> None:
    first = keeper.read_or_make_password()
    again = keeper.read_or_make_password()
    (folder / keeper.PASSWORD).write_text("\n")

    assert first == again
    assert len(first) == 64
    assert keeper.read_or_make_password() not in ("", first)


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        ("unix:valkey.sock", ["port 0", "unixsocket valkey.sock", "unixsocketperm 700"]),
        ("tcp:127.0.0.1:4711", ["bind 127.0.0.1", "port 4711"]),
    ],
)
def test_a_server_listens_at_its_address_and_nowhere_else(address: str, lines: list[str]) -> None:
    told = keeper.configuration(address, "pass").splitlines()

    assert told[: len(lines)] == lines
    assert [line for line in told[len(lines) :] if line.startswith(("bind", "port", "unixsocket"))] == []
    assert "requirepass pass" in told
