"""From a message id to the message: the one place that knows.

An id of ours names its session's number; ``ids`` maps that to the session's present name. An id made
elsewhere, or one whose message was moved, is in ``aliases``, which leads to an address.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from redis_sessions.ids import EntryId, address_of, flow_hash, hash_of, to_raw
from redis_sessions.reader import DOUBTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.entries import Entry
    from redis_sessions.keys import FlowKeys, Keys
    from redis_sessions.reader import Reader
    from redis_sessions.registry import Registry
    from redis_sessions.transport import Command, Transport
    from redis_sessions.whereabouts import Whereabouts

_PAGE = 1_000
_ENTRIES = 200


class Located(NamedTuple):
    """A message and where it is."""

    keys: FlowKeys
    session: str
    entry: Entry


class _Place(NamedTuple):
    session: str
    place: EntryId


class Resolver:
    """Finds messages by id among flows."""

    def __init__(
        self,
        keys: Keys,
        calls: Calls,
        transport: Transport,
        reader: Reader,
        registry: Registry,
        whereabouts: Whereabouts,
    ) -> None:
        self._keys = keys
        self._calls = calls
        self._transport = transport
        self._reader = reader
        self._registry = registry
        self._whereabouts = whereabouts

    async def find(
        self, message_ids: Sequence[str], flows: Iterable[str] | None, attempt: Attempt | None = None
    ) -> dict[str, Located]:
        """The messages that are in ``flows`` (None: in all registered flows), by canonical id."""
        attempt = attempt or self._calls.begin()
        candidates = sorted(set(flows)) if flows is not None else await self._registry.flows(attempt=attempt)
        found: dict[str, Located] = {}
        missing = list(dict.fromkeys(message_ids))
        for likely in (True, False):
            for flow_id, ids in self._by_flow(missing, candidates, likely=likely):
                wanted = [message_id for message_id in ids if message_id not in found]
                if wanted:
                    found.update(await self._find_in_flow(self._keys.flow(flow_id), wanted, attempt))
            missing = [message_id for message_id in missing if message_id not in found]
            if not missing or not likely or len(candidates) == 1:  # everything was looked for
                break
            candidates = await self._flows_with_aliases(missing, candidates, attempt)
        return found

    def _by_flow(
        self, ids: Sequence[str], candidates: Sequence[str], *, likely: bool
    ) -> list[tuple[str, list[str]]]:
        """The ids to look for in each flow: at first only where their hash bits say, then anywhere."""
        if not likely or len(candidates) == 1:
            return [(flow_id, list(ids)) for flow_id in candidates]
        by_hash: dict[int, list[str]] = {}
        for message_id in ids:
            address = address_of(message_id)
            if address is not None:
                by_hash.setdefault(hash_of(address.number), []).append(message_id)
        hashed = ((flow_id, by_hash.get(flow_hash(flow_id))) for flow_id in candidates) if by_hash else ()
        return [(flow_id, wanted) for flow_id, wanted in hashed if wanted]

    async def _flows_with_aliases(
        self, ids: Sequence[str], candidates: Sequence[str], attempt: Attempt
    ) -> list[str]:
        """Those of the flows that have adopted any of the ids."""
        fields = [to_raw(message_id) for message_id in ids]
        having = []
        for first in range(0, len(candidates), _PAGE):
            page = candidates[first : first + _PAGE]
            commands: list[tuple[bytes, Command]] = [
                (key, ("HMGET", key, *fields)) for key in (self._keys.flow(flow).aliases for flow in page)
            ]
            replies = await self._calls.read(
                lambda commands=commands: self._transport.scatter(commands),  # type: ignore[misc]
                attempt,
            )
            having += [flow for flow, reply in zip(page, replies, strict=True) if any(reply)]
        return having

    async def _find_in_flow(self, keys: FlowKeys, ids: Sequence[str], attempt: Attempt) -> dict[str, Located]:
        found: dict[str, Located] = {}
        empty: dict[str, EntryId] = {}  # where there is nothing, and never will be again
        doubts: Counter[str] = Counter()
        wanted = list(ids)
        guessed = self._guess(keys, wanted)
        while wanted:
            places = guessed or await self._places(keys, wanted, attempt)
            by_session: dict[str, list[tuple[str, EntryId]]] = {}
            for message_id, (session, place) in places.items():
                if empty.get(message_id) != place and doubts[message_id] < DOUBTS:
                    by_session.setdefault(session, []).append((message_id, place))
            for session, pairs in by_session.items():
                for first in range(0, len(pairs), _ENTRIES):
                    some = pairs[first : first + _ENTRIES]
                    numbers, entries = await self._reader.look(
                        keys, session, [place for _, place in some], attempt
                    )
                    for (message_id, place), entry in zip(some, entries, strict=True):
                        if entry is not None and entry.message_id == message_id:
                            found[message_id] = Located(keys, session, entry)
                            self._whereabouts.note(keys.flow_id, entry.place.number, session)
                        elif place.number in numbers:
                            empty[message_id] = place
                        else:  # the session was renamed meanwhile
                            doubts[message_id] += 1
            looked_at = chain.from_iterable(by_session.values())
            wanted = wanted if guessed else [message_id for message_id, _ in looked_at]
            wanted = [message_id for message_id in wanted if message_id not in found]
            guessed = {}
        return found

    def _guess(self, keys: FlowKeys, ids: Sequence[str]) -> dict[str, _Place]:
        """Where the messages are if their sessions have the names that they had when they were last met."""
        guessed = {}
        for message_id in ids:
            place = address_of(message_id)
            session = self._whereabouts.guess(keys.flow_id, place.number) if place else None
            if place and session is not None:
                guessed[message_id] = _Place(session, place)
        return guessed

    async def _places(self, keys: FlowKeys, ids: Sequence[str], attempt: Attempt) -> dict[str, _Place]:
        """Where the flow's maps say that the messages are now."""
        places: dict[str, _Place] = {}
        for first in range(0, len(ids), _PAGE):
            # Where each was made; those that are elsewhere are asked for again.
            wanted = {message_id: address_of(message_id) for message_id in ids[first : first + _PAGE]}
            while wanted:
                numbers = sorted({place.number for place in wanted.values() if place})
                names, aliases = await self._look_up(keys, numbers, list(wanted), attempt)
                sessions = dict(zip(numbers, names, strict=True))
                elsewhere: dict[str, EntryId | None] = {}
                for message_id, alias in zip(wanted, aliases, strict=True):
                    place = EntryId.parse(alias) if alias else address_of(message_id)
                    if place is None:
                        continue
                    if place.number not in sessions:
                        elsewhere[message_id] = place
                    elif (name := sessions[place.number]) is not None:
                        places[message_id] = _Place(name.decode(), place)
                wanted = elsewhere
        return places

    async def _look_up(
        self, keys: FlowKeys, numbers: Sequence[int], ids: Sequence[str], attempt: Attempt
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        """Which sessions have these numbers, and then where adopted ids lead.

        In that order: a message that goes to another session takes along a session that it leaves empty. Of
        one that leads to a number afterwards, the number was looked up when it was there, or had gone.
        """
        names: list[bytes | None] = []
        commands: list[Command] = [("HMGET", keys.aliases, *map(to_raw, ids))]
        if numbers:
            commands.insert(0, ("HMGET", keys.ids, *(b"n%d" % number for number in numbers)))
        *found, aliases = await self._calls.read(lambda: self._transport.run(keys.ids, *commands), attempt)
        if found:
            [names] = found
        return names, aliases
