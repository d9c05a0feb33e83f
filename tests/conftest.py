"""The matrix: what a test of ``store`` runs on is decided in one table, ``BACKENDS``.

==================  ==================================================================================
fixture             gives
==================  ==================================================================================
``backend``         the server behind the test: ``kind``, ``url``, ``prefix``, ``redis``, ``raw(store)``
``store``           an open SessionStore with the test's own prefix, on every row of the table
``make_store``      ``await make_store(**options)``: another store with the same server and prefix
``real_store``      the same on real servers only, with ``make_real_store``
``valkey_store``    the same on Valkey only, with ``make_valkey_store``
``near``, ``far``   two open stores, the second behind ``proxy``, which holds and counts requests
``servers``         the servers of this pytest worker, started when they are first needed
==================  ==================================================================================

What the store for threads has to itself, how it waits and tries again, is tested by those tests of the
asynchronous store that are about it: the modules of ``THREADED`` have a row ``threads``, on Valkey.

``@pytest.mark.store_options(max_messages=3)`` opens ``store`` with these options;
``@pytest.mark.backends("valkey", "redis7")`` runs a test on these rows only. A module that has a table
``BACKENDS`` and a fixture ``backend`` runs on these instead. A test that does harm to its server (kills it,
fills it, reconfigures it) starts one of its own from ``tests.support``.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest

from redis_sessions import SessionStore
from tests.support import (
    REDIS_SERVER,
    Proxy,
    Server,
    ValkeyCluster,
    redis_server,
    valkey_cluster,
    valkey_server,
)
from tests.support.lots import pytest_xdist_make_scheduler  # noqa: F401 - a hook
from tests.support.secrets import (  # noqa: F401 - hooks
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_sessionstart,
)
from tests.support.threaded import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import redis

PARENT = os.getppid()
BACKENDS = [
    pytest.param("memory", id="memory"),
    pytest.param("valkey", id="valkey"),
    pytest.param(
        "redis7",
        marks=pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed"),
        id="redis7",
    ),
    pytest.param("cluster", id="cluster"),
]
THREADED = {"append", "late_attempts", "races", "rename", "retries", "wait_replicas"}
STARTERS: dict[str, Callable[[], contextlib.AbstractContextManager[Server | ValkeyCluster]]] = {
    "valkey": valkey_server,
    "redis7": redis_server,
    "cluster": valkey_cluster,
}
REAL = tuple(STARTERS)
NARROWER = {  # fixtures that leave rows of the table out
    "real_store": REAL,
    "make_real_store": REAL,
    "valkey_store": ("valkey",),
    "make_valkey_store": ("valkey",),
}

# The servers are real and the machines of CI slow: an example may take long without being wrong.
hypothesis.settings.register_profile("redis-sessions", parent=hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("redis-sessions")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "store_options(**options): open the store fixtures with these options")
    config.addinivalue_line("markers", "backends(*kinds): run on these rows of the matrix only")


def pytest_runtest_setup() -> None:
    # A worker of pytest-xdist ignores Ctrl-C, and would run what it was given to the end, for nobody.
    if "PYTEST_XDIST_WORKER" in os.environ and os.getppid() != PARENT:
        pytest.exit("pytest has gone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    rows = getattr(metafunc.module, "BACKENDS", BACKENDS)
    kinds = {str(row.values[0]) for row in rows}
    for name in set(metafunc.fixturenames) & set(NARROWER):
        kinds &= set(NARROWER[name])
    for mark in metafunc.definition.iter_markers("backends"):
        kinds &= set(mark.args)
    chosen = [row for row in rows if row.values[0] in kinds]
    if "valkey" in kinds and metafunc.module.__name__.rpartition("test_")[2] in THREADED:
        chosen.append(pytest.param("threads", id="threads"))
    metafunc.parametrize("backend", chosen, indirect=True)


@pytest.fixture(autouse=True)
def _settings_come_from_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("REDIS_SESSIONS_")]:
        monkeypatch.delenv(name)


class Servers:
    """The servers of one pytest worker; each is started when it is first needed."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Server | ValkeyCluster] = {}

    def __getitem__(self, kind: str) -> Server | ValkeyCluster:
        server = self._running.get(kind)
        if server is None or not server.alive:
            server = self._running[kind] = self._stack.enter_context(STARTERS[kind]())
        return server


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@dataclass
class Backend:
    """Where the stores of one test keep their data."""

    kind: str
    url: str
    server: Server | ValkeyCluster | None  # None: in this process
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    options: dict[str, Any] = field(default_factory=dict)  # of every store, as a user's name
    threads: bool = False  # stores are driven by threads

    @property
    def redis(self) -> redis.Redis | redis.RedisCluster:
        """A plain synchronous client of the real server. For all kinds: ``raw(store)``."""
        if self.server is None:
            raise RuntimeError("memory:// has no server; use backend.raw(store)")
        return self.server.client()

    def raw(self, store: SessionStore) -> Any:
        """The asynchronous redis-py client that ``store`` itself uses."""
        return store.connection.client

    async def keys(self, store: SessionStore) -> list[str]:
        """All keys that the stores of this test have now, sorted."""
        pattern = re.sub(r"([*?\[\]\\^-])", r"\\\1", self.prefix) + ":*"
        everywhere = {"target_nodes": "primaries"} if self.kind == "cluster" else {}
        found = await self.raw(store).keys(pattern, **everywhere)
        return sorted(key.decode() if isinstance(key, bytes) else key for key in found)


@pytest.fixture
def backend(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Backend]:
    if request.param == "memory":
        yield Backend("memory", f"memory://{uuid.uuid4().hex}", None)
        return
    threads = request.param == "threads"
    kind = "valkey" if threads else request.param
    server = servers[kind]
    backend = Backend(kind, server.url, server, threads=threads)
    yield backend
    if server.alive:
        backend.redis.flushall(asynchronous=True)


class MakeStore(Protocol):
    async def __call__(self, url: str | None = None, **options: Any) -> SessionStore: ...


@pytest.fixture
async def make_store(backend: Backend) -> AsyncIterator[MakeStore]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(url: str | None = None, **options: Any) -> SessionStore:
            """An open store; ``url`` is for a proxy before the server, ``prefix`` for a stranger's keys."""
            options = {"prefix": backend.prefix, **backend.options, **options}
            kind = ThreadedStore if backend.threads else SessionStore
            return await stack.enter_async_context(kind.from_url(url or backend.url, **options))

        yield make


@pytest.fixture
async def store(request: pytest.FixtureRequest, make_store: MakeStore) -> SessionStore:
    marks = reversed(list(request.node.iter_markers("store_options")))  # the nearest has the last word
    return await make_store(**{name: value for mark in marks for name, value in mark.kwargs.items()})


@pytest.fixture
def make_real_store(make_store: MakeStore) -> MakeStore:
    return make_store


@pytest.fixture
def real_store(store: SessionStore) -> SessionStore:
    return store


@pytest.fixture
def make_valkey_store(make_store: MakeStore) -> MakeStore:
    return make_store


@pytest.fixture
def valkey_store(store: SessionStore) -> SessionStore:
    return store


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[Proxy]:
    """A way to the server on which a test can hold and count requests."""
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        yield proxy


@pytest.fixture
async def near(make_store: MakeStore) -> SessionStore:
    """A store with an undisturbed way to the server."""
    return await make_store()


@pytest.fixture
async def far(make_store: MakeStore, proxy: Proxy, near: SessionStore) -> SessionStore:
    """The store under test, behind the proxy."""
    return await make_store(proxy.url, deadline=timedelta(seconds=20))
