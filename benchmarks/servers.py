"""The servers that subjects need, started when the first one asks."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis

from benchmarks import peers
from benchmarks.stack import NoServerError, search_server
from tests.support.servers import Server, valkey_server

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.subjects import Entry


class Servers:
    """``redis``: a Valkey. ``search``: a Redis with RediSearch. ``sqlite`` and ``postgresql``: Langflow's."""

    def __init__(self, pythons: dict[str, str]) -> None:
        self._pythons = pythons
        self._stack = contextlib.ExitStack()
        self._redis: dict[str, Server] = {}
        self._urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def url(self, kind: str) -> str:
        """Where the server of this kind is; it is started if it is not there.

        Raises:
            NoServerError: it is not installed.
        """
        if kind not in self._urls:
            self._urls[kind] = self._start(kind)
        return self._urls[kind]

    def url_for(self, entry: Entry) -> str:
        """Where this subject is to store; of a Redis server, in the database of its own.

        Raises:
            NoServerError: its server is not installed.
        """
        url = self.url(entry.server)
        return f"{url.removesuffix('/0')}/{entry.database}" if entry.server in self._redis else url

    def clients(self) -> dict[str, redis.Redis]:
        """A plain client of each Redis server that was started."""
        return {kind: server.client() for kind, server in self._redis.items()}

    def about(self) -> dict[str, str]:
        """The versions of what was started."""
        found = {"redis-py": redis.__version__}
        for kind, client in self.clients().items():
            info: Any = client.info("server")
            valkey = info.get("valkey_version")
            found[kind] = f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
        return found

    def _start(self, kind: str) -> str:
        match kind:
            case "redis":
                self._redis[kind] = server = self._stack.enter_context(valkey_server())
                return server.url
            case "search":
                self._redis[kind] = server = self._stack.enter_context(search_server(self._pythons["peers"]))
                return server.url
            case "sqlite":
                folder = self._stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="redis-sessions-bench-")
                )
                return f"sqlite:///{Path(folder) / 'langflow.db'}"
            case "postgresql":
                binaries = peers.postgres_binaries()
                if binaries is None:
                    raise NoServerError("PostgreSQL is not installed")
                return self._stack.enter_context(peers.postgres(binaries))
        raise ValueError(kind)
