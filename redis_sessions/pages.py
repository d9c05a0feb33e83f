"""Whole pages of plain entries, fast: as messages, and as what the monitor shows.

The hottest loops of the package. What can be done once for a page, or for all its entries at once, is; a page
with anything that takes a closer look is left to ``entries.py``, which makes the same of it.
"""

from __future__ import annotations

import struct
from binascii import hexlify
from operator import concat as add_bytes
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic_core import to_json

from redis_sessions.body import (
    CorruptEntryError,
    decode,
    decode_text,
    read_end,
    read_head,
    read_middle,
    wire_head,
    wire_middle,
)
from redis_sessions.clock import wire_second
from redis_sessions.entries import LONGEST_US
from redis_sessions.ids import NUMBER_MASK, id_tail
from redis_sessions.layout import MARK, expand_end
from redis_sessions.models import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

T = TypeVar("T")


class _Known(dict[bytes, T]):
    """What was made of the lines of a page."""

    def __init__(self, make: Callable[[bytes], T]) -> None:
        self._make = make

    def __missing__(self, line: bytes) -> T:
        made = self[line] = self._make(line)
        return made


def decode_page(
    flow_id: str, session_id: str, page: Sequence[Any], numbers: Container[int]
) -> list[Message] | None:
    """The messages of stream entries as Redis sends them, all of them in time; in reverse order.

    None when any is not: late, adopted, foreign, corrupt, or of an older format.
    """
    heads, middles = _Known(read_head), _Known(read_middle)
    messages: list[Message] = []
    add, last_seq = messages.append, b""
    try:
        for entry_id, (name, body) in reversed(page):
            us, _, seq = entry_id.partition(b"-")
            if seq != last_seq:
                if int(seq) & NUMBER_MASK not in numbers:
                    return None
                last_seq = seq
            if name != b"b" or len(us) > LONGEST_US:
                return None
            first, head_line, text, middle_line, end_line = body.split(b"\n")
            if first != MARK:
                entry = entry_id, us, body, None
                add(decode(body, flow_id=flow_id, session_id=session_id, entry=entry))
                continue
            head, middle = heads[head_line], middles[middle_line]
            end = read_end(end_line) if end_line else None
            message = Message(  # by position: with names it takes twice as long
                head.sender,
                head.sender_name,
                head.context_id,
                decode_text(text),
                middle.edit,
                middle.duration,
                middle.category,
                [] if end is None else end.content_blocks,
                None if end is None else end.session_metadata,
                middle.files,
                middle.properties,
                flow_id,
                session_id,
                False,
                None,
                None,
                entry_id,
                us,
            )
            if middle.files != "[]":
                _ = message.files  # shows now whether they can be converted
            add(message)
    except (CorruptEntryError, ValueError, RecursionError):
        return None
    return messages


def splice_page(
    flow_id: str, session_id: str, page: Sequence[Any], numbers: Container[int]
) -> list[bytes] | None:
    """``body.splice`` for stream entries as Redis sends them, all of them plain; in reverse order.

    None when any is not: late, adopted, foreign, corrupt, of an older format, or before 2001.
    """
    if not page:
        return []
    before_time = b'","flow_id":' + to_json(flow_id) + b',"timestamp":"'
    session = b',"session_id":' + to_json(session_id)
    heads = _Known(lambda line: b' UTC",' + wire_head(line, session))
    closings = _Known(lambda line: wire_middle(line) + expand_end(b"") + b"}")
    last_second = last_seq = tail = clock = b""
    spliced: list[bytes] = []
    add, join = spliced.append, b"".join
    try:
        seconds, micros, seqs = _cut([entry[0] for entry in reversed(page)])
        times = list(map(int, cast("Iterable[bytes]", map(add_bytes, seconds, micros))))
        # 15 hexadecimal digits of each: in an id, the version stands before the last three.
        digits = iter(struct.unpack("x8s4s3s" * len(times), hexlify(struct.pack(f">{len(times)}Q", *times))))
        places = zip(digits, digits, digits, seconds, micros, seqs, strict=True)
        for (high, middle_digits, low, second, micro, seq), (_, (name, body)) in zip(
            places, reversed(page), strict=True
        ):
            first, head, text, middle, end = body.split(b"\n")
            if (first != MARK and first[:2] != MARK) or name != b"b":
                return None
            if seq != last_seq:
                number = int(seq[1:])
                if seq[:1] != b"-" or number & NUMBER_MASK not in numbers:
                    return None
                last_seq, last_second, tail = seq, b"", id_tail(number).encode() + before_time
            if second != last_second:
                last_second, clock = second, tail + wire_second(int(second)).encode()
            closing = closings[middle] if not end else wire_middle(middle) + expand_end(end) + b"}"
            add(
                join(
                    (
                        b'{"id":"',
                        high,
                        b"-",
                        middle_digits,
                        b"-8",
                        low,
                        clock,
                        micro,
                        heads[head],
                        text,
                        closing,
                    )
                )
            )
    except (ValueError, RecursionError):
        return None
    return spliced


def _cut(ids: list[bytes]) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Of entry ids: the seconds, the microseconds of the second, and the dash with the rest."""
    whole, length = b"".join(ids), len(ids[0])
    if len(whole) == length * len(ids) and length > LONGEST_US:
        cut = struct.unpack(f"10s6s{length - LONGEST_US}s" * len(ids), whole)
        return cut[::3], cut[1::3], cut[2::3]
    return [one[:10] for one in ids], [one[10:16] for one in ids], [one[16:] for one in ids]
