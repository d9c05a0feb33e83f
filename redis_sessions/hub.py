"""One blocking reader for all feeds that this process watches.

However many watchers there are, one task waits for news with one XREAD over all their feeds, on one
connection. It reads the messages of a change once, and hands each watcher its events. A feed that comes to be
watched cuts the wait short: the connection is given up, which every server and ACL allows, and at most every
25 ms.

On a cluster XREAD takes keys of one slot only. There one task for each primary asks for the news of all its
feeds in one trip, ten times a second, or more rarely when that takes up more than a tenth of the time.

A watcher's events wait in a queue of its own. It is bounded, in number and in bytes; when it is full it is
emptied, and the watcher reads the feed itself from where it was until it has caught up. So a slow watcher
costs no memory and loses nothing, while the feed reaches back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis_sessions.changes import entries_by_stream
from redis_sessions.errors import StoreClosedError, WrongTypeError
from redis_sessions.feed import PAGE, in_portions
from redis_sessions.ids import EntryId
from redis_sessions.turns import Turns
from redis_sessions.watchers import Place, Watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from redis_sessions.calls import Calls
    from redis_sessions.feed import Feed
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Event
    from redis_sessions.transport import Transport

_CUT_INTERVAL = 0.025
_ASK_INTERVAL = 0.1
_ASK_SHARE = 10
_REST_PER_FEED = 10e-6
"""Seconds between two XREADs for each feed in it: with thousands, news is collected for some milliseconds."""
_AT_ONCE = 4
"""Flows whose changes are read at the same time."""
_PATIENCE = 5.0
"""Seconds that a watch which begins, or catches up, waits for its turn: when thousands come back at once they
queue, one at a time, and leave connections, and half of the event loop's time, to others."""


class Hub:
    """Watching, shared. ``block_ms`` is how long Redis is asked to wait for news."""

    def __init__(self, feed: Feed, calls: Calls, transport: Transport, block_ms: int) -> None:
        self._feed = feed
        self._calls = calls
        self._transport = transport
        self._block_ms = block_ms
        self._readers: dict[str, _Reader] = {}
        self._turns = Turns(1, _PATIENCE, rest=1.0)
        self._closed = False

    async def watch(
        self, keys: FlowKeys, session: str | None, after: str | None
    ) -> AsyncGenerator[Event, None]:
        """Events behind ``after`` (None: from now on), for ever.

        Raises:
            InvalidCursorError: ``after`` is not an event's id.
            FeedGapError: the feed no longer reaches back; also when it expired in between.
            StoreUnavailableError: Redis was away for longer than the deadline. Watch again after the last
                event's id; nothing is lost while the feed reaches back.
        """
        async with self._turns.one():
            reached, end = await self._feed.start(keys, after)
        while True:
            reader, watched, place = self._join(keys, session, end)
            try:
                while reached < place.start:
                    async with self._turns.one():
                        entries = await self._feed.page(keys, reached, place.start)
                    for some in in_portions(entries):
                        async with self._turns.one():
                            portion = (await self._feed.events(keys, some, [session]))[session]
                        for event in portion.events:
                            yield event
                    reached = EntryId.parse(entries[-1][0]) if entries else place.start
                place.catch_up(reached)
                while (batch := await place.next()) is not None:
                    for event in batch.events:
                        if EntryId.parse(event.id) > reached:
                            yield event
            finally:
                reader.leave(watched, place)
            async with self._turns.one():
                reached, end = place.reached, await self._feed.last(keys)

    def _join(self, keys: FlowKeys, session: str | None, end: EntryId) -> tuple[_Reader, Watched, Place]:
        if self._closed:
            msg = "the store was closed"
            raise StoreClosedError(msg)
        name = self._transport.node_of(keys.feed)
        reader = self._readers.get(name)
        if reader is None:
            kind = _AskingReader if self._transport.kind == "cluster" else _BlockingReader
            reader = self._readers[name] = kind(self._feed, self._calls, self._transport, self._block_ms)
        watched = reader.watched(keys, end)
        place = Place(session, watched.place)
        watched.watchers.add(place)
        return reader, watched, place

    async def aclose(self) -> None:
        """End all watching: watchers get StoreClosedError."""
        self._closed = True
        for reader in self._readers.values():
            await reader.aclose()


