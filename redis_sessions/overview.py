"""Reads over several flows: the newest messages, the sessions, and which flows have a session.

Flows are independent shards: each trip asks many of them at once (:meth:`Transport.scatter`). First only how
new each flow is; then flows are read newest first until the next one cannot hold anything new enough.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from redis_sessions.body import CorruptEntryError
from redis_sessions.entries import to_message
from redis_sessions.history import scored_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from redis_sessions.calls import Calls
    from redis_sessions.entries import Entry
    from redis_sessions.history import History
    from redis_sessions.keys import FlowKeys
    from redis_sessions.reader import Reader
    from redis_sessions.transport import Command, Transport

_PAGE = 1_000
_LARGEST_PAGE = 1_000


class Found(NamedTuple):
    """A message of one of several flows."""

    keys: FlowKeys
    session: str
    entry: Entry


class Overview:
    """Reads that may span flows."""

    def __init__(self, calls: Calls, transport: Transport, reader: Reader, history: History) -> None:
        self._calls = calls
        self._transport = transport
        self._reader = reader
        self._history = history

    async def having(
        self, flows: Sequence[FlowKeys], sessions: Sequence[str]
    ) -> list[tuple[FlowKeys, str, int]]:
        """Which of the flows have which of the sessions, with the µs of the last entry, newest first."""
        names = [session.encode() for session in sessions]
        replies = await self._ask(flows, lambda keys: (keys.sessions, ("ZMSCORE", keys.sessions, *names)))
        having = [
            (keys, session, int(float(score)))
            for keys, scores in zip(flows, replies, strict=True)
            for session, score in zip(sessions, scores, strict=True)
            if score is not None
        ]
        return sorted(having, key=lambda found: found[2], reverse=True)

    async def newest(
        self, flows: Sequence[FlowKeys], session: str | None, limit: int, wanted: Mapping[str, Any]
    ) -> list[Found]:
        """The newest ``limit`` messages that have the wanted values, newest first."""
        if len(flows) == 1:
            ranked = [(flows[0], 0)]
        elif session is not None:
            ranked = [(keys, us) for keys, _, us in await self.having(flows, [session])]
        else:
            ranked = await self._by_activity(flows)
        found: list[Found] = []
        for keys, score in ranked:
            floor = found[limit - 1].entry.at if len(found) >= limit else 0
            if score and score < floor:
                break
            if session is None:
                entries = await self._history.recent_entries(
                    keys, limit, floor_us=floor, accept=self._filter(keys, wanted)
                )
            else:
                accept = self._filter(keys, wanted)
                window = await self._reader.newest(
                    keys,
                    session,
                    limit,
                    floor_us=floor,
                    accept=accept and (lambda entry, accept=accept: accept(session, entry)),
                )
                entries = [(session, entry) for entry in window.entries]
            found += [Found(keys, name, entry) for name, entry in entries]
            if len(ranked) > 1:
                found.sort(key=lambda one: one.entry.order, reverse=True)
                del found[limit:]
        return found

    def to_wire(self, found: Sequence[Found]) -> list[bytes]:
        """Messages as JSON objects of ``GET /monitor/messages``, in the order given, without corrupt ones."""
        by_session: dict[tuple[FlowKeys, str], list[int]] = {}
        for place, (keys, session, _) in enumerate(found):
            by_session.setdefault((keys, session), []).append(place)
        spliced: dict[int, bytes] = {}
        for (keys, session), places in by_session.items():
            shown = self._reader.to_wire(keys, session, [found[place].entry for place in places])
            if len(shown) == len(places):
                spliced.update(zip(places, shown, strict=True))
            else:
                for place in places:
                    entry = found[place].entry
                    spliced.update((place, one) for one in self._reader.to_wire(keys, session, [entry]))
        return [spliced[place] for place in sorted(spliced)]

    async def sessions(
        self,
        flows: Sequence[FlowKeys],
        limit: int,
        offset: int,
        hidden: Callable[[str], bool] | None,
    ) -> list[str]:
        """Session ids of all the flows, each once, newest activity first, ties by id, descending."""
        ranked = [(flows[0], 0)] if len(flows) == 1 else await self._by_activity(flows)
        wanted = limit + offset
        newest: dict[str, int] = {}
        for keys, score in ranked:
            if score and len(newest) >= wanted and score < min(newest.values()):
                break
            for name, us in await self._visible(keys, wanted, hidden):
                newest[name] = max(us, newest.get(name, 0))
            if len(newest) > wanted:
                newest = dict(islice(_ranked(newest), wanted))
        return [name for name, _ in islice(_ranked(newest), offset, wanted)]

    async def _visible(
        self, keys: FlowKeys, wanted: int, hidden: Callable[[str], bool] | None
    ) -> list[tuple[str, int]]:
        """The first sessions of a flow that are not hidden."""
        visible: dict[str, int] = {}
        start, size = 0, min(wanted, _LARGEST_PAGE)
        while True:
            page = await self._history.scored_sessions(keys, size, start)
            visible.update((name, us) for name, us in page if hidden is None or not hidden(name))
            if len(page) < size or len(visible) >= wanted:
                return list(islice(visible.items(), wanted))
            start, size = start + size, min(size * 2, _LARGEST_PAGE)

    async def _by_activity(self, flows: Sequence[FlowKeys]) -> list[tuple[FlowKeys, int]]:
        """The flows that have sessions, with the µs of their last entry, newest first."""
        replies = await self._ask(
            flows, lambda keys: (keys.sessions, ("ZREVRANGE", keys.sessions, 0, 0, "WITHSCORES"))
        )
        ranked = []
        for keys, reply in zip(flows, replies, strict=True):
            ranked += [(keys, us) for _, us in scored_pairs(reply)]
        return sorted(ranked, key=lambda pair: pair[1], reverse=True)

    async def _ask(
        self, flows: Sequence[FlowKeys], command: Callable[[FlowKeys], tuple[bytes, Command]]
    ) -> list[Any]:
        """One command's reply of each flow."""
        replies: list[Any] = []
        for first in range(0, len(flows), _PAGE):
            commands = [command(keys) for keys in flows[first : first + _PAGE]]
            replies += await self._calls.read(lambda commands=commands: self._transport.scatter(commands))  # type: ignore[misc]
        return replies

    def _filter(self, keys: FlowKeys, wanted: Mapping[str, Any]) -> Callable[[str, Entry], bool] | None:
        if not wanted:
            return None

        def accept(session: str, entry: Entry) -> bool:
            try:
                message = to_message(keys, session, entry)
            except CorruptEntryError as error:
                self._reader.report_corrupt(keys.log(session), entry.raw_id, str(error))
                return False
            return all(getattr(message, name) == value for name, value in wanted.items())

        return accept


def _ranked(newest: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    return iter(sorted(newest.items(), key=lambda pair: (pair[1], pair[0].encode()), reverse=True))
