"""Both sides of a comparison, message by message, in a scratch file: no memory grows with the store."""

from __future__ import annotations

import sqlite3
import tempfile
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Side = Literal["outside", "inside"]

_FIELDS = "flow BLOB, id BLOB, session INTEGER, digest BLOB, imported INTEGER, line INTEGER"
_COLUMNS = f"({_FIELDS}, PRIMARY KEY (flow, id))"
_SCHEMA = f"""
CREATE TABLE session (number INTEGER PRIMARY KEY, flow BLOB, name BLOB, UNIQUE (flow, name));
CREATE TABLE outside {_COLUMNS} WITHOUT ROWID;
CREATE TABLE inside {_COLUMNS} WITHOUT ROWID;
CREATE TABLE refused (flow BLOB, id BLOB, PRIMARY KEY (flow, id)) WITHOUT ROWID;
"""
_TOLD = "NOT EXISTS (SELECT 1 FROM refused AS r WHERE r.flow = {0}.flow AND r.id = {0}.id)"
_REMEMBERED = 10_000
_EMPTY = (0, "")


class Line(NamedTuple):
    """A message on one side. ``imported``: it is in the store, and came from outside."""

    flow_id: str
    message_id: str
    session_id: str
    digest: bytes
    imported: bool = False


class SessionSum(NamedTuple):
    """A session on both sides: how many messages, and what they are."""

    flow_id: str
    session_id: str
    outside_messages: int
    outside_digest: str
    inside_messages: int
    inside_digest: str

    @property
    def equal(self) -> bool:
        return self.outside_digest == self.inside_digest


