"""Message ids that are addresses, and cursors that outlive their message.

A message id is a UUID of version 8 (RFC 9562, section 5.8) made of the entry's place:

=====  ==========================================================
bits   content
=====  ==========================================================
60     the entry's time, µs since 1970 (custom_a and custom_b)
9      counter among the entries of one µs
44     session number: 16 bits of the flow id's crc32, 28 random
9      359, which marks the id as this package's
=====  ==========================================================

A stream entry's id is ``<µs>-<counter * 2**44 + number>``: below 2**53, where Lua's numbers are exact.
The text order of ids is the order of entries.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import struct
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from redis_sessions.errors import InvalidCursorError, InvalidInputError

MARK = 359
NUMBER_BITS = 44
NUMBER_MASK = (1 << NUMBER_BITS) - 1
RANDOM_BITS = 28
_SEQ_LIMIT = 1 << 53
_US_LIMIT = 1 << 60
_VARIANT = 1 << 63
_CURSOR = struct.Struct(">QQQ")
_CANONICAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class EntryId(NamedTuple):
    """A stream entry's id; compares as Redis orders entries."""

    us: int
    seq: int

    @property
    def number(self) -> int:
        """The session number: which session this entry was born in."""
        return self.seq & NUMBER_MASK

    def __str__(self) -> str:
        return f"{self.us}-{self.seq}"

    @classmethod
    def parse(cls, text: bytes | str) -> EntryId:
        us, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(us), int(seq))


def to_message_id(us: int, seq: int) -> str:
    """The message id (lower-case UUID text) of the entry ``us-seq``."""
    high = f"{us:015x}"
    return f"{high[:8]}-{high[8:12]}-8{high[12:]}{id_tail(seq)}"


@lru_cache(maxsize=4096)
def id_tail(seq: int) -> str:
    """The last two groups of a message id, each with its dash: counter, number and mark."""
    low = f"{seq << 9 | MARK | _VARIANT:016x}"
    return f"-{low[:4]}-{low[4:]}"


def to_uuid_text(raw: bytes) -> str:
    """16 bytes as canonical UUID text."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def address_of(message_id: str) -> EntryId | None:
    """The place that a message id names, or None for an id made elsewhere.

    ``message_id`` is canonical UUID text (see :func:`canonical`).
    """
    if message_id[14] != "8":
        return None
    low = int(message_id[19:23] + message_id[24:], 16)
    if low & 0x1FF != MARK or low >> 62 != 2:
        return None
    us = int(message_id[:8] + message_id[9:13] + message_id[15:18], 16)
    return EntryId(us, (low & ~_VARIANT) >> 9)


def canonical(message_id: str | UUID) -> str:
    """The id as lower-case text with dashes.

    Raises:
        InvalidInputError: it is not a UUID.
    """
    if type(message_id) is str and _CANONICAL.fullmatch(message_id):
        return message_id
    try:
        return str(message_id if isinstance(message_id, UUID) else UUID(message_id))
    except (ValueError, AttributeError, TypeError):
        msg = "a message id is a UUID"
        raise InvalidInputError(msg) from None


def to_raw(message_id: str | UUID) -> bytes:
    """The 16 bytes of a message id.

    Raises:
        InvalidInputError: it is not a UUID.
    """
    return bytes.fromhex(canonical(message_id).replace("-", ""))


def flow_hash(flow_id: str) -> int:
    """The 16 bits of a flow id that its session numbers begin with."""
    return crc32(flow_id.encode()) & 0xFFFF


def hash_of(number: int) -> int:
    """The flow hash that a session number begins with."""
    return number >> RANDOM_BITS


def draw_number(flow_id: str) -> int:
    """A candidate for a new session's number. The script takes the first that is free."""
    return flow_hash(flow_id) << RANDOM_BITS | (secrets.randbits(RANDOM_BITS) or 1)


def to_cursor(timestamp_us: int, entry: EntryId) -> str:
    """An opaque place in the order of messages: (timestamp, entry id)."""
    packed = _CURSOR.pack(timestamp_us, entry.us, entry.seq)
    return base64.urlsafe_b64encode(packed).decode()


def from_cursor(cursor: str) -> tuple[int, EntryId]:
    """The (timestamp in µs, entry id) of a cursor.

    Raises:
        InvalidCursorError: it is not one of ours.
    """
    try:
        timestamp_us, us, seq = _CURSOR.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, ValueError, TypeError):
        msg = "this is not a cursor of redis-sessions: pass a Message, or its .cursor, unchanged"
        raise InvalidCursorError(msg) from None
    if seq >= _SEQ_LIMIT or us >= _US_LIMIT or timestamp_us > us:
        msg = "this is not a cursor of redis-sessions: pass a Message, or its .cursor, unchanged"
        raise InvalidCursorError(msg)
    return timestamp_us, EntryId(us, seq)
