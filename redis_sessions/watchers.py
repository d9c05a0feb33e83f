"""Those who watch: what waits for each of them, and how far each is."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from redis_sessions.errors import RedisSessionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis_sessions.feed import Seen
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Event

MAX_EVENTS = 500
MAX_BYTES = 512 * 1024
"""What may wait for one watcher; a single batch may be more."""


class Batch(NamedTuple):
    """Events, and the place behind which they end."""

    events: list[Event]
    size: int
    end: EntryId


class Place:
    """One watcher in a flow's feed. ``start`` is where the reader was when the watcher came."""

    def __init__(self, session: str | None, start: EntryId) -> None:
        self.session = session
        self.start = start
        self._reached = start
        self._waiting: deque[Batch] = deque()
        self._count = self._size = 0
        self._overrun = False
        self._error: BaseException | None = None
        self._news = asyncio.Event()

    def catch_up(self, reached: EntryId) -> None:
        self._reached = max(self._reached, reached)

    @property
    def reached(self) -> EntryId:
        """How far the watcher is: all events up to there were handed to it."""
        return self._reached

    def offer(self, batch: Batch) -> None:
        if self._overrun:
            return
        if not batch.events:
            # None concern this watcher, who is that far nevertheless.
            if self._waiting:
                self._waiting[-1] = self._waiting[-1]._replace(end=batch.end)
            else:
                self._reached = max(self._reached, batch.end)
            return
        full = self._count + len(batch.events) > MAX_EVENTS or self._size + batch.size > MAX_BYTES
        if self._waiting and full:
            self.overrun()
            return
        self._waiting.append(batch)
        self._count += len(batch.events)
        self._size += batch.size
        self._news.set()

    def overrun(self) -> None:
        """Have the watcher read the feed itself from where it is."""
        self._waiting.clear()
        self._overrun = True
        self._news.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._news.set()

    async def next(self) -> Batch | None:
        """The next events; None when some were dropped: they are in the feed behind ``reached``."""
        while not self._waiting:
            if self._overrun:
                return None
            if self._error is not None:
                # Each watcher gets its own: raising adds to an error's traceback.
                ours = isinstance(self._error, RedisSessionsError)
                raise copy.copy(self._error) if ours else self._error from self._error.__cause__
            self._news.clear()
            await self._news.wait()
        batch = self._waiting.popleft()
        self._count -= len(batch.events)
        self._size -= batch.size
        self._reached = max(self._reached, batch.end)
        return batch


class Watched:
    """A flow that is watched: how far its feed was read, and for whom."""

    def __init__(self, keys: FlowKeys, place: EntryId) -> None:
        self.keys = keys
        self.place: EntryId = place
        self.watchers: set[Place] = set()

    @property
    def sessions(self) -> set[str | None]:
        return {watcher.session for watcher in self.watchers}

    def tell(self, seen: Mapping[str | None, Seen], end: EntryId) -> None:
        self.place = end
        for watcher in self.watchers:
            if watcher.session in seen:
                watcher.offer(Batch(*seen[watcher.session], end))
            else:  # came while the events were read
                watcher.overrun()
