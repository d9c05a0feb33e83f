"""Appends of one flow that come at the same time, in one script.

What a small script costs the server is mostly what comes before and after its commands. A call that finds no
other under way goes alone, at once; those that come in the same turn of the event loop behind it go together.
None waits for another: they would go in the same packet anyway.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions.calls import Attempt
    from redis_sessions.keys import FlowKeys

_MOST = 64
"""Messages of a group: some tenths of a millisecond of the server."""
_LARGEST = 128 * 1024
"""Bytes of bodies after which a group takes no further one."""


@dataclass(slots=True)
class Item:
    """A message on its way: its session, the token of its call, and the attempt that it belongs to."""

    session: str
    token: bytes
    at: int
    body: bytes
    attempt: Attempt
    answer: asyncio.Future[bytes] | None = None

    @property
    def given_up(self) -> bool:
        """The call has ended, and the message must not be sent any more."""
        return self.answer is not None and self.answer.done()


@dataclass(slots=True)
class _Group:
    items: list[Item]
    size: int = 0


class Groups:
    """``send`` takes items of one flow and gives an answer for each that was not given up."""

    def __init__(self, send: Callable[[FlowKeys, str, list[Item]], Awaitable[list[bytes]]]) -> None:
        self._send = send
        self._alone: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str], _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, keys: FlowKeys, owner: str, item: Item) -> bytes:
        """The script's answer for a message; raises what the script's call raises."""
        key = keys.flow_id, owner
        group = self._open.get(key)
        if group is None and key not in self._alone:
            self._alone.add(key)
            try:
                return (await self._send(keys, owner, [item]))[0]
            finally:
                self._alone.discard(key)
        if group is None:
            group = self._open[key] = _Group([])
            task = asyncio.create_task(self._run(key, keys, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        item.answer = asyncio.get_running_loop().create_future()
        group.items.append(item)
        group.size += len(item.body)
        if len(group.items) == _MOST or group.size >= _LARGEST:
            del self._open[key]
        return await item.answer

    async def _run(self, key: tuple[str, str], keys: FlowKeys, group: _Group) -> None:
        if self._open.get(key) is group:
            del self._open[key]
        items = group.items
        try:
            answers = await self._send(keys, key[1], items)
        except asyncio.CancelledError:
            for item in items:
                _future(item).cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is the calls' error
            for item in items:
                if not _future(item).done():
                    # Each gets its own: raising adds to an error's traceback.
                    _future(item).set_exception(copy.copy(error))
            return
        for item, answer in zip(items, answers, strict=True):
            if not _future(item).done():
                _future(item).set_result(answer)


def _future(item: Item) -> asyncio.Future[bytes]:
    assert item.answer is not None  # noqa: S101 - for the type checker
    return item.answer