class Ledger:
    """What is outside (a database, a file) and inside (the store)."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis-sessions-")
        self._database = sqlite3.connect(Path(self._folder.name) / "ledger", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;" + _SCHEMA
        )
        self._numbers: dict[tuple[str, str], int] = {}
        self._lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch file."""
        self._database.close()
        self._folder.cleanup()

    def add(self, side: Side, lines: Iterable[Line]) -> list[Line]:
        """Enter lines; those whose id the flow has already."""
        lines = list(lines)
        rows = [
            (
                line.flow_id.encode("utf-8", "surrogatepass"),
                _raw_id(line.message_id),
                self._number(line.flow_id, line.session_id),
                line.digest,
                line.imported,
                number,
            )
            for number, line in enumerate(lines, self._lines)
        ]
        self._lines += len(rows)
        self._database.execute("BEGIN")
        before = self._database.total_changes
        self._database.executemany(f"INSERT OR IGNORE INTO {side} VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - one of two
        complete = self._database.total_changes - before == len(rows)
        self._database.execute("COMMIT")
        if complete:
            return []
        query = f"SELECT line FROM {side} WHERE flow = ? AND id = ?"  # noqa: S608 - one of two
        return [
            line
            for line, row in zip(lines, rows, strict=True)
            if self._database.execute(query, row[:2]).fetchone() != (row[-1],)
        ]

    def refuse(self, flow_id: str, message_id: str) -> None:
        """Leave a message out of the comparison: it was told before why it is not there."""
        key = flow_id.encode(), _raw_id(message_id)
        self._database.execute("INSERT OR IGNORE INTO refused VALUES (?, ?)", key)

    def only_outside(self) -> Iterator[tuple[str, str, str]]:
        """(flow, session, id) of messages that the store does not have."""
        yield from self._ids(
            "SELECT flow, session, id FROM outside AS o "  # noqa: S608 - _TOLD is ours
            "WHERE NOT EXISTS (SELECT 1 FROM inside AS i WHERE i.flow = o.flow AND i.id = o.id) "
            f"AND {_TOLD.format('o')}"
        )

    def only_inside(self, *, imported: bool) -> Iterator[tuple[str, str, str]]:
        """(flow, session, id) of messages that only the store has."""
        yield from self._ids(
            "SELECT flow, session, id FROM inside AS i WHERE imported = ? "  # noqa: S608 - likewise
            "AND NOT EXISTS (SELECT 1 FROM outside AS o WHERE o.flow = i.flow AND o.id = i.id) "
            f"AND {_TOLD.format('i')}",
            imported,
        )

    def different(self) -> Iterator[tuple[str, str, str, str]]:
        """(flow, session outside, id, session inside) of messages that are not the same."""
        found = self._database.execute(
            "SELECT o.flow, o.session, o.id, i.session "  # noqa: S608 - likewise
            "FROM outside AS o JOIN inside AS i USING (flow, id) "
            f"WHERE (o.digest <> i.digest OR o.session <> i.session) AND {_TOLD.format('o')} "
            "ORDER BY o.flow, o.session, o.id"
        )
        for flow, session, raw, other in found:
            yield flow.decode(), self._name(session), str(UUID(bytes=raw)), self._name(other)

    def sessions(self, *, everything: bool) -> Iterator[SessionSum]:
        """Every session that is on both sides or outside, or (``everything``) anywhere.

        A digest is the SHA-256 of the ids and digests of the messages, in the order of their ids. Unless
        ``everything`` is asked for, what was made in the store and is not outside does not count.
        """
        outsides = self._sums("SELECT session, id, digest FROM outside ORDER BY session, id")
        insides = self._sums(
            "SELECT i.session, i.id, i.digest FROM inside AS i LEFT JOIN outside AS o "
            "ON o.flow = i.flow AND o.id = i.id WHERE ? OR i.imported OR o.id IS NOT NULL "
            "ORDER BY i.session, i.id",
            everything,
        )
        for number, outside, inside in _side_by_side(outsides, insides):
            flow, name = self._database.execute(
                "SELECT flow, name FROM session WHERE number = ?", (number,)
            ).fetchone()
            yield SessionSum(flow.decode(), name.decode(), *outside, *inside)

    def _sums(self, query: str, *values: object) -> Iterator[tuple[int, tuple[int, str]]]:
        rows = self._database.execute(query, values)
        for number, group in groupby(rows, key=lambda row: row[0]):
            digest, count = sha256(), 0
            for _, raw, content in group:
                digest.update(raw + content)
                count += 1
            yield int(number), (count, digest.hexdigest())

    def _ids(self, query: str, *values: object) -> Iterator[tuple[str, str, str]]:
        for flow, session, raw in self._database.execute(query + " ORDER BY flow, session, id", values):
            yield flow.decode(), self._name(session), str(UUID(bytes=raw))

    def _number(self, flow_id: str, session_id: str) -> int:
        number = self._numbers.get((flow_id, session_id))
        if number is None:
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            key = flow_id.encode("utf-8", "surrogatepass"), session_id.encode("utf-8", "surrogatepass")
            self._database.execute("INSERT OR IGNORE INTO session (flow, name) VALUES (?, ?)", key)
            (number,) = self._database.execute(
                "SELECT number FROM session WHERE flow = ? AND name = ?", key
            ).fetchone()
            self._numbers[flow_id, session_id] = number
        return int(number)

    def _name(self, number: int) -> str:
        (name,) = self._database.execute("SELECT name FROM session WHERE number = ?", (number,)).fetchone()
        return str(name.decode())


def _raw_id(message_id: str) -> bytes:
    try:
        raw = bytes.fromhex(message_id.replace("-", ""))
    except ValueError:
        raw = b""
    return raw if len(raw) == 16 else UUID(message_id).bytes  # in another of a UUID's forms


def _side_by_side(
    left: Iterator[tuple[int, tuple[int, str]]], right: Iterator[tuple[int, tuple[int, str]]]
) -> Iterator[tuple[int, tuple[int, str], tuple[int, str]]]:
    """Two ordered sequences by number; what one of them lacks is empty."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        number = min(pair[0] for pair in (one, other) if pair is not None)
        here, there = _EMPTY, _EMPTY
        if one is not None and one[0] == number:
            here, one = one[1], next(left, None)
        if other is not None and other[0] == number:
            there, other = other[1], next(right, None)
        yield number, here, there
