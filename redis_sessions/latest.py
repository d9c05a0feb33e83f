"""What this process wrote last: changing or deleting it again needs no look at it first.

A message is often changed several times right after it was stored, by the process that stored it: an answer
that grows as it is generated. What it read as before the change is known then. The scripts compare it with
what is there, and say so when somebody else was faster; so this is a guess that saves a round trip, and is
never an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from redis_sessions.ids import address_of
from redis_sessions.resolver import Located

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis_sessions.entries import Entry
    from redis_sessions.keys import FlowKeys

_MOST_BYTES = 4 * 1024 * 1024
_LARGEST = 64 * 1024
"""Bytes of a body above which reading it again is the smaller part of changing it."""
_OVERHEAD = 512
"""Bytes that a message takes here besides its body, about."""


class Latest:
    """The newest content of the messages that were stored or changed last, by address.

    Messages with adopted ids are left out: whether an id is one takes a look.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._left = most_bytes
        self._known: OrderedDict[bytes, Located] = OrderedDict()

    def note(self, keys: FlowKeys, session: str, entry: Entry) -> None:
        """This is what the entry holds now."""
        known, size = self._known, len(entry.body)
        before = known.pop(entry.raw_id, None)
        if before is not None:
            self._left += len(before.entry.body) + _OVERHEAD
        if size > _LARGEST or entry.alias is not None:
            return
        known[entry.raw_id] = Located(keys, session, entry)
        self._left -= size + _OVERHEAD
        while self._left < 0:
            _, dropped = known.popitem(last=False)
            self._left += len(dropped.entry.body) + _OVERHEAD

    def find(self, message_id: str, flows: Collection[str] | None) -> Located | None:
        """What is known of a message (canonical id), if its flow is among ``flows`` (None: any)."""
        place = address_of(message_id)
        located = self._known.get(str(place).encode()) if place is not None else None
        if located is None or (flows is not None and located.keys.flow_id not in flows):
            return None
        return located
