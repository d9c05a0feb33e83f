"""Both sides as they are, side by side: every record read again from where it really is."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis_sessions.transfer.ledger import Line
from redis_sessions.transfer.reading import ahead
from redis_sessions.transfer.records import MARK
from redis_sessions.transfer.report import Finding, What

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis_sessions.transfer.ledger import Ledger
    from redis_sessions.transfer.records import Batch, Item, Source
    from redis_sessions.transfer.report import Report
    from redis_sessions.transfer.scope import Scope
    from redis_sessions.transfer.stored import Stored


class Comparison:
    """Reads a source and the store, and enters both in a ledger.

    Messages go to ``ledger``. Builds and transactions go to ``runs``, their kind in the place of a session;
    without it, those of the source are at once compared with the store, which keeps only the newest.
    """

    def __init__(
        self,
        stored: Stored,
        source: Source,
        scope: Scope,
        report: Report,
        ledger: Ledger,
        runs: Ledger | None = None,
    ) -> None:
        self._stored = stored
        self._source = source
        self._scope = scope
        self._ledger = ledger
        self._report = report
        self._run_ledger = runs
        self._runs: _Runs | None = None
        self.owners: dict[str, str | None] = {}

    async def read_outside(self, step: Callable[[int], None], findings: bool) -> None:
        """Enter the source. ``findings``: tell what in it cannot become a record."""
        async with contextlib.aclosing(ahead(self._source.batches(brief=True))) as batches:
            async for batch in batches:
                if findings:
                    for finding in batch.findings:
                        self._report.add(finding)
                if batch.items:
                    self.owners[batch.flow_id] = batch.owner
                await self._enter(batch)
                step(batch.size)

    async def _enter(self, batch: Batch) -> None:
        if batch.kind == "message":
            lines = [
                Line(batch.flow_id, item.record.id, item.record.session_id, item.digest)
                for item in batch.items
            ]
            for line in self._ledger.add("outside", lines):
                detail = "its id is there twice; only the first was compared"
                self._report.add(
                    Finding(What.REFUSED, f"message {line.message_id}", detail, line.flow_id, line.session_id)
                )
            return
        if self._run_ledger is not None:
            self._run_ledger.add(
                "outside",
                [
                    Line(batch.flow_id, key_of(batch.kind, item.record), batch.kind, item.digest)
                    for item in batch.items
                ],
            )
            return
        if self._runs is None or self._runs.flow_id != batch.flow_id:
            self._runs = await _Runs.read(self._stored, self._source, batch.flow_id)
        for item in batch.items:
            self._compare_run(batch.kind, item)

    def _compare_run(self, kind: str, item: Item) -> None:
        runs, record = self._runs, item.record
        assert runs is not None  # noqa: S101 - read just before
        digest = (runs.builds if kind == "build" else runs.transactions).get(key_of(kind, record))
        if digest == item.digest:
            self._report.counts[f"{kind}s equal"] += 1
        elif digest is not None:
            detail = "not the same on both sides"
            self._report.add(Finding(What.DIFFERENT, item.where, detail, record.flow_id))
        elif kind == "build" and runs.latest.get(record.id, record.timestamp) > record.timestamp:
            self._report.counts["builds replaced by later ones"] += 1
        elif kind == "transaction" and runs.is_full and record.timestamp <= runs.oldest:
            self._report.counts["transactions older than those kept"] += 1
        else:
            self._report.add(Finding(What.MISSING, item.where, "not in the store", record.flow_id))

    async def read_inside(self, flows: Iterable[str], step: Callable[[int], None]) -> None:
        """Enter flows, as the store has them."""
        for flow_id in flows:
            async with contextlib.aclosing(self._stored.unordered(flow_id)) as pages:
                async for page in pages:
                    self._ledger.add("inside", map(self._line, self._in_scope(page)))
                    step(len(page))
            if self._run_ledger is not None:
                for kind, records in (
                    ("build", await self._stored.builds(flow_id)),
                    ("transaction", await self._stored.transactions(flow_id)),
                ):
                    self._run_ledger.add(
                        "inside",
                        [
                            Line(flow_id, key_of(kind, one), kind, self._source.digest_of(kind, one))
                            for one in self._in_scope(records)
                        ],
                    )

    def _in_scope(self, page: Iterable[Any]) -> Iterable[Any]:
        return (message for message in page if self._scope.has_time(message.timestamp))

    def _line(self, message: Any) -> Line:
        return Line(
            message.flow_id,
            message.id,
            message.session_id,
            self._source.digest_of("message", message),
            message.origin is not None and MARK in message.origin,
        )


def key_of(kind: str, record: Any) -> str:
    """What a record is found by."""
    return str(record.build_id if kind == "build" else record.id)


class _Runs:
    """The builds and transactions of a flow in the store, by id."""

    def __init__(self, flow_id: str) -> None:
        self.flow_id = flow_id
        self.builds: dict[str, bytes] = {}
        self.latest: dict[str, Any] = {}
        self.transactions: dict[str, bytes] = {}
        self.is_full = False
        self.oldest: Any = None

    @classmethod
    async def read(cls, stored: Stored, source: Source, flow_id: str) -> _Runs:
        runs = cls(flow_id)
        for build in await stored.builds(flow_id):
            runs.builds[build.build_id] = source.digest_of("build", build)
            runs.latest[build.id] = build.timestamp
        transactions = await stored.transactions(flow_id)
        for transaction in transactions:
            runs.transactions[transaction.id] = source.digest_of("transaction", transaction)
        runs.is_full = len(transactions) >= stored.settings.max_transactions
        runs.oldest = min((one.timestamp for one in transactions), default=None)
        return runs
