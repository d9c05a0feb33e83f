"""How many requests a caller may make, counted in Redis for all processes together.

``limits`` knows what ``600/minute`` means; it counts through the store's own connection, so that it works
wherever the store does.
"""

from __future__ import annotations

import hashlib
import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from limits import parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.exceptions import HTTPException

from redis_sessions.errors import RedisSessionsError

if TYPE_CHECKING:
    from redis_sessions.monitor.access import Principal
    from redis_sessions.store import SessionStore


class Rates:
    """Refuses callers who are over a limit. A window begins with its first request."""

    def __init__(self, store: SessionStore, limit: str) -> None:
        self._limits = parse_many(limit)
        self._limiter = FixedWindowRateLimiter(_StoreStorage(store))

    async def check(self, principal: Principal) -> None:
        """Count a request.

        Raises:
            HTTPException: 429, it is one too many.
            StoreUnavailableError: it could not be counted.
        """
        for limit in self._limits:
            if not await self._limiter.hit(limit, principal.id):
                until, _ = await self._limiter.get_window_stats(limit, principal.id)
                seconds = str(max(1, math.ceil(until - _now())))
                raise HTTPException(429, f"Too many requests: {limit}", {"Retry-After": seconds})


class _StoreStorage(Storage):
    """What ``limits`` needs of a storage for fixed windows, through the store."""

    STORAGE_SCHEME = None

    def __init__(self, store: SessionStore) -> None:
        super().__init__()
        self._store = store

    @property
    def base_exceptions(self) -> type[Exception]:
        return RedisSessionsError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, _ = await self._store.count(_name(key), window=timedelta(seconds=expiry), amount=amount)
        return count

    async def get(self, key: str) -> int:
        return (await self._store.counted(_name(key)))[0]

    async def get_expiry(self, key: str) -> float:
        _, left = await self._store.counted(_name(key))
        return _now() + left.total_seconds()

    async def check(self) -> bool:
        await self._store.ping()
        return True

    async def reset(self) -> int | None:
        raise NotImplementedError

    async def clear(self, key: str) -> None:
        raise NotImplementedError


def _name(key: str) -> str:
    """A principal's id may be anything: of any length, and nobody's business in a list of keys."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _now() -> float:
    return time.time()
