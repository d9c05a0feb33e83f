"""What a store must do, in plain Python: lists, sorted by (timestamp, entry id), and nothing clever.

It knows the rules that the design makes (how an entry id comes about, what a merge keeps, what trimming
takes) and none of the means. Every change returns the events that a watcher of the flow must see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis_sessions.ids import NUMBER_BITS, EntryId, to_message_id

LAST_COUNTER = 511


class Seen(NamedTuple):
    """An event, as far as the model can tell: its id in the feed is Redis's business."""

    type: str
    session: str
    message_id: str | None = None
    old_session: str | None = None


Block = list[Seen]
"""The events of one write."""


@dataclass
class Stored:
    """A message where it is now."""

    place: EntryId
    at: int
    content: dict[str, Any]
    alias: str | None = None
    edited: bool = False

    @property
    def id(self) -> str:
        return self.alias or to_message_id(*self.place)

    @property
    def order(self) -> tuple[int, EntryId]:
        return self.at, self.place


@dataclass
class Session:
    """``numbers``: the first is primary; ``clock``: the last id that was given out; ``entries``: by id."""

    numbers: list[int]
    clock: EntryId = field(default=EntryId(0, 0))
    lateness: int = 0
    entries: list[Stored] = field(default_factory=list)

    @property
    def messages(self) -> list[Stored]:
        return sorted(self.entries, key=lambda entry: entry.order)

    def next_place(self, at: int) -> EntryId:
        plain = EntryId(at, self.numbers[0])
        if plain > self.clock:
            return plain
        us, counter = self.clock.us, (self.clock.seq >> NUMBER_BITS) + 1
        if counter > LAST_COUNTER:
            us, counter = us + 1, 0
        return EntryId(us, (counter << NUMBER_BITS) + self.numbers[0])

    def add(self, at: int, content: dict[str, Any], alias: str | None) -> Stored:
        place = self.next_place(at)
        entry = Stored(place, at, content, alias)
        self.clock = place
        self.lateness = max(self.lateness, place.us - at)
        self.entries.append(entry)
        return entry


@dataclass
class Flow:
    """One flow. It is there while it has sessions; an owner alone, or a feed, may outlive them."""

    id: str
    owner: str | None = None
    sessions: dict[str, Session] = field(default_factory=dict)
    registered: bool = False
    has_feed: bool = False

    def find(self, message_id: str) -> tuple[str, Stored] | None:
        for name, session in self.sessions.items():
            for entry in session.entries:
                if entry.id == message_id:
                    return name, entry
        return None

    @property
    def names(self) -> list[str]:
        """Newest activity first; of equal time by id, descending."""

        def activity(name: str) -> tuple[int, bytes]:
            return self.sessions[name].entries[-1].place.us, name.encode()

        return sorted(self.sessions, key=activity, reverse=True)

    @property
    def recent(self) -> list[tuple[str, Stored]]:
        """All messages with their sessions, newest first."""
        pairs = [(name, entry) for name, session in self.sessions.items() for entry in session.entries]
        return sorted(pairs, key=lambda pair: pair[1].order, reverse=True)

    # --- changes ---------------------------------------------------------------------------------

    def append(
        self,
        name: str,
        items: list[tuple[int, dict[str, Any], str | None]],
        *,
        number: int,
        owner: str | None,
        keep: int | None,
    ) -> tuple[list[Stored], Block]:
        """Add (timestamp, content, explicit id) each; ``number`` is for a session that starts with them."""
        session = self.sessions.setdefault(name, Session([number]))
        self.registered = self.has_feed = True
        self.owner = self.owner or owner
        added = [session.add(*item) for item in items]
        block = [Seen("created", name, entry.id) for entry in added]
        excess = max(0, len(session.entries) - keep) if keep is not None else 0
        block += [Seen("deleted", name, entry.id) for entry in session.entries[:excess]]
        del session.entries[:excess]
        return added, block

    def update(self, message_id: str, changes: dict[str, Any]) -> Block:
        name, entry = self._found(message_id)
        after = entry.content | changes
        if "text" in changes and changes["text"] != entry.content["text"]:
            after["edit"] = True
        if after == entry.content:
            return []
        entry.content, entry.edited = after, True
        return [Seen("updated", name, message_id)]

    def move(self, message_id: str, changes: dict[str, Any], name: str, number: int) -> Block:
        old, entry = self._found(message_id)
        self.update(message_id, changes)
        self._remove(old, [message_id])
        target = self.sessions.setdefault(name, Session([number]))
        target.add(entry.at, entry.content, message_id)
        return [Seen("updated", name, message_id, old)]

    def delete(self, message_ids: list[str]) -> list[Block]:
        """One block for each session that lost messages."""
        by_session: dict[str, list[str]] = {}
        for message_id in message_ids:
            found = self.find(message_id)
            if found is not None:
                by_session.setdefault(found[0], []).append(message_id)
        for name, ids in by_session.items():
            self._remove(name, ids)
        if by_session:
            self._close_if_empty()
        return [[Seen("deleted", name, gone) for gone in ids] for name, ids in by_session.items()]

    def delete_session(self, name: str) -> tuple[int, Block]:
        session = self.sessions.pop(name, None)
        if session is None:
            return 0, []
        self._close_if_empty()
        return len(session.entries), [Seen("deleted", name)]

    def rename(self, old: str, new: str) -> Block:
        if old == new:
            return []
        moving, there = self.sessions.pop(old), self.sessions.get(new)
        if there is not None:
            moving = Session(
                there.numbers + moving.numbers,
                max(there.clock, moving.clock),
                max(there.lateness, moving.lateness),
                sorted(there.entries + moving.entries, key=lambda entry: entry.place),
            )
        self.sessions[new] = moving
        return [Seen("renamed", new, None, old)]

    def drop(self) -> None:
        self.sessions.clear()
        self.owner, self.registered, self.has_feed = None, False, False

    def _found(self, message_id: str) -> tuple[str, Stored]:
        found = self.find(message_id)
        assert found is not None
        return found

    def _remove(self, name: str, message_ids: list[str]) -> None:
        session = self.sessions[name]
        session.entries = [entry for entry in session.entries if entry.id not in message_ids]
        if not session.entries:
            del self.sessions[name]

    def _close_if_empty(self) -> None:
        if not self.sessions:
            self.owner, self.registered = None, False
