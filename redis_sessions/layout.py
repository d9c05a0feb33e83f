"""The lines of a body, and how what bodies have in common is stored as one byte.

Most of a message's JSON is names and defaults, the same in each message: 430 of 1,050 bytes where the text
has 600. A *mark* stands for such a piece of text wherever it occurs in a line of a body. JSON text has no
control characters of its own, and no fragment has any, so putting fragments back gives what was there,
whatever was shortened.

Marks are part of the stored format: none is ever changed or given another meaning. A new one is a new format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Known = TypeVar("Known")

_PROPERTIES = (
    b',"duration":null,"properties":{"text_color":null,"background_color":null,"edited":false,"source":{"id":'
)
_BLANK = (
    b',"duration":null,"properties":{"text_color":"","background_color":"","edited":false,"source":{"id":'
)
_NO_USAGE = b',"state":"complete","targets":[],"usage":null,"build_duration":null},"category":"message"'

FRAGMENTS: tuple[tuple[bytes, bytes], ...] = (
    # In the first line behind the rest: who said it.
    (b"\x01", b',"sender_name":'),
    (b"\x02", b',"context_id":'),
    # In the fourth: from the files to the category. Longer ones first, as they are looked for.
    (b"\x03", b'"[]","edit":false' + _PROPERTIES),
    (b"\x17", b'"[]","edit":false' + _BLANK),  # as components of Langflow before 1.6 send them
    (b"\x04", _PROPERTIES),
    (b"\x05", b'null,"display_name":null,"source":null},"icon":null'),
    (b"\x06", b'},"icon":null,"allow_markdown":false,"positive_feedback":null' + _NO_USAGE),
    (b"\x18", b'},"icon":"","allow_markdown":false,"positive_feedback":null' + _NO_USAGE),
    (b"\x07", b',"allow_markdown":false,"positive_feedback":null' + _NO_USAGE),
    (b"\x08", b',"allow_markdown":false,"positive_feedback":'),
    (b"\x0b", b',"state":"complete","targets":[],"usage":'),
    (b"\x0c", b',"display_name":'),
    (b"\x0e", b',"source":'),
    (b"\x0f", b'},"icon":'),
    (b"\x10", b',"build_duration":'),
    (b"\x11", b'},"category":"message"'),
    (b"\x12", b'{"input_tokens":'),
    (b"\x13", b',"output_tokens":'),
    (b"\x14", b',"total_tokens":'),
    # In the fifth: content blocks and session metadata.
    (b"\x15", b'[],"session_metadata":{"graph_run_id":'),
    (b"\x16", b',"session_metadata":'),
)
"""Marks and what they stand for, in the order in which the text is looked for."""

_HEAD, _MIDDLE, _END = FRAGMENTS[:2], FRAGMENTS[2:-2], FRAGMENTS[-2:]
_MOST = 1_024
_LONGEST = 512
"""Lines that are remembered, and their bytes: those of one component's messages are alike."""

MARK = b"3:"
"""What a body of this layout begins with."""
_SENDER, _NAME, _CONTEXT, _TEXT = b'{"sender":', b',"sender_name":', b',"context_id":', b',"text":'
_FILES, _BLOCKS, _METADATA = b',"files":', b',"content_blocks":', b',"session_metadata":'
_MIDDLE_NAMES = ("files", "edit", "duration", "properties", "category")
SHOWN = ("sender", "sender_name", "context_id", "text", *_MIDDLE_NAMES, "content_blocks", "session_metadata")
"""The members of the object that a body holds, in their order."""
_DEFAULT_MIDDLE = b"".join(dict(FRAGMENTS)[mark] for mark in (b"\x03", b"\x05", b"\x07"))
_DEFAULT_END = b'[],"session_metadata":null'

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_short: dict[bytes, bytes] = {}
_long: dict[bytes, bytes] = {}


def assemble(rest: bytes, shown: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """A body of the JSON text of its members, and of what is not shown (an object)."""
    text = {name: bytes(value) for name, value in shown.items()}
    context = b"" if text["context_id"] == b"null" else _CONTEXT + text["context_id"]
    middle = text["files"] + b"".join(b',"%b":%b' % (name.encode(), text[name]) for name in _MIDDLE_NAMES[1:])
    return b"\n".join(
        (
            MARK if rest == b"{}" else MARK + rest,
            shorten_head(text["sender"] + _NAME + text["sender_name"] + context),
            text["text"],
            shorten_middle(middle),
            shorten_end(text["content_blocks"] + _METADATA + text["session_metadata"]),
        )
    )


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The JSON text of the members of a body, in their order.

    Raises:
        ValueError: it is not laid out so.
    """
    _, head, text, middle, end = body.split(b"\n")
    whole = (_SENDER, expand_head(head), _TEXT, text, _FILES, expand_middle(middle), _BLOCKS, expand_end(end))
    return _decode_raw(b"".join((*whole, b"}")))


def from_object(rest: bytes, shown: bytes) -> bytes | None:
    """A body of the object that is shown, in one text; None when it is not such an object."""
    try:
        found = _decode_raw(shown)
    except ValueError:
        return None
    return assemble(rest, found) if found.keys() == set(SHOWN) else None


def shorten_head(line: bytes) -> bytes:
    return _shorten(line, _HEAD)


def shorten_middle(line: bytes) -> bytes:
    short = _short.get(line)
    if short is None:
        return remember(_short, line, b"" if line == _DEFAULT_MIDDLE else _shorten(line, _MIDDLE))
    return short


def shorten_end(line: bytes) -> bytes:
    return b"" if line == _DEFAULT_END else _shorten(line, _END)


def expand_head(line: bytes) -> bytes:
    line = _expand(line, _HEAD)
    return line if _CONTEXT in line else line + _CONTEXT + b"null"


def expand_middle(line: bytes) -> bytes:
    long = _long.get(line)
    if long is None:
        long = _expand(line, _MIDDLE) if line else _DEFAULT_MIDDLE
        if len(long) <= _LONGEST:
            remember(_long, line, long)
    return long


def expand_end(line: bytes) -> bytes:
    return _expand(line, _END) if line else _DEFAULT_END


def _shorten(line: bytes, fragments: tuple[tuple[bytes, bytes], ...]) -> bytes:
    for mark, fragment in fragments:
        line = line.replace(fragment, mark)
    return line


def _expand(line: bytes, fragments: tuple[tuple[bytes, bytes], ...]) -> bytes:
    for mark, fragment in fragments:
        line = line.replace(mark, fragment)
    return line


def remember(known: dict[bytes, Known], line: bytes, found: Known) -> Known:
    """Note what a line is, unless it is long; when too many are known, from the start again."""
    if len(line) <= _LONGEST:
        if len(known) >= _MOST:
            known.clear()
        known[line] = found
    return found