class _Reader:
    """One task that waits for news of feeds."""

    def __init__(self, feed: Feed, calls: Calls, transport: Transport, block_ms: int) -> None:
        self._feed = feed
        self._calls = calls
        self._transport = transport
        self._block_ms = block_ms
        self._flows: dict[bytes, Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def watched(self, keys: FlowKeys, end: EntryId) -> Watched:
        """A flow as it is watched; from ``end`` on if it was not yet."""
        watched = self._flows.get(keys.feed)
        if watched is None:
            watched = self._flows[keys.feed] = Watched(keys, end)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
            else:
                self._wake()
        return watched

    def leave(self, watched: Watched, place: Place) -> None:
        watched.watchers.discard(place)
        if not watched.watchers and self._flows.get(watched.keys.feed) is watched:
            del self._flows[watched.keys.feed]

    async def aclose(self) -> None:
        for watched in list(self._flows.values()):
            self._drop(watched, StoreClosedError("the store was closed"))
        if self._task is not None:
            # Without flows the task ends by itself: redis-py may lose a cancellation while it connects.
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._flows:
            flows = dict(self._flows)
            try:
                news = await self._news(flows)
            except WrongTypeError:
                await self._drop_foreign(flows)
                continue
            except Exception as error:  # noqa: BLE001 - it is the watchers' error
                for watched in flows.values():
                    self._drop(watched, error)
                continue
            current = [(flows[key], entries) for key, entries in news.items() if entries]
            await asyncio.gather(*(self._tell(watched, entries) for watched, entries in current))
            await self._rest(len(flows))

    async def _tell(self, watched: Watched, entries: list[Any]) -> None:
        try:
            for some in in_portions(entries):
                if self._flows.get(watched.keys.feed) is not watched:
                    return
                async with self._turn:
                    seen = await self._feed.events(watched.keys, some, watched.sessions, behind=watched.place)
                watched.tell(seen, EntryId.parse(some[-1][0]))
        except Exception as error:  # noqa: BLE001 - it is the watchers' error
            self._drop(watched, error)

    def _drop(self, watched: Watched, error: BaseException) -> None:
        if self._flows.get(watched.keys.feed) is watched:
            del self._flows[watched.keys.feed]
        for watcher in watched.watchers:
            watcher.fail(error)

    async def _drop_foreign(self, flows: Mapping[bytes, Watched]) -> None:
        """One key that holds something else fails a read of all: only its own watchers are to suffer."""
        for watched in flows.values():
            try:
                await self._feed.last(watched.keys)
            except Exception as error:  # noqa: BLE001 - it is the watchers' error
                self._drop(watched, error)

    def _wake(self) -> None:
        """There is a new flow."""

    async def _news(self, flows: Mapping[bytes, Watched]) -> dict[bytes, list[Any]]:
        """New entries by feed, waiting for them a while."""
        raise NotImplementedError

    async def _rest(self, feeds: int) -> None:
        raise NotImplementedError


class _BlockingReader(_Reader):
    """All feeds in one XREAD that waits."""

    _waiting: asyncio.Task[Any] | None = None
    _cut: asyncio.TimerHandle | None = None
    _cut_at = float("-inf")

    def _wake(self) -> None:
        if self._waiting is not None and self._cut is None:
            loop = asyncio.get_running_loop()
            self._cut = loop.call_at(max(self._cut_at + _CUT_INTERVAL, loop.time()), self._cut_off)

    def _cut_off(self) -> None:
        self._cut = None
        self._cut_at = asyncio.get_running_loop().time()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _news(self, flows: Mapping[bytes, Watched]) -> dict[bytes, list[Any]]:
        places = [str(watched.place) for watched in flows.values()]
        command = ("XREAD", "COUNT", PAGE, "BLOCK", self._block_ms, "STREAMS", *flows, *places)
        first = next(iter(flows))
        waiting = self._waiting = asyncio.create_task(
            self._calls.read(lambda: self._transport.run(first, command))
        )
        try:
            await asyncio.wait({waiting})
        finally:
            self._waiting = None
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})  # it gives its connection back
        return {} if waiting.cancelled() else entries_by_stream(waiting.result()[0])

    async def _rest(self, feeds: int) -> None:
        pause = feeds * _REST_PER_FEED
        if pause >= 0.001:
            await asyncio.sleep(pause)


class _AskingReader(_Reader):
    """A primary's feeds, asked for in one trip at intervals."""

    _took = 0.0
    _more = False

    async def _news(self, flows: Mapping[bytes, Watched]) -> dict[bytes, list[Any]]:
        started = asyncio.get_running_loop().time()
        commands = [
            (key, ("XRANGE", key, f"({watched.place}", "+", "COUNT", PAGE)) for key, watched in flows.items()
        ]
        replies = await self._calls.read(lambda: self._transport.scatter(commands))
        self._took = asyncio.get_running_loop().time() - started
        self._more = any(len(entries) == PAGE for entries in replies)
        return dict(zip(flows, replies, strict=True))

    async def _rest(self, feeds: int) -> None:
        if not self._more:
            await asyncio.sleep(max(_ASK_INTERVAL, _ASK_SHARE * self._took))
