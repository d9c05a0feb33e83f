"""Taking what is in the store elsewhere, and checking that it arrived."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis_sessions.transfer.comparison import Comparison, key_of
from redis_sessions.transfer.ledger import Ledger
from redis_sessions.transfer.report import Finding, Report, What
from redis_sessions.transfer.stored import Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redis_sessions.store import SessionStore
    from redis_sessions.transfer.file import FileTarget
    from redis_sessions.transfer.importer import Progress
    from redis_sessions.transfer.records import Source
    from redis_sessions.transfer.scope import Scope
    from redis_sessions.transfer.sql.target import SqlTarget


class Export:
    """An export of flows, flow by flow: messages session by session, oldest first, then builds, transactions.

    Args:
        scope: flows that are not there are left out.
    """

    def __init__(self, store: SessionStore, scope: Scope, report: Report, progress: Progress) -> None:
        self._stored = Stored(store)
        self._scope = scope
        self._report = report
        self._progress = progress

    async def flows(self) -> list[str]:
        return [flow_id for flow_id in await self._stored.flows() if self._scope.has_flow(flow_id)]

    async def to_file(self, target: FileTarget, written: Callable[[], Source] | None) -> None:
        """Write a file, and read it again for the comparison.

        Args:
            written: opens the file when it is there; None: it cannot be read again (stdout).

        Raises:
            TransferError: the file cannot be written.
        """
        self._progress.begin("Exporting", None)
        flows = await self.flows()
        finished = False
        try:
            target.start()
            for flow_id in flows:
                started = False
                async for kind, records in self._records(flow_id):
                    if not started:
                        target.flow(flow_id, await self._stored.owner(flow_id))
                        started = True
                    target.add(kind, list(records))
                    self._report.counts[f"{kind}s exported"] += len(records)
            target.finish()
            finished = True
        finally:
            if not finished:
                target.abandon()
        if written is not None:
            source = await asyncio.to_thread(written)
            with contextlib.closing(source), Ledger() as ledger, Ledger() as runs:
                await self._compare(source, flows, ledger, runs)

    async def to_database(
        self, target: SqlTarget, written: Callable[[], Source], *, dry_run: bool = False
    ) -> None:
        """Write rows, and read them again for the comparison.

        Raises:
            TransferError: the database cannot be written.
        """
        with Ledger() as ledger, Ledger() as runs:
            flows = await self._write(target, ledger, runs, dry_run=dry_run)
            if not dry_run:
                source = await asyncio.to_thread(written)
                with contextlib.closing(source):
                    await self._compare(source, flows, ledger, runs)

    async def _write(self, target: SqlTarget, ledger: Ledger, runs: Ledger, *, dry_run: bool) -> list[str]:
        self._progress.begin("Exporting", None)
        counts = self._report.counts
        flows = await self.flows()
        for flow_id in flows:
            async for kind, records in self._records(flow_id):
                done = await asyncio.to_thread(target.add, kind, records, dry_run=dry_run)
                counts[f"{kind}s added"] += done.added
                counts[f"{kind}s changed"] += done.changed
                counts[f"{kind}s there already"] += done.equal
                for record, why in done.refused:
                    (ledger if kind == "message" else runs).refuse(record.flow_id, key_of(kind, record))
                    self._refuse(kind, record, why)
        return flows

    async def _records(self, flow_id: str) -> AsyncIterator[tuple[str, Sequence[Any]]]:
        """What a flow has, in scope, some at a time."""
        async with contextlib.aclosing(self._stored.pages(flow_id)) as pages:
            async for page in pages:
                messages = [message for message in page if self._scope.has_time(message.timestamp)]
                self._progress.step(len(page))
                if messages:
                    yield "message", messages
        for kind, found in (
            ("transaction", await self._stored.transactions(flow_id)),
            ("build", await self._stored.builds(flow_id)),
        ):
            records = [record for record in found if self._scope.has_time(record.timestamp)]
            self._progress.step(len(found))
            if records:
                yield kind, records

    def _refuse(self, kind: str, record: Any, why: str) -> None:
        session = record.session_id if kind == "message" else None
        self._report.counts[f"{kind}s refused"] += 1
        where = f"{kind} {key_of(kind, record)}"
        self._report.add(Finding(What.REFUSED, where, why, record.flow_id, session))

    async def _compare(self, source: Source, flows: list[str], ledger: Ledger, runs: Ledger) -> None:
        comparison = Comparison(self._stored, source, self._scope, self._report, ledger, runs)
        self._progress.begin("Reading what was written", await asyncio.to_thread(source.total))
        await comparison.read_outside(self._progress.step, findings=False)
        self._progress.begin("Reading the store again", None)
        await comparison.read_inside(flows, self._progress.step)
        for imported in (True, False):
            for flow_id, session, message_id in ledger.only_inside(imported=imported):
                self._miss(source, f"message {message_id}", flow_id, session)
        for flow_id, kind, key in runs.only_inside(imported=False):
            self._miss(source, f"{kind} {key}", flow_id)
        for flow_id, session, message_id, _ in ledger.different():
            self._differ(source, f"message {message_id}", flow_id, session)
        for flow_id, kind, key, _ in runs.different():
            self._differ(source, f"{kind} {key}", flow_id)
        self._sum(ledger)

    def _miss(self, source: Source, where: str, flow_id: str, session: str | None = None) -> None:
        self._report.add(Finding(What.MISSING, where, f"not in {source.name}", flow_id, session))

    def _differ(self, source: Source, where: str, flow_id: str, session: str | None = None) -> None:
        detail = f"not the same in {source.name}; if it was changed meanwhile, run the export again"
        self._report.add(Finding(What.DIFFERENT, where, detail, flow_id, session))

    def _sum(self, ledger: Ledger) -> None:
        counts = self._report.counts
        counts["messages only there"] = sum(1 for _ in ledger.only_outside())
        for total in ledger.sessions(everything=True):
            if total.inside_messages == 0:
                continue
            counts["sessions compared"] += 1
            counts["sessions equal"] += total.equal
            counts["messages compared"] += total.inside_messages
            if not total.equal:
                self._report.differ(total)
