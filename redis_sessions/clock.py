"""Datetimes outside, whole microseconds since 1970 (UTC) inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from redis_sessions.errors import InvalidTimestampError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    return time.time_ns() // 1_000


def to_us(moment: datetime) -> int:
    """Microseconds since 1970.

    Raises:
        InvalidTimestampError: the datetime has no time zone, or is before 1970.
    """
    if moment.utcoffset() is None:
        msg = "a timestamp needs a time zone: use datetime.now(timezone.utc), or .replace(tzinfo=...)"
        raise InvalidTimestampError(msg)
    us = (moment - EPOCH) // _MICROSECOND
    if us < 0:
        msg = "a timestamp is not before 1970"
        raise InvalidTimestampError(msg)
    return us


def from_us(us: int) -> datetime:
    return EPOCH + timedelta(0, us // 1_000_000, us % 1_000_000)


def to_ms(duration: timedelta) -> int:
    """Whole milliseconds, at least 1."""
    return max(1, duration // timedelta(milliseconds=1))


@lru_cache(maxsize=4096)
def wire_second(seconds: int) -> str:
    """The part of :func:`wire_time` up to the point, and the point."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.")


def wire_time(us: int) -> str:
    """As Langflow writes message times: ``2026-01-02 03:04:05.000000 UTC``, always six digits."""
    seconds, rest = divmod(us, 1_000_000)
    return f"{wire_second(seconds)}{rest:06d} UTC"
