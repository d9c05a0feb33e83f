"""Stream entries as Redis sends them: which of them are ours, and what they become.

Whatever else may lie in a stream of ours is skipped, counted and logged by its key and id.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from redis_sessions.body import CorruptEntryError, decode, splice
from redis_sessions.errors import WrongTypeError
from redis_sessions.events import event
from redis_sessions.formats import newer_format
from redis_sessions.ids import NUMBER_MASK, EntryId, to_message_id, to_uuid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.calls import Counters
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Message

logger: logging.Logger = logging.getLogger(__name__)

_AGAIN = 60.0
"""Seconds after which the same corrupt entry is logged again: it is met by every read."""
_MOST_REPORTED = 1_000
LONGEST_US = 16
"""Digits of an entry's µs, from 2001 to 2286; the scripts stop at 2255."""


class Record(NamedTuple):
    """A session's record: its numbers (the first is primary), largest lateness in µs, and generation."""

    numbers: tuple[int, ...]
    lateness: int
    generation: int

    @classmethod
    def parse(cls, text: bytes) -> Record:
        try:
            numbers, lateness, generation = text.split(b"|")
            return cls(tuple(map(int, numbers.split(b","))), int(lateness), int(generation))
        except ValueError:
            if text.count(b"|") > 2:
                raise newer_format("a session") from None
            msg = "the record of a session holds something else; nothing was changed"
            raise WrongTypeError(msg) from None


class Entry(NamedTuple):
    """A message as it lies in Redis, unparsed: most of a page is only passed on."""

    raw_id: bytes
    raw_at: bytes
    body: bytes
    alias: bytes | None

    @property
    def place(self) -> EntryId:
        """The entry's id."""
        us, _, seq = self.raw_id.partition(b"-")
        return EntryId(int(us), int(seq))

    @property
    def at(self) -> int:
        """The message's timestamp in µs."""
        return int(self.raw_at)

    @property
    def order(self) -> tuple[int, EntryId]:
        """What messages are sorted by."""
        return int(self.raw_at), self.place

    @property
    def message_id(self) -> str:
        return to_uuid_text(self.alias) if self.alias is not None else to_message_id(*self.place)


_new_entry = tuple.__new__
"""Entry's own constructor costs as much as reading the rest of an entry."""


class Entries:
    """Sorts out entries and converts them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._reported: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()

    def ours(self, raw: Sequence[Any], record: Record, log: bytes) -> list[Entry]:
        """The entries that are ours; others are reported."""
        entries = []
        ours: dict[bytes, bool] = {}
        for entry_id, fields in raw:
            us, _, seq = entry_id.partition(b"-")
            known = ours.get(seq)
            if known is None:
                known = ours[seq] = int(seq) & NUMBER_MASK in record.numbers
            if known and len(fields) == 2 and fields[0] == b"b" and len(us) <= LONGEST_US:
                entries.append(_new_entry(Entry, (entry_id, us, fields[1], None)))
                continue
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            at, body, alias = values.get(b"t", us), values.get(b"b"), values.get(b"i")
            # Lengths first: int() refuses thousands of digits.
            timed = len(us) <= LONGEST_US >= len(at) and at.isdigit() and int(at) <= int(us)
            if not known or body is None or not timed or (alias is not None and len(alias) != 16):
                self.report_corrupt(log, entry_id, "foreign")
                continue
            entries.append(Entry(entry_id, at, body, alias))
        return entries

    def to_messages(self, keys: FlowKeys, session: str, entries: Sequence[Entry]) -> list[Message]:
        """Decode entries; one that cannot be decoded is reported and left out."""
        messages = []
        for entry in entries:
            try:
                messages.append(to_message(keys, session, entry))
            except CorruptEntryError as error:
                self.report_corrupt(keys.log(session), entry.raw_id, str(error))
        return messages

    def to_wire(self, keys: FlowKeys, session: str, entries: Sequence[Entry]) -> list[bytes]:
        """Entries as JSON objects of ``GET /monitor/messages``, without decoding any."""
        spliced = splice(keys.flow_id, session, entries)
        if None not in spliced:
            return cast("list[bytes]", spliced)
        for entry, shown in zip(entries, spliced, strict=True):
            if shown is None:
                self.report_corrupt(keys.log(session), entry.raw_id, "layout")
        return [shown for shown in spliced if shown is not None]

    def report_corrupt(self, key: bytes, entry_id: bytes, reason: str) -> None:
        """Count an entry that is not ours, and log it once a minute; its content is not logged."""
        self._counters.corrupt_entries += 1
        now, place = time.monotonic(), (key, entry_id)
        if now - self._reported.get(place, now - _AGAIN) < _AGAIN:
            return
        self._reported[place] = now
        self._reported.move_to_end(place)
        if len(self._reported) > _MOST_REPORTED:
            self._reported.popitem(last=False)
        logger.warning(
            "corrupt entry skipped: key=%s entry=%s reason=%s",
            key.decode(errors="backslashreplace"),
            entry_id.decode(errors="backslashreplace"),
            reason,
            extra=event("corrupt_entry", key=key, entry=entry_id, reason=reason),
        )


def to_message(keys: FlowKeys, session: str, entry: Entry) -> Message:
    """Raises CorruptEntryError."""
    return decode(entry[2], flow_id=keys.flow_id, session_id=session, entry=entry)


def same_place(one: bytes | None, other: bytes | None) -> bool:
    """Whether two records differ at most in lateness: the same session, and nothing was removed."""
    if one is None or other is None:
        return False
    numbers, _, generation, *_ = one.split(b"|")
    other_numbers, _, other_generation, *_ = other.split(b"|")
    return numbers == other_numbers and generation == other_generation
