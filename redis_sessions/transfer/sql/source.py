"""A Langflow database to read from: flow by flow, and within a flow by (timestamp, id).

Rows are read in pages, each a short query behind the last row of the one before, which is streamed: neither
memory nor a lock grows with the table, and a page costs no more for being a late one where the table has the
index that Langflow 1.13 gives it. There is no OFFSET.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import NO_FLOW, Batch, Item, Position
from redis_sessions.transfer.report import Finding, What
from redis_sessions.transfer.sql.database import Database, Table, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_sessions.transfer.scope import Scope
    from redis_sessions.transfer.sql.rows import Row, Rows

_ORDER = ("message", "transaction", "vertex_build")
_PAGE = 20_000
"""Rows of a query. Without an index each costs a sort; with one nothing."""
_BATCH = 2_000
_BATCH_BYTES = 2 * 1024 * 1024


class _Flow(NamedTuple):
    """A value of ``flow_id`` as the database has it, and what it means."""

    raw: str | None
    flow_id: str
    owner: str | None


class SqlSource:
    """The messages, transactions and builds of a Langflow database.

    Args:
        newest: transactions of a flow that are read, the newest: as many as the store keeps.
        whole: columns that Langflow 1.13 does not have are compared too.
    """

    marks = True

    def __init__(self, database: Database, scope: Scope, *, newest: int, whole: bool = True) -> None:
        self._database = database
        self._scope = scope
        self._newest = newest
        self._whole = whole
        self._rows_of: dict[str, Rows] = {
            table.rows.kind: table.rows for table in database.tables.values() if table.rows
        }

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def identity(self) -> str:
        return self._database.identity

    def close(self) -> None:
        self._database.close()

    def keep_newest(self, newest: int) -> None:
        """Read only so many transactions of a flow."""
        self._newest = newest

    def digest_of(self, kind: str, stored: Any) -> bytes:
        return self._rows_of[kind].digest_stored(stored, whole=self._whole)

    def total(self) -> int:
        count = 0
        flows = self._flows() if self._scope.flows is not None else None
        for name in _ORDER:
            table = self._database.tables.get(name)
            if table is None:
                continue
            if flows is None and self._scope.since is None:
                count += self._count(table, "1 = 1", {})
                continue
            for flow in flows if flows is not None else self._flows():
                where, values = self._where(table, flow, None)
                count += self._count(table, where, values)
        return count

    def batches(self, after: Position | None = None, *, brief: bool = False) -> Iterator[Batch]:
        """All rows behind a position; first those that have no time, which cannot be placed."""
        if after is None:
            yield from self._timeless()
        for flow in self._flows():
            if after is not None and _order(flow.raw) < _order(after["flow"]):
                continue
            here = after is not None and flow.raw == after["flow"]
            for place, name in enumerate(_ORDER):
                table = self._database.tables.get(name)
                if table is None or (here and after and place < _ORDER.index(after["table"])):
                    continue
                at = after["at"] if here and after and after["table"] == name else None
                keys = self._keys(table, flow) if name == "transaction" else None
                yield from self._batches_of(table, flow, at, keys, brief)

    def _batches_of(
        self, table: Table, flow: _Flow, at: list[Any] | None, keys: list[str] | None, brief: bool
    ) -> Iterator[Batch]:
        items: list[Item] = []
        findings: list[Finding] = []
        wanted = None if keys is None else set(keys)
        wide = table.wide
        size = read = 0
        for row in self._rows(table, flow, at):
            read += 1
            for name in wide:
                value = row[name]
                if type(value) is str:
                    size += len(value)
            self._add(table, flow, row, wanted, items, findings, brief)
            if read == _BATCH or size >= _BATCH_BYTES:
                yield self._batch(table, flow, items, findings, row, read, keys)
                items, findings, keys = [], [], None
                size = read = 0
        if read:
            yield self._batch(table, flow, items, findings, row, read, keys)

    def _batch(
        self,
        table: Table,
        flow: _Flow,
        items: list[Item],
        findings: list[Finding],
        last: Row,
        read: int,
        keys: list[str] | None,
    ) -> Batch:
        position = {
            "flow": flow.raw,
            "table": table.name,
            "at": [last["timestamp"], last[table.rows.key]],
        }
        return Batch(table.rows.kind, flow.flow_id, flow.owner, items, findings, position, keys, read)

    def _add(
        self,
        table: Table,
        flow: _Flow,
        row: Row,
        wanted: set[str] | None,
        items: list[Item],
        findings: list[Finding],
        brief: bool,
    ) -> None:
        digest = table.rows.digest(row, whole=self._whole)
        if brief and self._scope.since is None:
            found = table.rows.brief(row)
            if found is not None:
                items.append(Item(found, digest, ""))
                return
        where = f"{table.rows.kind} {_shown(row[table.rows.key])}"
        try:
            record = table.rows.read(row, digest)
        except UnfitError as error:
            findings.append(Finding(What.REFUSED, where, str(error), flow.flow_id))
            return
        if not self._scope.has_time(record.timestamp) or (wanted is not None and record.id not in wanted):
            return
        items.append(Item(record, digest, where))

    def _rows(self, table: Table, flow: _Flow, at: list[Any] | None) -> Iterator[Row]:
        key = quoted(table.rows.key)
        while True:
            where, values = self._where(table, flow, at)
            query = (
                f"SELECT {table.selected} FROM {table.quoted} WHERE {where} "  # noqa: S608 - names are quoted
                # Qualified: else PostgreSQL takes the names for those of the selected texts.
                f'ORDER BY {table.quoted}."timestamp", {table.quoted}.{key} LIMIT {_PAGE}'
            )
            count = 0
            with self._database.connected() as connection:
                streamed = connection.execution_options(stream_results=True, max_row_buffer=_BATCH)
                for found in streamed.execute(sa.text(query), values):
                    row = dict(zip(table.columns, found, strict=True))
                    count += 1
                    at = [row["timestamp"], row[table.rows.key]]
                    yield row
            if count < _PAGE:
                return

    def _where(self, table: Table, flow: _Flow, at: list[Any] | None) -> tuple[str, dict[str, Any]]:
        terms, values = ['"timestamp" IS NOT NULL'], {}
        if flow.raw is None:
            terms.append('"flow_id" IS NULL')
        else:
            terms.append(f'"flow_id" = {table.bound("flow_id", "flow")}')
            values["flow"] = flow.raw
        if self._scope.since is not None:
            # Times are compared exactly when they are read: a day less lets every form and zone in.
            terms.append(f'"timestamp" >= {table.bound("timestamp", "since")}')
            values["since"] = (self._scope.since - timedelta(days=1)).strftime("%Y-%m-%d")
        if at is not None:
            key = table.rows.key
            place = f"{table.bound('timestamp', 'at')}, {table.bound(key, 'key')}"
            terms.append(f'("timestamp", {quoted(key)}) > ({place})')
            values["at"], values["key"] = at
        return " AND ".join(terms), values

    def _keys(self, table: Table, flow: _Flow) -> list[str]:
        """The newest ids of a flow, oldest first."""
        where, values = self._where(table, flow, None)
        query = (
            f"SELECT {table.raw('id')} FROM {table.quoted} WHERE {where} "  # noqa: S608 - quoted
            f'ORDER BY {table.quoted}."timestamp" DESC, {table.quoted}."id" DESC LIMIT {self._newest}'
        )
        keys = []
        for (raw,) in self._all(query, values):
            try:
                keys.append(table.rows.known["id"].read(raw))
            except UnfitError:
                continue  # told when its row is read
        return keys[::-1]

    def _timeless(self) -> Iterator[Batch]:
        for name in _ORDER:
            table = self._database.tables.get(name)
            if table is None:
                continue
            query = (
                f"SELECT {table.raw(table.rows.key)} FROM {table.quoted} "  # noqa: S608 - names are quoted
                'WHERE "timestamp" IS NULL'
            )
            findings = [
                Finding(What.REFUSED, f"{table.rows.kind} {_shown(key)}", "it has no timestamp")
                for (key,) in self._all(query, {})
            ]
            if findings:
                yield Batch(table.rows.kind, NO_FLOW, None, (), findings, {}, None, len(findings))

    def _flows(self) -> list[_Flow]:
        """Every value of ``flow_id`` that is in use, in the order in which they are read."""
        owners = self._owners()
        raws: dict[Any, None] = {}
        for name in _ORDER:
            table = self._database.tables.get(name)
            if table is not None:
                query = f"SELECT DISTINCT {table.raw('flow_id')} FROM {table.quoted}"  # noqa: S608 - quoted
                raws.update((raw, None) for (raw,) in self._all(query, {}))
        flows = []
        for raw in sorted(raws, key=_order):
            flow_id = self._flow_id(raw)
            if self._scope.has_flow(flow_id):
                flows.append(_Flow(raw, flow_id, owners.get(flow_id)))
        return flows

    def _flow_id(self, raw: Any) -> str:
        try:
            return self._database.tables["message"].rows.known["flow_id"].read(raw) or NO_FLOW
        except UnfitError:
            return str(raw)  # its rows are told one by one

    def _owners(self) -> dict[str, str]:
        table = self._database.tables.get("flow")
        if table is None or not {"id", "user_id"} <= set(table.columns):
            return {}
        read = self._database.tables["message"].rows.known["flow_id"].read
        owners = {}
        query = f"SELECT {table.raw('id')}, {table.raw('user_id')} FROM {table.quoted}"  # noqa: S608 - quoted
        for flow, user in self._all(query, {}):
            try:
                if user is not None:
                    owners[read(flow)] = read(user)
            except UnfitError:
                continue  # no id of Langflow's: nothing can be in that flow
        return owners

    def _all(self, query: str, values: dict[str, Any]) -> list[Any]:
        with self._database.connected() as connection:
            return list(connection.execute(sa.text(query), values))

    def _count(self, table: Table, where: str, values: dict[str, Any]) -> int:
        query = f"SELECT count(*) FROM {table.quoted} WHERE {where}"  # noqa: S608 - names are quoted
        return int(self._all(query, values)[0][0])


def _order(raw: Any) -> tuple[bool, str]:
    return raw is not None, str(raw)


def _shown(raw: Any) -> str:
    text = str(raw)[:80]
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" if len(text) == 32 else text
