"""The messages that a rename moved, as JSON: a whole session, or the part of it that has certain numbers.

Read and rendered page by page, newest first: ten thousand at once would keep the event loop from everybody
else for a tenth of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis_sessions.entries import Record
from redis_sessions.pages import splice_page

if TYPE_CHECKING:
    from redis_sessions.calls import Calls
    from redis_sessions.entries import Entry
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.reader import Reader
    from redis_sessions.transport import Transport

_PAGE = 250


class Moved:
    """Reads of what was moved."""

    def __init__(self, calls: Calls, transport: Transport, reader: Reader) -> None:
        self._calls = calls
        self._transport = transport
        self._reader = reader

    async def json(
        self, keys: FlowKeys, session: str, numbers: frozenset[int], *, all_of_it: bool
    ) -> list[bytes]:
        """The messages of a session with these numbers, oldest first; ``all_of_it``: it has no others."""
        shown = await self._plain(keys, session) if all_of_it else None
        if shown is not None:
            return shown

        def accept(entry: Entry) -> bool:
            return entry.place.number in numbers

        shown = []
        before: tuple[int, EntryId] | None = None
        while True:
            window = await self._reader.newest(
                keys, session, _PAGE, before=before, accept=None if all_of_it else accept
            )
            shown += self._reader.to_wire(keys, session, window.entries)
            if len(window.entries) < _PAGE:
                return shown[::-1]
            before = window.entries[-1].order

    async def _plain(self, keys: FlowKeys, session: str) -> list[bytes] | None:
        """All messages of a session in which none is late, changed or adopted; None for any other."""
        pages: list[list[bytes]] = []
        known: bytes | None = None
        upper = b"+"
        while True:
            commands = self._reader.trip(keys, session, _PAGE, upper=upper)
            prior, raw, edited, now = await self._calls.read(
                lambda commands=commands: self._transport.run(keys.ids, *commands)  # type: ignore[misc]
            )
            if now is None or prior != now or edited or known not in (None, now):
                return None
            known = now
            record = Record.parse(now)
            page = None if record.lateness else splice_page(keys.flow_id, session, raw, record.numbers)
            if page is None:
                return None
            pages.append(page)
            if len(raw) < _PAGE:
                return [message for page in reversed(pages) for message in page]
            upper = b"(%b" % raw[-1][0]
