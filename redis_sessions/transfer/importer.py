"""Bringing a source into the store: once, however often it is run, and checked."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from redis_sessions.errors import ConfigurationError, MessageExistsError
from redis_sessions.transfer.checkpoint import Checkpoint
from redis_sessions.transfer.comparison import Comparison
from redis_sessions.transfer.ledger import Ledger
from redis_sessions.transfer.reading import ahead
from redis_sessions.transfer.records import MARK, mark
from redis_sessions.transfer.report import Finding, Report, What
from redis_sessions.transfer.stored import REFUSALS, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.models import Message
    from redis_sessions.store import SessionStore
    from redis_sessions.transfer.records import Batch, Item, Source
    from redis_sessions.transfer.scope import Scope


class Progress(Protocol):
    """Is told how far a transfer is."""

    def begin(self, what: str, total: int | None) -> None:
        """A part begins, of about ``total`` steps."""

    def step(self, count: int) -> None:
        """Some were done."""


class Import:
    """An import.

    Records that are in the store already, and equal, are left alone. A message whose row has changed since it
    was imported is changed too, unless it was changed in the store as well: then it stays, and is different.

    Args:
        dry_run: change nothing; count what would be done, and tell what could not be.
        overwrite: of what is different take the source's, whatever changed in the store.
        delete: remove messages from the store that were imported and are gone from the source.
        restart: begin at the beginning, though an earlier import came further.
    """

    def __init__(
        self,
        store: SessionStore,
        source: Source,
        scope: Scope,
        report: Report,
        progress: Progress,
        *,
        dry_run: bool = False,
        overwrite: bool = False,
        delete: bool = False,
        restart: bool = False,
    ) -> None:
        if store.settings.max_messages is not None:
            raise ConfigurationError(
                "an import keeps every message: unset max_messages (REDIS_SESSIONS_MAX_MESSAGES) for it"
            )
        self._stored = Stored(store)
        self._source = source
        self._scope = scope
        self._report = report
        self._progress = progress
        self._dry_run = dry_run
        self._overwrite = overwrite
        self._delete = delete
        self._restart = restart
        self._checkpoint = Checkpoint(store, source.identity, scope)
        self._strangers: dict[str, str] = {}
        self._known: set[str] = set()
        self._chosen: set[str] | None = None

    async def run(self) -> None:
        """Import, then compare.

        Raises:
            TransferError: the source cannot be read.
            StoreUnavailableError: Redis does not answer. Run it again: it goes on where it was.
        """
        with Ledger() as ledger:
            await self._bring(ledger)
            if not self._dry_run:
                await self._checkpoint.clear()
                await self._compare(ledger)

    async def _bring(self, ledger: Ledger) -> None:
        after = None if self._dry_run or self._restart else await self._checkpoint.load()
        if after is not None:
            self._report.counts["resumed"] = 1
        self._progress.begin("Importing", await asyncio.to_thread(self._source.total))
        async with contextlib.aclosing(ahead(self._source.batches(after))) as batches:
            async for batch in batches:
                if self._dry_run:
                    for finding in batch.findings:
                        self._report.add(finding)
                if batch.items and await self._is_ours(batch, ledger):
                    await self._take(batch, ledger)
                if batch.position and not self._dry_run:
                    await self._checkpoint.save(batch.position)
                self._progress.step(batch.size)

    async def _is_ours(self, batch: Batch, ledger: Ledger) -> bool:
        """Whether the flow may be written: it belongs to nobody else in the store."""
        flow_id = batch.flow_id
        if flow_id not in self._known:
            self._known.add(flow_id)
            present = await self._stored.owner(flow_id)
            if batch.owner is not None and present is not None and present != batch.owner:
                self._strangers[flow_id] = present
                detail = (
                    f"it belongs to {present} in the store and to {batch.owner} here: nothing was imported"
                )
                self._report.add(Finding(What.REFUSED, f"flow {flow_id}", detail))
            elif (
                batch.owner is not None
                and present is None
                and not self._dry_run
                and await self._stored.has_flow(flow_id)
            ):
                await self._stored.set_owner(flow_id, batch.owner)  # its records may all be there
        if flow_id not in self._strangers:
            return True
        self._report.counts[f"{batch.kind}s refused"] += len(batch.items)
        if batch.kind == "message":
            for item in batch.items:
                ledger.refuse(flow_id, item.record.id)
        return False

    async def _take(self, batch: Batch, ledger: Ledger) -> None:
        if batch.kind == "message":
            await self._take_messages(batch, ledger)
        elif batch.kind == "build":
            await self._take_builds(batch)
        else:
            await self._take_transactions(batch)

    async def _take_messages(self, batch: Batch, ledger: Ledger) -> None:
        counts = self._report.counts
        items = {item.record.id: item for item in reversed(batch.items)}
        present = await self._stored.messages(batch.flow_id, list(items))
        new = []
        for message_id in reversed(items):
            item, there = items[message_id], present.get(message_id)
            if there is None:
                new.append(item)
            elif self._source.digest_of("message", there) == item.digest:
                counts["messages there already"] += 1
            elif not self._may_replace(there, item):
                counts["messages left as they are"] += 1
            elif self._dry_run:
                counts["messages changed"] += 1
            else:
                await self._replace(batch, there, item, ledger)
        refused = await self._add(batch, new)
        counts["messages added"] += len(new) - len(refused)
        for item, error in refused:
            if isinstance(error, MessageExistsError) and await self._came_meanwhile(batch.flow_id, item):
                counts["messages there already"] += 1
            else:
                self._refuse(item, error, ledger)

    async def _add(self, batch: Batch, new: Sequence[Item]) -> list[tuple[Item, Any]]:
        if not self._dry_run:
            return await self._stored.add_messages(batch.flow_id, batch.owner, new)
        refused: list[tuple[Item, Any]] = []
        for item in new:
            try:
                self._stored.check(item.record)
            except REFUSALS as error:
                refused.append((item, error))
        return refused

    async def _came_meanwhile(self, flow_id: str, item: Item) -> bool:
        """Whether another import of the same brought it."""
        there = (await self._stored.messages(flow_id, [item.record.id])).get(item.record.id)
        return there is not None and self._source.digest_of("message", there) == item.digest

    async def _replace(self, batch: Batch, there: Message, item: Item, ledger: Ledger) -> None:
        try:
            await self._stored.replace(batch.flow_id, there, item)
        except REFUSALS as error:
            self._refuse(item, error, ledger)
        else:
            self._report.counts["messages changed"] += 1

    def _may_replace(self, there: Message, item: Item) -> bool:
        """Whether only the row has changed since it was imported."""
        if self._overwrite:
            return True
        if not self._source.marks or there.origin is None:
            return False
        imported_as = there.origin.get(MARK)
        is_as_imported = imported_as == mark(self._source.digest_of("message", there))
        return is_as_imported and imported_as != mark(item.digest)

    def _refuse(self, item: Item, error: Exception, ledger: Ledger) -> None:
        record = item.record
        ledger.refuse(record.flow_id, record.id)
        self._report.counts["messages refused"] += 1
        self._report.add(Finding(What.REFUSED, item.where, str(error), record.flow_id, record.session_id))

    async def _take_builds(self, batch: Batch) -> None:
        present = {
            build.build_id: self._source.digest_of("build", build)
            for build in await self._stored.builds(batch.flow_id)
        }
        for item in batch.items:
            if present.get(item.record.build_id) == item.digest:
                self._report.counts["builds there already"] += 1
                continue
            await self._take_run(item, "build", batch.owner)

    async def _take_transactions(self, batch: Batch) -> None:
        present = {one.id for one in await self._stored.transactions(batch.flow_id)}
        if batch.keys is not None:
            room = max(0, self._stored.settings.max_transactions - len(present))
            absent = [key for key in batch.keys if key not in present]
            self._chosen = set(absent[len(absent) - min(room, len(absent)) :])
        for item in batch.items:
            if item.record.id in present:
                self._report.counts["transactions there already"] += 1
            elif (
                len(present) >= self._stored.settings.max_transactions
                if self._chosen is None
                else item.record.id not in self._chosen
            ):
                self._report.counts["transactions older than those kept"] += 1
            else:
                await self._take_run(item, "transaction", batch.owner)
                present.add(item.record.id)

    async def _take_run(self, item: Item, kind: str, owner: str | None) -> None:
        try:
            if self._dry_run:
                pass
            elif kind == "build":
                await self._stored.put_build(item.record, owner)
            else:
                await self._stored.add_transaction(item.record, owner)
        except REFUSALS as error:
            self._report.add(Finding(What.REFUSED, item.where, str(error), item.record.flow_id))
        else:
            self._report.counts[f"{kind}s added"] += 1

    async def _compare(self, ledger: Ledger) -> None:
        comparison = Comparison(self._stored, self._source, self._scope, self._report, ledger)
        self._progress.begin("Reading the source again", await asyncio.to_thread(self._source.total))
        await comparison.read_outside(self._progress.step, findings=True)
        self._progress.begin("Reading the store", None)
        flows = [flow_id for flow_id in comparison.owners if flow_id not in self._strangers]
        await comparison.read_inside(flows, self._progress.step)
        await self._conclude(ledger)

    async def _conclude(self, ledger: Ledger) -> None:
        report = self._report
        for flow_id, session, message_id in ledger.only_outside():
            report.add(Finding(What.MISSING, f"message {message_id}", "not in the store", flow_id, session))
        for flow_id, session, message_id, other in ledger.different():
            detail = "changed in the store since; --overwrite takes the one that is imported"
            if other != session:
                detail = f"in session {other!r} of the store; --overwrite moves it"
            report.add(Finding(What.DIFFERENT, f"message {message_id}", detail, flow_id, session))
        for flow_id, session, message_id in ledger.only_inside(imported=True):
            if self._delete:
                report.counts["messages deleted"] += await self._stored.delete_messages(flow_id, [message_id])
                continue
            detail = "it was imported, and is gone from the source; --delete removes it from the store"
            report.add(Finding(What.DELETED, f"message {message_id}", detail, flow_id, session))
        report.counts["messages only in the store"] = sum(1 for _ in ledger.only_inside(imported=False))
        for total in ledger.sessions(everything=False):
            report.counts["sessions compared"] += 1
            report.counts["sessions equal"] += total.equal
            report.counts["messages compared"] += total.outside_messages
            if not total.equal:
                report.differ(total)
