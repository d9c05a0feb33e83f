"""The store's side of a transfer: what it has, and how records get into it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from redis_sessions.body import encode
from redis_sessions.clock import now_us, to_ms, to_us
from redis_sessions.entries import to_message
from redis_sessions.errors import (
    BatchError,
    ConflictError,
    InvalidInputError,
    InvalidTimestampError,
    MessageNotFoundError,
    RedisSessionsError,
)
from redis_sessions.limits import body_size, text_size
from redis_sessions.models import MESSAGE_FIELDS
from redis_sessions.scripting import StaleError
from redis_sessions.transfer.records import ImportedBuild, ImportedTransaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from redis_sessions.models import Message
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore
    from redis_sessions.transfer.records import ImportedMessage, Item

_SESSION_BATCH = 200
"""Messages that one script appends: some milliseconds in which Redis does nothing else."""
_PAGE = 100
_LARGE_PAGE = 500
_PAGE_BYTES = 2 * 1024 * 1024
_SESSIONS = 1_000
_CONTENT = tuple(name for name in MESSAGE_FIELDS if name not in {"id", "flow_id", "session_id", "timestamp"})
REFUSALS = (InvalidInputError, ConflictError)
"""What a record may be refused with; everything else ends the transfer."""


class Stored:
    """A store, as a transfer reads and writes it."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._parts = store._parts
        self.settings: Settings = store.settings

    async def messages(self, flow_id: str, ids: Sequence[str]) -> dict[str, Message]:
        """Those of the messages that the flow has, by id."""
        found = await self._store.get_many(ids, flow_id=flow_id)
        return {message.id: message for message in found if message is not None}

    async def add_messages(
        self, flow_id: str, owner: str | None, items: Sequence[Item]
    ) -> list[tuple[Item, RedisSessionsError]]:
        """Append messages; those that were refused, and why. A refused one keeps no other out."""
        refused: list[tuple[Item, RedisSessionsError]] = []
        for group in _portions(items):
            try:
                await self._store.append_many(flow_id, [item.record for item in group], owner=owner)
            except BatchError as error:
                for session, cause in error.failed.items():
                    if not isinstance(cause, REFUSALS):
                        raise cause from error
                    of_session = [item for item in group if item.record.session_id == session]
                    refused += await self._add_apart(flow_id, owner, of_session)
            except REFUSALS:
                refused += await self._add_apart(flow_id, owner, group)
        return refused

    async def _add_apart(
        self, flow_id: str, owner: str | None, items: Sequence[Item]
    ) -> list[tuple[Item, RedisSessionsError]]:
        """Append one at a time."""
        refused: list[tuple[Item, RedisSessionsError]] = []
        for item in items:
            try:
                await self._store.append_many(flow_id, [item.record], owner=owner)
            except REFUSALS as error:
                refused.append((item, error))
        return refused

    def check(self, message: ImportedMessage) -> None:
        """What is refused without asking Redis.

        Raises:
            TooLargeError, InvalidInputError
        """
        text_size(message.text, self.settings.max_text_bytes)
        body_size(encode(message), self.settings.max_message_bytes)

    async def replace(self, flow_id: str, present: Message, item: Item) -> None:
        """Make a stored message what a record is. Compare-and-set: no change of another is lost.

        Raises:
            InvalidInputError, ConflictError: it was refused; nothing was changed.
        """
        record = item.record
        self.check(record)
        at = to_us(record.timestamp)
        if at > now_us() + to_ms(self.settings.max_ahead) * 1_000:
            msg = "a timestamp is too far ahead (max_ahead); nothing was changed"
            raise InvalidTimestampError(msg)
        changes = {name: getattr(record, name) for name in _CONTENT} | {"origin": record.origin}
        attempt = self._parts.calls.begin()
        while True:
            located = (await self._parts.resolver.find([present.id], [flow_id], attempt)).get(present.id)
            if located is None:
                msg = "it was deleted meanwhile"
                raise MessageNotFoundError(msg)
            keys, session, entry = located
            body = encode(to_message(keys, session, entry), changes)
            body_size(body, self.settings.max_message_bytes)
            try:
                if (session, entry.at) != (record.session_id, at):
                    # One step, also within a session: whatever ends this process, the message is there.
                    await self._parts.appender.move(
                        keys, session, entry, record.session_id, at, body, attempt
                    )
                elif body != entry.body:
                    await self._parts.scripts.update(
                        keys, session, entry.place, expected=entry.body, body=body, attempt=attempt
                    )
            except StaleError:
                attempt.check_contention("the message")
            else:
                return

    async def delete_messages(self, flow_id: str, ids: Sequence[str]) -> int:
        return len(await self._store.delete_messages(ids, flow_id=flow_id))

    async def flows(self) -> list[str]:
        return await self._store.flows()

    async def set_owner(self, flow_id: str, owner: str) -> None:
        await self._store.set_owner(flow_id, owner)

    async def has_flow(self, flow_id: str) -> bool:
        return await self._store.has_flow(flow_id)

    async def owner(self, flow_id: str) -> str | None:
        return await self._store.owner(flow_id)

    async def pages(self, flow_id: str) -> AsyncGenerator[list[Message], None]:
        """All messages of a flow, session by session, oldest first."""
        keys = self._parts.keys.flow(flow_id)
        for session in await self._sessions(flow_id):
            async for page in self._parts.history.pages(keys, session, _PAGE):
                yield self._parts.reader.to_messages(keys, session, page)

    async def unordered(self, flow_id: str) -> AsyncGenerator[list[Message], None]:
        """As :meth:`pages`, newest first: each message is read once, and not twice."""
        keys = self._parts.keys.flow(flow_id)
        for session in await self._sessions(flow_id):
            size, before = _PAGE, None
            while True:
                entries = (await self._parts.reader.newest(keys, session, size, before=before)).entries
                if entries:
                    yield self._parts.reader.to_messages(keys, session, entries)
                if len(entries) < size:
                    break
                before = entries[-1].order
                wide = sum(len(entry.body) for entry in entries) * 4 > _PAGE_BYTES
                size = _PAGE if wide else _LARGE_PAGE

    async def _sessions(self, flow_id: str) -> list[str]:
        names: dict[str, None] = {}
        offset = 0
        while page := await self._store.sessions(flow_id, limit=_SESSIONS, offset=offset):
            names.update(dict.fromkeys(page))
            offset += len(page)
        return list(names)

    async def builds(self, flow_id: str) -> list[ImportedBuild]:
        """The builds of a flow, those of earlier jobs too, oldest first."""
        keys = self._parts.keys.flow(flow_id)
        bodies = [body for _, body in await self._parts.runs.build_bodies(keys)]
        bodies += await self._parts.jobs.bodies(keys)
        builds: dict[str, ImportedBuild] = {}
        for body in bodies:
            try:
                build = ImportedBuild.model_validate(_fields(body))
            except ValueError as error:  # pydantic's ValidationError is one
                self._parts.reader.report_corrupt(keys.builds, b"", type(error).__name__)
            else:
                builds[build.build_id] = build
        return sorted(builds.values(), key=lambda build: build.timestamp)

    async def put_build(self, build: ImportedBuild, owner: str | None) -> bool:
        return await self._store.put_build(build, owner=owner)

    async def transactions(self, flow_id: str) -> list[ImportedTransaction]:
        """The transactions of a flow, oldest first."""
        found = []
        keys = self._parts.keys.flow(flow_id)
        for body in reversed(await self._parts.runs.transaction_bodies(keys)):
            try:
                found.append(ImportedTransaction.model_validate(_fields(body) | {"flow_id": flow_id}))
            except ValueError as error:
                self._parts.reader.report_corrupt(keys.transactions, b"", type(error).__name__)
        return found

    async def add_transaction(self, transaction: ImportedTransaction, owner: str | None) -> None:
        await self._store.add_transaction(transaction, owner=owner)


def _fields(body: bytes) -> dict[str, Any]:
    shown, _, rest = body.partition(b"\n")
    return {**from_json(shown), **(from_json(rest) if rest else {})}


def _portions(items: Sequence[Item]) -> list[list[Item]]:
    """Batches in which no session has too many messages; each session in its order."""
    portions: list[list[Item]] = []
    seen: dict[str, int] = defaultdict(int)
    for item in items:
        place = seen[item.record.session_id] // _SESSION_BATCH
        seen[item.record.session_id] += 1
        if place == len(portions):
            portions.append([])
        portions[place].append(item)
    return portions
