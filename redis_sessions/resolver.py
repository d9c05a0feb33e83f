"""From a message id to the message: the one place that knows.

An id of ours names its session's number; ``ids`` maps that to the session's present name. An id made
elsewhere, or one whose message was moved, is in ``aliases``, which leads to an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from redis_sessions.ids import EntryId, address_of, flow_hash, hash_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.keys import FlowKeys, Keys
    from redis_sessions.reader import Entry, Reader
    from redis_sessions.registry import Registry
    from redis_sessions.transport import Command, Transport

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
        self, keys: Keys, calls: Calls, transport: Transport, reader: Reader, registry: Registry
    ) -> None:
        self._keys = keys
        self._calls = calls
        self._transport = transport
        self._reader = reader
        self._registry = registry

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
            if not missing:
                break
            if len(candidates) > 1:
                candidates_with_aliases = await self._flows_with_aliases(missing, candidates, attempt)
                candidates = candidates_with_aliases
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
        fields = [UUID(message_id).bytes for message_id in ids]
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
        tried: dict[str, _Place] = {}
        wanted = list(ids)
        while wanted:
            places = await self._places(keys, wanted, attempt)
            # An entry that is not where it was said to be: gone for good if it is still said to be there.
            places = {
                message_id: place for message_id, place in places.items() if tried.get(message_id) != place
            }
            by_session: dict[str, list[tuple[str, EntryId]]] = {}
            for message_id, (session, place) in places.items():
                by_session.setdefault(session, []).append((message_id, place))
            for session, pairs in by_session.items():
                for first in range(0, len(pairs), _ENTRIES):
                    some = pairs[first : first + _ENTRIES]
                    entries = await self._reader.at(keys, session, [place for _, place in some], attempt)
                    for (message_id, _), entry in zip(some, entries, strict=True):
                        if entry is not None and entry.message_id == message_id:
                            found[message_id] = Located(keys, session, entry)
            tried.update(places)
            wanted = [message_id for message_id in places if message_id not in found]
        return found

    async def _places(self, keys: FlowKeys, ids: Sequence[str], attempt: Attempt) -> dict[str, _Place]:
        """Where the flow's maps say that the messages are now."""
        places: dict[str, _Place] = {}
        for first in range(0, len(ids), _PAGE):
            page = ids[first : first + _PAGE]
            addresses = [address_of(message_id) for message_id in page]
            (aliases,) = await self._calls.read(
                lambda page=page: self._transport.run(  # type: ignore[misc]
                    keys.aliases, ("HMGET", keys.aliases, *(UUID(message_id).bytes for message_id in page))
                ),
                attempt,
            )
            where = [
                EntryId.parse(alias) if alias else address
                for alias, address in zip(aliases, addresses, strict=True)
            ]
            numbers = sorted({place.number for place in where if place})
            if not numbers:
                continue
            (names,) = await self._calls.read(
                lambda numbers=numbers: self._transport.run(  # type: ignore[misc]
                    keys.ids, ("HMGET", keys.ids, *(b"n%d" % number for number in numbers))
                ),
                attempt,
            )
            sessions = dict(zip(numbers, names, strict=True))
            for message_id, place in zip(page, where, strict=True):
                name = sessions.get(place.number) if place else None
                if place and name is not None:
                    places[message_id] = _Place(name.decode(), place)
        return places
