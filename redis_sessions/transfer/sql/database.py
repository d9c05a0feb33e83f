"""Opening a Langflow database, and what its tables are."""

from __future__ import annotations

import contextlib
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from redis_sessions.errors import ConfigurationError, MissingExtraError
from redis_sessions.transfer.errors import TransferError

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
except ModuleNotFoundError as _error:
    raise MissingExtraError("a database needs SQLAlchemy: pip install 'redis-sessions[sql]'") from _error

from redis_sessions.transfer.sql.messages import MessageRows
from redis_sessions.transfer.sql.rows import BuildRows, Rows, TransactionRows
from redis_sessions.transfer.sql.values import Column, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_CONNECT_SECONDS = 10
_BUSY_SECONDS = 30
_NEEDED = {"message": {"id", "flow_id", "session_id", "timestamp", "text"}}


class Database:
    """An SQLite or PostgreSQL database with Langflow's tables.

    Args:
        url: as SQLAlchemy and ``LANGFLOW_DATABASE_URL`` have it; the driver in it does not matter.
        writable: otherwise nothing can be changed, by mistake either. An SQLite file is never created.

    Raises:
        ConfigurationError: the URL cannot work.
        MissingExtraError: the driver for PostgreSQL is not installed.
        TransferError: the database cannot be reached, or has no table of Langflow's.
    """

    def __init__(self, url: str, *, writable: bool = False) -> None:
        try:
            self._url = sa.make_url(url)
        except (exc.ArgumentError, ValueError):
            raise ConfigurationError(f"this is not the URL of a database: {_scheme(url)}://…") from None
        backend = self._url.get_backend_name()
        if backend not in _DRIVERS:
            raise ConfigurationError(
                f"{_scheme(url)}:// is not a database of Langflow's: use sqlite:///file.db or postgresql://…"
            )
        self.dialect: Dialect = "sqlite" if backend == "sqlite" else "postgresql"
        self._writable = writable
        self._engine = self._open()
        self.tables: dict[str, Table] = self._inspect()

    @property
    def name(self) -> str:
        """Where it is, without the password."""
        return self._url.set(drivername=self.dialect, query={}).render_as_string(hide_password=True)

    @property
    def identity(self) -> str:
        """The same for every spelling of the URL."""
        if self.dialect == "sqlite":
            return f"sqlite:{self._path.resolve()}"
        return f"postgresql:{self._url.host}:{self._url.port or 5432}/{self._url.database}"

    @cached_property
    def _path(self) -> Path:
        return Path(cast("str", self._url.database).removeprefix("file:"))

    def _open(self) -> sa.Engine:
        if self.dialect == "postgresql":
            options: dict[str, Any] = {
                "options": "-c timezone=UTC -c datestyle=ISO -c bytea_output=hex",
                "connect_timeout": _CONNECT_SECONDS,
            }
            url = self._url.set(drivername=_DRIVERS["postgresql"])
        else:
            if not self._url.database or self._url.database == ":memory:":
                raise ConfigurationError("name the file of the database: sqlite:///langflow.db")
            if not self._path.is_file():
                raise ConfigurationError(f"there is no file {str(self._path)!r}{_absolute_hint(self._path)}")
            mode = "rw" if self._writable else "ro"
            options = {"timeout": _BUSY_SECONDS, "uri": True}
            # SQLite decodes %xx in the path of a URI; ? and # would end it.
            path = str(self._path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
            url = sa.URL.create(
                _DRIVERS["sqlite"], database=f"file:{path}", query={"mode": mode, "uri": "true"}
            )
        try:
            engine = sa.create_engine(url, connect_args=options, poolclass=sa.NullPool)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"PostgreSQL needs {error.name}: pip install 'redis-sessions[sql]'"
            ) from error
        if self.dialect == "sqlite":
            sa.event.listen(engine, "connect", _keep_bytes)
        return engine

    def _inspect(self) -> dict[str, Table]:
        with self.failures():
            inspector = sa.inspect(self._engine)
            found = set(inspector.get_table_names())
            tables: dict[str, Table] = {
                name: Table(self._engine.dialect, name, inspector.get_columns(name), self.dialect)
                for name in ("message", "flow", "transaction", "vertex_build")
                if name in found
            }
        for name, needed in _NEEDED.items():
            missing = needed - set(tables[name].columns) if name in tables else {"*"}
            if missing:
                lacks = (
                    f"no table {name!r}" if missing == {"*"} else f"no column {min(missing)!r} in {name!r}"
                )
                raise TransferError(
                    f"{self.name} is not a database of Langflow's: it has {lacks}. "
                    "Langflow makes its tables when it starts"
                )
        return tables

    @contextlib.contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """A connection, and its errors as the package's."""
        with self.failures(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise TransferError(f"{self.name}: {reason(error)}") from error

    def close(self) -> None:
        self._engine.dispose()


class Table:
    """A table as this database has it."""

    def __init__(self, dialect: Any, name: str, columns: list[Any], kind: Dialect) -> None:
        self.name = name
        self.columns: list[str] = [str(column["name"]) for column in columns]
        self._types = {column["name"]: column["type"] for column in columns}
        self._compiled = {name: type_.compile(dialect) for name, type_ in self._types.items()}
        self._dialect = kind
        self.quoted: str = quoted(name)
        self.rows: Any = self._rows()

    def _rows(self) -> Any:
        classes: tuple[type[Rows], ...] = (MessageRows, BuildRows, TransactionRows)
        for rows in classes:
            if rows.table == self.name:
                known = {
                    name: Column(
                        name, kind, self._dialect, aware=bool(getattr(self._types[name], "timezone", False))
                    )
                    for name, kind in rows.kinds.items()
                    if name in self.columns
                }
                return rows(self.columns, known)
        return None

    @cached_property
    def wide(self) -> list[str]:
        """The columns that may hold much."""
        known = self.rows.known
        return [
            name
            for name in self.columns
            if name not in known or known[name].kind == "json" or name in {"text", "params", "error"}
        ]

    @property
    def selected(self) -> str:
        """The columns of a SELECT, raw."""
        return ", ".join(self.raw(name) for name in self.columns)

    def raw(self, name: str) -> str:
        """A column, raw (see ``values.py``)."""
        if self._dialect == "sqlite" or isinstance(self._types[name], sa.Boolean | sa.Integer | sa.Float):
            return quoted(name)
        return f"CAST({quoted(name)} AS TEXT)"

    def bound(self, name: str, parameter: str) -> str:
        """A parameter in the place of a column's value."""
        if self._dialect == "sqlite":
            return f":{parameter}"
        return f"CAST(:{parameter} AS {self._compiled[name]})"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def reason(error: exc.SQLAlchemyError) -> str:
    """What the database says, in one line and without the statement and its values."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


def _scheme(url: str) -> str:
    return url.partition("://")[0][:40] if "://" in url else "…"


def _absolute_hint(path: Path) -> str:
    absolute = Path("/") / path
    if not path.is_absolute() and absolute.is_file():
        return f" here; an absolute path has four slashes: sqlite:///{absolute}"
    return ""


def _keep_bytes(connection: Any, _: Any) -> None:
    """Text that is not UTF-8 is reported with its row, not raised for all."""
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
