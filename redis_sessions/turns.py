"""Taking turns, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """Lets a few at a time do something; who has waited for ``patience`` seconds need not wait longer.

    So a crowd is spread over time, and one that waits for what will not come is not the end of all others.
    """

    def __init__(self, at_once: int, patience: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._patience = patience

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        got = False
        try:
            async with asyncio.timeout(self._patience):
                got = await self._free.acquire()
        except TimeoutError:
            pass
        try:
            yield
        finally:
            if got:
                self._free.release()
