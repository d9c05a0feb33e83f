"""The process beside an embedded server: starts it, and stops it when nobody uses its folder any more.

A program of its own, on the standard library alone: ``python -I -S keeper.py BINARY FOLDER``, to be run
in a session of its own. It goes into the background, and ends in the foreground with status 0 once the
server process runs, with status 3 when another keeper has the folder, and with status 1 and a reason on
its standard output when the server cannot be started.

Nobody has to tell it anything, so that nothing is left over when somebody is killed:

- ``server.lock`` is locked for as long as keeper or server live: the kernel drops a lock with its last
  holder. That is what makes a second server on the same data impossible.
- ``users.lock`` is locked, shared, by each process that uses the server. The keeper waits for it
  exclusively: it gets it when the last user is gone, however it went, and then ends the server.
- Should the keeper itself be killed, Linux ends the server for it. On macOS such a server goes on, locked
  and usable, until it is stopped by hand; no data is at risk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

TYPE_CHECKING = False  # importing typing takes longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_LOCK, USERS_LOCK = "server.lock", "users.lock"
PASSWORD, ADDRESS, SOCKET, LOG = "password", "address", "valkey.sock", "valkey.log"
BUSY = 3
LONGEST_SOCKET_PATH = 103  # bytes that fit into sockaddr_un on macOS; Linux has four more
LOG_LIMIT = 1024 * 1024
STOP_TIMEOUT = 30.0
LOCK_TIMEOUT = 1.0  # somebody may be testing the lock just now


def main(binary: str, folder: str) -> int:
    os.umask(0o077)
    os.chdir(folder)
    held = os.open(SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not lock(held, shared=False):
        if time.monotonic() > deadline:
            return BUSY
        time.sleep(0.01)

    outcome, report = os.pipe()
    if os.fork():
        os.close(report)
        with os.fdopen(outcome) as stream:
            reason = stream.read()
        sys.stdout.write(reason)
        return 1 if reason else 0
    os.close(outcome)
    try:
        server = start(binary, folder, held)
    except OSError as error:
        os.write(report, f"{error.strerror or error}: {error.filename or binary}".encode(errors="replace"))
        return 1
    os.close(report)
    keep(server)
    return 0


def lock(file: int, *, shared: bool) -> bool:
    """Try to lock the open file; without waiting."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start(binary: str, folder: str, held: int) -> subprocess.Popen[bytes]:
    Path(SOCKET).unlink(missing_ok=True)
    if Path(LOG).exists() and Path(LOG).stat().st_size > LOG_LIMIT:
        Path(LOG).replace(LOG + ".old")
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)

    address = choose_address(folder)
    password = read_or_make_password()
    die_with_parent = parent_death_signal()
    # By its standard input: an argument would show the password to everybody on the machine.
    readable, writable = os.pipe()
    os.write(writable, configuration(address, password).encode())
    os.close(writable)
    server = subprocess.Popen(  # noqa: S603 - the binary that our caller chose
        [binary, "-"], stdin=readable, pass_fds=(held,), preexec_fn=die_with_parent
    )
    os.close(readable)
    write(ADDRESS, address)
    return server


def keep(server: subprocess.Popen[bytes]) -> None:
    """Wait for the server's end; bring it about when the last user has gone."""

    def stop_after_the_last_user() -> None:
        users = os.open(USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        # Kept until this process ends: a user who comes now waits, and then starts a server anew.
        fcntl.flock(users, fcntl.LOCK_EX)
        server.terminate()
        time.sleep(STOP_TIMEOUT)
        server.kill()

    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    threading.Thread(target=stop_after_the_last_user, daemon=True).start()
    server.wait()
    os._exit(0)  # the thread may still wait for its lock


def configuration(address: str, password: str) -> str:
    """What the server is told. Its working directory is the folder, so no path needs quoting."""
    if address.startswith("tcp:"):
        listen = ["bind 127.0.0.1", f"port {address.rpartition(':')[2]}"]
    else:
        listen = ["port 0", f"unixsocket {SOCKET}", "unixsocketperm 700"]
    return "\n".join([
        *listen,
        f"requirepass {password}",
        "dir ./",
        'save ""',
        "appendonly yes",
        "appendfsync everysec",
        "daemonize no",
        "",
    ])  # fmt: skip


def choose_address(folder: str) -> str:
    if len(os.fsencode(Path(folder, SOCKET))) <= LONGEST_SOCKET_PATH:
        return "unix:" + SOCKET
    # A path that clients could not connect to. The port stays the same where possible, for clients
    # that live through a restart of the server.
    port = 0
    with contextlib.suppress(OSError, ValueError):
        port = int(Path(ADDRESS).read_text().rpartition(":")[2])
    for wanted in (port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            return f"tcp:127.0.0.1:{probe.getsockname()[1]}"
    raise OSError("no port of 127.0.0.1 is free")


def read_or_make_password() -> str:
    with contextlib.suppress(FileNotFoundError):
        password = Path(PASSWORD).read_text().strip()
        if password:
            return password
    password = os.urandom(32).hex()
    write(PASSWORD, password)
    return password


def write(name: str, text: str) -> None:
    """Put the file in place at once: nobody reads half of it."""
    new = Path(name + ".new")
    new.write_text(text + "\n")
    new.replace(name)


def parent_death_signal() -> Callable[[], None] | None:
    """What makes a child get SIGTERM when this process dies, where the kernel can do that."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    keeper, libc = os.getpid(), ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != keeper:  # too late to be told
            os._exit(1)

    return ask


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
