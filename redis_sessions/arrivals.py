"""Until when an attempt at a write may be carried out, told by the clock of the server that will.

A caller that gives an attempt up cannot call it back: what is on its way may reach Redis after the next
attempt has been carried out, from a slow network, a proxy, or a server that hung. So each attempt carries a
latest time, after which its script refuses it (``lua/shared/feed.lua``), and no further attempt begins before
that time has passed. The servers' clocks are what counts; this machine's only tells how much time has passed
since one of them was read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis_sessions.calls import Attempt
    from redis_sessions.transport import Transport

_STALE = 30.0
"""Seconds after which a server's clock is read anew: until then clocks drift apart by some 15 ms at most."""
_MARGIN = 0.05
"""Seconds that a further attempt waits beyond the earlier one's time."""


class LateError(RedisError):
    """Redis got an attempt after its time, and did nothing. Never leaves the package."""


class Arrivals:
    """The clocks of the servers, as far as they are known. ``window`` is in seconds."""

    def __init__(self, transport: Transport, window: float) -> None:
        self._transport = transport
        self._window = window
        self._offsets: dict[str, tuple[int, float]] = {}

    async def arrival(self, key: bytes, attempt: Attempt) -> bytes:
        """The script argument of that name, for an attempt that is sent now to the server of ``key``."""
        node = self._transport.node_of(key)
        known = self._offsets.get(node)
        sent_at = time.monotonic()
        if known is None or sent_at - known[1] > _STALE:
            ((seconds, microseconds),) = await self._transport.run(key, ("TIME",))
            sent_at = time.monotonic()
            known = self._note(node, int(seconds) * 1_000_000 + int(microseconds), sent_at)
        attempt.over_at = sent_at + self._window + _MARGIN
        latest = int((sent_at + self._window) * 1e6) + known[0]
        return b"%d,%b" % (latest, attempt.elapsed_ms) if attempt.unknown else b"%d" % latest

    def note(self, key: bytes, server_us: int) -> None:
        """The server of ``key`` has just told its time in µs."""
        self._note(self._transport.node_of(key), server_us, time.monotonic())

    def _note(self, node: str, server_us: int, at: float) -> tuple[int, float]:
        known = self._offsets[node] = (server_us - int(at * 1e6), at)
        return known
