"""A flow's change feed played back: the states that the flow was in, one after each event."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis_sessions.ids import EntryId, to_message_id, to_uuid_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.faults.record import Call

T = TypeVar("T")

WINDOW = 50
"""How many of a session's newest messages are remembered of each state."""


class Versions(Generic[T]):
    """A value as it was after each event that changed it; before the first of them it was ``first``."""

    def __init__(self, first: T) -> None:
        self._since = [0]
        self._values = [first]

    def now_is(self, value: T, since: int) -> None:
        self._since.append(since)
        self._values.append(value)

    def between(self, low: int, high: int) -> Iterator[T]:
        """The values in the states ``low`` to ``high``."""
        at = bisect_right(self._since, low) - 1
        while at < len(self._since) and self._since[at] <= high:
            yield self._values[at]
            at += 1

    @property
    def last(self) -> T:
        return self._values[-1]


Content = tuple[str, str | None] | None
"""A message's text and context id; None while it is not there."""
Window = tuple[str, ...] | None
"""The ids of a session's newest messages, oldest first; None while there is no such session."""


@dataclass
class Session:
    """One session as it is now: messages by (timestamp, entry), and the numbers it was born with."""

    numbers: list[int]
    messages: list[tuple[int, EntryId, str]] = field(default_factory=list)

    @property
    def window(self) -> tuple[str, ...]:
        return tuple(message for _, _, message in self.messages[-WINDOW:])


class Replay:
    """What happened in a flow. ``complaints`` has what cannot have happened."""

    def __init__(
        self, flow: str, events: Sequence[tuple[bytes, Mapping[bytes, bytes]]], calls: Iterable[Call]
    ) -> None:
        self.flow = flow
        self.complaints: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.names: Versions[frozenset[str]] = Versions(frozenset())
        self.windows: dict[str, Versions[Window]] = {}
        self.contents: dict[str, Versions[Content]] = {}
        self.born_of: dict[str, Call] = {}
        self.order: list[Call | None] = []
        self.events_of: dict[str, list[dict[str, Any]]] = {}
        self._homes: dict[str, str] = {}
        by_token = {token: call for call in calls for token in call.tokens}
        for place, (event_id, fields) in enumerate(events):
            event = {name.decode(): value for name, value in fields.items()}
            call = by_token.get(event.get("t", b""))
            self.order.append(call)
            if call is None:
                self._complain(event_id, "is of nobody's call")
                continue
            if call.flow != flow:
                self._complain(event_id, f"is in another flow than its call: {call}")
            touched = self._apply(event_id, event, call, place + 1)
            for name in touched:
                session = self.sessions.get(name)
                self.window(name).now_is(session.window if session else None, place + 1)
            if self.names.last != (names := frozenset(self.sessions)):
                self.names.now_is(names, place + 1)
            self.events_of.setdefault(call.id, []).append(event)

    def window(self, session: str) -> Versions[Window]:
        return self.windows.setdefault(session, Versions(None))

    def content(self, message: str) -> Versions[Content]:
        return self.contents.setdefault(message, Versions(None))

    def _complain(self, event_id: bytes, what: str) -> None:
        self.complaints.append(f"{self.flow}: the event {event_id.decode()} {what}")

    def _apply(self, event_id: bytes, event: dict[str, Any], call: Call, state: int) -> Iterable[str]:
        """Play an event; the sessions it touched."""
        kind, name = event["e"].decode(), event["s"].decode()
        event["messages"] = [message_of(label) for label in labels_of(event)]
        expected = {"rename": "rename", "delete": "delete_messages"}.get(kind, kind)
        if call.op != expected:
            self._complain(event_id, f"({kind}) is of another call: {call}")
            return ()
        match kind:
            case "append":
                return self._append(event_id, event, call, name, state)
            case "update":
                [message] = event["messages"]
                before = self.content(message).last
                if before is None or self._homes.get(message) != name:
                    self._complain(event_id, f"changes {message}, which is not in {name!r}")
                    return ()
                change = call.asked["change"]
                text, context = change.get("text", before[0]), change.get("context_id", before[1])
                self.content(message).now_is((text, context), state)
                return ()
            case "delete":
                session = self.sessions.get(name)
                for message in event["messages"]:
                    if session is None or self._homes.get(message) != name:
                        self._complain(event_id, f"deletes {message}, which is not in {name!r}")
                        continue
                    session.messages = [item for item in session.messages if item[2] != message]
                    self._forget(message, state)
                if session is not None and not session.messages:
                    del self.sessions[name]
                return (name,)
            case "delete_session":
                session = self.sessions.pop(name, None)
                count = len(session.messages) if session else 0
                if int(event["c"]) != count:
                    self._complain(
                        event_id, f"deletes {int(event['c'])} messages of {name!r}, which had {count}"
                    )
                for _, _, message in session.messages if session else ():
                    self._forget(message, state)
                return (name,)
            case "rename":
                return self._rename(event_id, event, event["old"].decode(), name)
            case _:
                self._complain(event_id, f"is a {kind!r}")
                return ()

    def _append(
        self, event_id: bytes, event: dict[str, Any], call: Call, name: str, state: int
    ) -> Iterable[str]:
        labels = labels_of(event)
        asked = call.asked
        if len(labels) != len(asked["texts"]) or name != asked["session"]:
            self._complain(event_id, f"stores {len(labels)} messages in {name!r}: {call}")
        if asked["ids"] is not None and event["messages"] != asked["ids"]:
            self._complain(event_id, f"stores under other ids than asked for: {call}")
        places = [entry_of(label) for label in labels]
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = Session([places[0].number])
        for place, message, text, at in zip(
            places, event["messages"], asked["texts"], asked["at"], strict=False
        ):
            if place.number != session.numbers[0]:
                self._complain(event_id, f"stores {message} under another session's number")
            if self.content(message).last is not None:
                self._complain(event_id, f"stores {message}, which is there already")
            insort(session.messages, (at, place, message))
            self._homes[message] = name
            self.born_of[message] = call
            self.content(message).now_is((text, None), state)
        return (name,)

    def _rename(self, event_id: bytes, event: dict[str, Any], old: str, new: str) -> Iterable[str]:
        moved, there = self.sessions.pop(old, None), self.sessions.get(new)
        if moved is None:
            self._complain(event_id, f"renames {old!r}, which is not there")
            return ()
        expected = "MERGED" if there else "RENAMED"
        if event["r"].decode() != expected:
            self._complain(event_id, f"calls {old!r} -> {new!r} {event['r'].decode()}; it was {expected}")
        for _, _, message in moved.messages:
            self._homes[message] = new
        if there is None:
            self.sessions[new] = moved
        else:
            there.messages = sorted(there.messages + moved.messages)
            there.numbers += moved.numbers
        count = len(self.sessions[new].messages)
        if int(event["c"]) != count:
            self._complain(event_id, f"makes a session of {int(event['c'])} messages; it had {count}")
        return old, new

    def _forget(self, message: str, state: int) -> None:
        self._homes.pop(message, None)
        self.content(message).now_is(None, state)


def labels_of(event: Mapping[str, Any]) -> list[bytes]:
    return event["i"].split(b",") if event.get("i") else []


def entry_of(label: bytes) -> EntryId:
    return EntryId.parse(label.partition(b":")[0])


def message_of(label: bytes) -> str:
    """The message id that a label names."""
    entry, _, alias = label.partition(b":")
    return to_uuid_text(bytes.fromhex(alias.decode())) if alias else to_message_id(*EntryId.parse(entry))
