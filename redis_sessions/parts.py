"""What an open store is made of, and what its methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions import limits
from redis_sessions.appending import Appender
from redis_sessions.calls import Calls
from redis_sessions.clock import to_ms
from redis_sessions.drafts import Drafts
from redis_sessions.errors import (
    InvalidInputError,
    StoreClosedError,
)
from redis_sessions.feed import Feed
from redis_sessions.history import History
from redis_sessions.hub import Hub
from redis_sessions.ids import from_cursor
from redis_sessions.jobs import Jobs
from redis_sessions.keys import Keys
from redis_sessions.latest import Latest
from redis_sessions.models import Message
from redis_sessions.moved import Moved
from redis_sessions.overview import Overview
from redis_sessions.reader import Reader
from redis_sessions.registry import Registry
from redis_sessions.replication import Replication
from redis_sessions.resolver import Resolver
from redis_sessions.runs import Runs
from redis_sessions.scripting import Limits
from redis_sessions.scripts import Scripts
from redis_sessions.whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from redis_sessions.connection import Connection
    from redis_sessions.ids import EntryId
    from redis_sessions.settings import Settings
    from redis_sessions.transport import Transport

    Id = str | UUID


class Parts:
    """What an open store is made of."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        us = 1_000
        deadline = settings.deadline.total_seconds()
        self.connection = connection
        self.keys: Keys = Keys(settings.prefix)
        self.calls: Calls = Calls(connection, deadline)
        self.transport: Transport = connection.transport()
        self.replication: Replication = Replication(self.transport, connection, settings)
        self.scripts: Scripts = Scripts(
            self.calls,
            self.transport,
            self.replication,
            Limits(
                ttl_ms=to_ms(settings.ttl) if settings.ttl else 0,
                max_messages=settings.max_messages or 0,
                max_ahead_us=to_ms(settings.max_ahead) * us,
                max_merge=settings.max_merge,
                max_events=settings.feed_max_events,
                feed_ttl_ms=to_ms(max(settings.feed_ttl, 2 * settings.deadline)),  # for retries
                max_transactions=settings.max_transactions,
            ),
        )
        self.reader: Reader = Reader(self.calls, self.transport)
        self.registry: Registry = Registry(self.keys, self.calls, self.transport, self.replication)
        self.whereabouts: Whereabouts = Whereabouts()
        self.latest: Latest = Latest()
        self.drafts: Drafts = Drafts()
        self.resolver: Resolver = Resolver(
            self.keys, self.calls, self.transport, self.reader, self.registry, self.whereabouts
        )
        self.appender: Appender = Appender(
            settings, self.calls, self.scripts, self.reader, self.registry, self.whereabouts, self.latest
        )
        self.history: History = History(self.calls, self.transport, self.reader, self.appender)
        self.overview: Overview = Overview(self.calls, self.transport, self.reader, self.history)
        self.runs: Runs = Runs(self.calls, self.transport, self.scripts, self.registry, self.reader)
        self.jobs: Jobs = Jobs(
            self.calls, self.transport, self.scripts, self.registry, self.reader, self.runs
        )
        self.moved: Moved = Moved(self.calls, self.transport, self.reader)
        feed = Feed(self.calls, self.transport, self.reader)
        self.hub: Hub = Hub(feed, self.calls, self.transport, block_ms=int(min(1.0, deadline / 4) * 1_000))


class Opened:
    """The base of the store's groups of methods."""

    settings: Settings
    _open: Parts | None

    @property
    def _parts(self) -> Parts:
        if self._open is None:
            msg = "the store is not open: use it inside `async with`, or call open() first"
            raise StoreClosedError(msg)
        return self._open


def candidates_of(flow_id: UUID | str | None, flows: Iterable[UUID | str] | None) -> list[str] | None:
    if flow_id is not None:
        if flows is not None:
            msg = "give flow_id or flows, not both"
            raise InvalidInputError(msg)
        return [limits.flow_id(flow_id)]
    return None if flows is None else [limits.flow_id(flow) for flow in flows]


def place_of(before: Message | str | None) -> tuple[int, EntryId] | None:
    if before is None:
        return None
    if isinstance(before, Message):
        return int(before.raw_at), before.entry
    return from_cursor(before)


def no_session(flow_id: UUID | str, session: str) -> str:
    return f"flow {str(flow_id)!r} has no session {session!r}"
