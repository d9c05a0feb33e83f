"""Where sessions were last seen: a guess that saves round trips, and is checked by what it leads to.

A message id names its session's number, not the session. This process has often just met that session:
then its entry is read there at once. An entry that is found under its address in a session that has its
number *is* the message (``reader.py`` checks the number against the record); a guess that leads nowhere
costs a trip. Likewise a session is deleted and renamed by the number that it was met with: the script
compares.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST = 8_192


class Whereabouts:
    """Session ids by flow and session number; those that were met last."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._sessions: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, flow_id: str, number: int, session: str) -> None:
        """A message of this number is in this session now."""
        sessions, key = self._sessions, (flow_id, number)
        if sessions.get(key) != session:
            sessions[key] = session
            self._numbers.pop((flow_id, session), None)
            self._numbers[flow_id, session] = number
            if len(self._numbers) > self._most:
                self._numbers.popitem(last=False)
        sessions.move_to_end(key)
        if len(sessions) > self._most:
            sessions.popitem(last=False)

    def guess(self, flow_id: str, number: int) -> str | None:
        """The session that probably has this number."""
        return self._sessions.get((flow_id, number))

    def number(self, flow_id: str, session: str) -> int | None:
        """The number that this session probably has, and no other."""
        return self._numbers.get((flow_id, session))
