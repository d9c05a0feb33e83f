"""What goes wrong with a database or a file; all are errors of the package."""

from __future__ import annotations

from redis_sessions.errors import RedisSessionsError


class TransferError(RedisSessionsError):
    """A database or a file cannot be read or written. What was brought over before stays."""


class UnfitError(Exception):
    """A row or line that cannot become a record; the text says why. Never leaves the package."""
