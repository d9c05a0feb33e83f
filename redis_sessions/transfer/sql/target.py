"""A Langflow database to write to. Its tables are there already: Langflow makes them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.sql.database import Database, Table, quoted, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.transfer.sql.rows import Row

_AT_ONCE = 500


class Written(NamedTuple):
    """What became of records: rows that were added, changed, and equal before; what was refused, and why."""

    added: int
    changed: int
    equal: int
    refused: list[tuple[Any, str]]


class SqlTarget:
    """Writes rows: those that are not there are added, those that differ changed. None is removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def name(self) -> str:
        return self._database.name

    def add(self, kind: str, records: Sequence[Any], *, dry_run: bool = False) -> Written:
        """Write records of one kind. What the database refuses keeps no other out.

        Raises:
            TransferError: the database cannot be reached, or is busy for too long.
        """
        table = self._table(kind)
        refused: list[tuple[Any, str]] = []
        rows: list[tuple[Any, Row]] = []
        for record in records:
            try:
                if table is None:
                    raise UnfitError(f"the database has no table for a {kind}")
                lost = table.rows.lost(record)
                if lost:
                    raise UnfitError(f"the table has no column {lost[0]!r}")
                rows.append((record, table.rows.write(record)))
            except UnfitError as error:
                refused.append((record, str(error)))
        added = changed = equal = 0
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            assert table is not None  # noqa: S101 - else there are no rows
            present = self._present(table, [row[table.rows.key] for _, row in some])
            new = [pair for pair in some if pair[1][table.rows.key] not in present]
            other = [pair for pair in some if _differs(pair[1], present.get(pair[1][table.rows.key]))]
            equal += len(some) - len(new) - len(other)
            if not dry_run:
                failed = self._write(table, new, other)
                refused += failed
                of_failed = {id(record) for record, _ in failed}
                new = [pair for pair in new if id(pair[0]) not in of_failed]
                other = [pair for pair in other if id(pair[0]) not in of_failed]
            added += len(new)
            changed += len(other)
        return Written(added, changed, equal, refused)

    def _table(self, kind: str) -> Table | None:
        for table in self._database.tables.values():
            if table.rows is not None and table.rows.kind == kind:
                return table
        return None

    def _present(self, table: Table, keys: list[Any]) -> dict[Any, Row]:
        key = table.rows.key
        names = ", ".join(table.bound(key, f"k{place}") for place in range(len(keys)))
        query = f"SELECT {table.selected} FROM {table.quoted} WHERE {quoted(key)} IN ({names})"  # noqa: S608 - quoted
        values = {f"k{place}": value for place, value in enumerate(keys)}
        with self._database.connected() as connection:
            found = [
                dict(zip(table.columns, row, strict=True))
                for row in connection.execute(sa.text(query), values)
            ]
        return {row[key]: row for row in found}

    def _write(
        self, table: Table, new: list[tuple[Any, Row]], other: list[tuple[Any, Row]]
    ) -> list[tuple[Any, str]]:
        """Write rows in one transaction; if that fails, each in its own. Those that were refused."""
        statements = [(_insert, new), (_update, other)]
        try:
            with self._database.connected() as connection, connection.begin():
                for make, pairs in statements:
                    for names, rows in _alike(pairs).items():
                        connection.execute(sa.text(make(table, names)), [_values(names, row) for row in rows])
            return []
        except Exception as error:
            cause = error.__cause__
            if not isinstance(cause, exc.IntegrityError | exc.DataError):
                raise
        refused = []
        for make, pairs in statements:
            for record, row in pairs:
                names = tuple(row)
                try:
                    with self._database.connected() as connection, connection.begin():
                        connection.execute(sa.text(make(table, names)), _values(names, row))
                except Exception as error:
                    cause = error.__cause__
                    if not isinstance(cause, exc.IntegrityError | exc.DataError):
                        raise
                    refused.append((record, reason(cause)))
        return refused


def _insert(table: Table, names: Sequence[str]) -> str:
    columns = ", ".join(map(quoted, names))
    values = ", ".join(table.bound(name, f"v{place}") for place, name in enumerate(names))
    return f"INSERT INTO {table.quoted} ({columns}) VALUES ({values})"  # noqa: S608 - names are quoted, values bound


def _update(table: Table, names: Sequence[str]) -> str:
    key = table.rows.key
    values = ", ".join(
        f"{quoted(name)} = {table.bound(name, f'v{place}')}"
        for place, name in enumerate(names)
        if name != key
    )
    where = f"{quoted(key)} = {table.bound(key, f'v{list(names).index(key)}')}"
    return f"UPDATE {table.quoted} SET {values} WHERE {where}"  # noqa: S608 - names are quoted, values bound


def _values(names: Sequence[str], row: Row) -> dict[str, Any]:
    return {f"v{place}": row[name] for place, name in enumerate(names)}


def _alike(pairs: Sequence[tuple[Any, Row]]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the columns that they have."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for _, row in pairs:
        groups[tuple(row)].append(row)
    return groups


def _differs(row: Row, present: Row | None) -> bool:
    return present is not None and any(
        present[name] != value or type(present[name]) is not type(value) for name, value in row.items()
    )
