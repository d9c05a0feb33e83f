"""A Langflow database of each kind (``database``, ``make_database``), and imports and exports of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest

from redis_sessions.transfer import Export, Finding, Import, Report, Scope
from redis_sessions.transfer.file import FileSource, FileTarget
from redis_sessions.transfer.sql.database import Database
from redis_sessions.transfer.sql.source import SqlSource
from redis_sessions.transfer.sql.target import SqlTarget
from tests.transfer.databases import LangflowDatabase
from tests.transfer.postgres import FOLDER, PostgreSQL, postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis_sessions import SessionStore
    from redis_sessions.transfer.ledger import SessionSum

KINDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(FOLDER is None, reason="Debian's postgresql is not installed"),
        id="postgresql",
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        marks = {kind for mark in metafunc.definition.iter_markers("databases") for kind in mark.args}
        kinds = [row for row in KINDS if not marks or row.values[0] in marks]
        metafunc.parametrize("database_kind", kinds)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "databases(*kinds): run on these kinds of databases only")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        template = LangflowDatabase(server.new_database())
        template.create()
        server.template = template.url.rpartition("/")[2]  # type: ignore[attr-defined]
        yield server


class MakeDatabase(Protocol):
    def __call__(self) -> LangflowDatabase: ...


@pytest.fixture
def make_database(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    def make() -> LangflowDatabase:
        if database_kind == "sqlite":
            database = LangflowDatabase(f"sqlite:///{tmp_path / f'{uuid4().hex}.db'}")
            database.create()
            return database
        server: Any = request.getfixturevalue("postgres")
        return LangflowDatabase(server.new_database(server.template))

    return make


@pytest.fixture
def database(make_database: MakeDatabase) -> LangflowDatabase:
    """A Langflow database with Ann and her flow."""
    database = make_database()
    database.add_user()
    database.add_flow()
    return database


@dataclass
class Result:
    """How a transfer ended."""

    report: Report
    findings: list[Finding] = field(default_factory=list)
    sessions: list[SessionSum] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Without what is zero, and without what is only compared."""
        return {
            name: count
            for name, count in self.report.counts.items()
            if count and not name.endswith(("compared", "equal"))
        }

    @property
    def whats(self) -> list[str]:
        return sorted(str(finding.what) for finding in self.findings)


class Steps:
    """A progress that calls back when a part begins, or after a step."""

    def __init__(self, **at: Callable[[], None]) -> None:
        self.at = at
        self.parts: list[str] = []
        self.done = 0

    def begin(self, what: str, total: int | None) -> None:
        self.parts.append(what)
        self.done = 0
        self.at.get(what.partition(" ")[0].lower(), lambda: None)()

    def step(self, count: int) -> None:
        self.done += count
        self.at.get("step", lambda: None)()


async def bring(
    store: SessionStore,
    source: LangflowDatabase | Path,
    scope: Scope | None = None,
    steps: Steps | None = None,
    **options: Any,
) -> Result:
    """Import a database or a file."""
    scope = scope or Scope()
    result = Result(Report())
    result.report.listen, result.report.differ = result.findings.append, result.sessions.append
    opened: Any
    if isinstance(source, LangflowDatabase):
        opened = SqlSource(Database(source.url), scope, newest=store.settings.max_transactions)
    else:
        opened = FileSource(source, scope)
    with contextlib.closing(opened):
        await Import(store, opened, scope, result.report, steps or Steps(), **options).run()
    return result


async def take(
    store: SessionStore,
    target: LangflowDatabase | Path,
    scope: Scope | None = None,
    steps: Steps | None = None,
    **options: Any,
) -> Result:
    """Export to a database or a file."""
    scope = scope or Scope()
    result = Result(Report())
    result.report.listen, result.report.differ = result.findings.append, result.sessions.append
    task = Export(store, scope, result.report, steps or Steps())
    if isinstance(target, LangflowDatabase):
        with contextlib.closing(Database(target.url, writable=True)) as database:
            await task.to_database(
                SqlTarget(database),
                lambda: SqlSource(database, scope, newest=2**31, whole=False),
                **options,
            )
    else:
        await task.to_file(FileTarget(target, replace=True), lambda: FileSource(target, scope))
    return result
