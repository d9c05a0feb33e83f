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
    While somebody waits there is a rest behind each turn, ``rest`` times as long as the turn was: time for
    others than the crowd.
    """

    def __init__(self, at_once: int, patience: float, *, rest: float = 0.0) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._patience = patience
        self._rest = rest
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        got = False
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                got = await self._free.acquire()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            if got and self._rest and self._waiting:
                loop.call_later((loop.time() - began) * self._rest, self._free.release)
            elif got:
                self._free.release()
