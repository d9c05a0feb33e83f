"""The stored format, and how older ones are read.

======  ==============================================================================
format  bodies
======  ==============================================================================
1       members of the shown object; more of them; an object with the rest (0.1 previews)
2       an object with the rest; the shown object in two lines (0.1 previews)
3       five lines, shortened (``body.py``)
======  ==============================================================================

Where a version is kept, so that no call has to ask for it:

- A **body** says it by how it begins: with its number and a colon, in format 2 with ``{``, in format 1 with
  ``"``. All may be in one session: what is written is always of the latest.
- A **record** has three parts. A later format whose keys differ adds a fourth, and scripts and readers of
  this version refuse it.
- ``rs:format`` is the latest format that may be in the store, read when a store is opened; absent: this one,
  or an older. ``migrate`` writes it when nothing older is left. A later package writes it before anything
  else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from redis_sessions.errors import AuthenticationError, UnsupportedFormatError
from redis_sessions.layout import MARK, from_object

if TYPE_CHECKING:
    from redis_sessions.calls import Calls
    from redis_sessions.keys import Keys
    from redis_sessions.transport import Transport

FORMAT = 3
"""The format that is written."""
_NUMBERED = re.compile(rb"[0-9]{1,3}:")
NEWER_IN_SCRIPT = "NEWER_FORMAT"
"""What a script fails with that meets a record of a later format (``lua/shared/record.lua``)."""


def newer_format(what: str) -> UnsupportedFormatError:
    """For data of a later format than this package knows."""
    return UnsupportedFormatError(
        f"{what} was stored by a later version of redis-sessions, in a format that this one does not know; "
        "nothing was changed: upgrade redis-sessions here"
    )


def to_present(body: bytes) -> bytes | None:
    """A body of an older format in the present one; None when it is of no format, or of the present one.

    Raises:
        UnsupportedFormatError: it is of a later format.
    """
    if body.startswith(b'"sender":'):
        head, cut, tail = body.partition(b"\n")
        shown, second, rest = tail.partition(b"\n")
        return from_object(rest, b"{%b,%b}" % (head, shown)) if cut and second else None
    if body.startswith(b"{"):
        rest, _, shown = body.partition(b"\n")
        return from_object(rest, shown)
    if _NUMBERED.match(body) and not body.startswith(MARK):
        raise newer_format("a message")
    return None


async def check_format(calls: Calls, transport: Transport, keys: Keys) -> int | None:
    """The format that the store says it has, or None.

    Raises:
        UnsupportedFormatError: it is later than this package's.
    """
    try:
        (stored,) = await calls.read(lambda: transport.run(keys.format, ("GET", keys.format)))
    except AuthenticationError as error:
        if isinstance(error.__cause__, NoPermissionError):
            return None  # a user without GET: a body or a record will tell
        raise
    if stored is None:
        return None
    if not stored.isdigit() or int(stored) > FORMAT:
        raise newer_format("the data")
    return int(stored)
