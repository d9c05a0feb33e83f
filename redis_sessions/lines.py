"""Connections on which many calls talk at once: requests one behind the other, replies in their order.

redis-py makes a connection (TLS, authentication, health) and gets it back; in between its bytes come here,
past redis-py's reader. A call whose request goes out while others wait for replies shares their packets:
what a small request costs, on both sides, is mostly the packet.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from hiredis import Reader, pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions.errors import StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import ConnectionPool

    from redis_sessions.transport import Command

TIMEOUT = "no answer from Redis in time"
NO_CONNECTION = "Timeout connecting to server"
LOST = "Connection closed by server."
MORE = object()
_LARGE = 256 * 1024
"""Bytes of a request above which it has a line of its own: on a slow network others would wait behind it."""


def reader_for(connection: Any) -> Reader:
    """What takes replies out of the bytes of a redis-py connection; ``MORE`` when one is not whole yet."""
    return Reader(
        protocolError=InvalidResponse,
        replyError=connection._parser.parse_error,
        notEnoughData=MORE,
    )


class _Exchange:
    """A request of some commands, and the replies to it that have come."""

    __slots__ = ("answer", "error", "missing", "replies", "sent_at")

    def __init__(self, missing: int, answer: asyncio.Future[list[Any]], sent_at: float) -> None:
        self.missing = missing
        self.answer = answer
        self.sent_at = sent_at
        self.replies: list[Any] = []
        self.error: RedisConnectionError | None = None


class Line(asyncio.Protocol):
    """A connected redis-py connection, taken over until :meth:`give_up`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport: Any = connection._writer.transport
        self._redis_py = self._transport.get_protocol()
        self._reader = reader_for(connection)
        self._gets = self._reader.gets
        self._waiting: deque[_Exchange] = deque()
        self._unsent: list[bytes] = []
        self._given_up = False
        self._longest_idle = connection.health_check_interval or float("inf")
        self._used_at = time.monotonic()
        self.retiring: bool = connection._reader.at_eof()
        self._transport.set_protocol(self)

    @property
    def busy(self) -> bool:
        """Whether replies are to come."""
        return bool(self._waiting)

    def takes(self) -> bool:
        """Whether a request can be sent; not when redis-py would PING first."""
        if self.retiring or self._transport.is_closing():
            return False
        if not self._waiting and time.monotonic() - self._used_at > self._longest_idle:
            return False
        return not self.connection.should_reconnect()

    def send(self, request: bytes, replies: int) -> asyncio.Future[list[Any]]:
        """The replies to come, errors in their places; fails with redis-py's errors of a connection."""
        answer = self._loop.create_future()
        waiting = self._waiting
        if not waiting:
            self._transport.write(request)
        else:
            # Behind others: with all that the running tasks send in this turn of the event loop.
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(request)
        self._used_at = sent_at = time.monotonic()
        waiting.append(_Exchange(replies, answer, sent_at))
        return answer

    def abandon(self) -> None:
        """A caller was cancelled: its replies are for nobody. Cut when nobody else waits for any."""
        if all(exchange.answer.done() for exchange in self._waiting):
            self.cut(RedisConnectionError(LOST))

    def expire(self, latest: float) -> None:
        """Give up what was sent before a time; the others get their replies, and then the line is cut."""
        for exchange in self._waiting:
            if exchange.sent_at > latest:
                break
            if not exchange.answer.done():
                exchange.answer.set_exception(RedisTimeoutError(TIMEOUT))
            self.retiring = True
        if self.retiring:
            self.abandon()

    def cut(self, error: BaseException) -> None:
        """Close the connection: all that wait fail, and their outcome is unknown."""
        self.retiring = True
        self._transport.abort()
        self._fail(error)

    async def give_up(self) -> None:
        """Give the connection back to redis-py; when replies are still to come, it is closed."""
        if self._given_up:
            return
        self._given_up = self.retiring = True
        broken = bool(self._waiting) or self._transport.is_closing() or self._reader.has_data()
        self._fail(RedisConnectionError(LOST))
        self._transport.set_protocol(self._redis_py)
        if broken:
            await self.connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        waiting, gets = self._waiting, self._gets
        try:
            self._reader.feed(data)
            while (reply := gets(False)) is not MORE:
                exchange = waiting[0]
                if isinstance(reply, RedisConnectionError):
                    exchange.error = reply  # as of a server that is loading
                exchange.replies.append(reply)
                exchange.missing -= 1
                if not exchange.missing:
                    waiting.popleft()
                    if exchange.answer.done():
                        continue
                    if exchange.error is None:
                        exchange.answer.set_result(exchange.replies)
                    else:
                        exchange.answer.set_exception(exchange.error)
        except (InvalidResponse, IndexError) as error:  # not the protocol, or a reply to nothing
            self.cut(error if isinstance(error, InvalidResponse) else InvalidResponse("unexpected reply"))

    def eof_received(self) -> None:
        self.retiring = True
        self._fail(RedisConnectionError(LOST))

    def connection_lost(self, error: Exception | None) -> None:
        self.retiring = True
        self._fail(RedisConnectionError(LOST if error is None else f"Error while reading: {error}"))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def _fail(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            if not exchange.answer.done():
                exchange.answer.set_exception(error)


class Lines:
    """The lines of one pool: one that all share, and others for those who wait on theirs.

    A cluster's nodes have a pool each. A shared line is on loan from the pool as long as it is in order;
    ``timeout`` (seconds) is for getting a connection, and for each exchange, which may take up to a twentieth
    longer.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._shared: Line | None = None
        self._opening: asyncio.Task[Line] | None = None
        self._idle: list[Line] = []
        self._lines: set[Line] = set()
        self._releasing: set[asyncio.Task[None]] = set()
        self._queued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._retired = False

    @property
    def in_use(self) -> bool:
        """Whether there are connections on loan."""
        return bool(self._lines or self._releasing or self._opening)

    async def talk(self, commands: Sequence[Command], *, alone: bool = False) -> list[Any]:
        """The replies to commands; ``alone`` when Redis may let them wait.

        Raises:
            redis.exceptions.RedisError: a failure of the connection.
        """
        request = pack_command(commands[0]) if len(commands) == 1 else b"".join(map(pack_command, commands))
        alone = alone or len(request) > _LARGE
        line = self._shared
        if alone or line is None or not line.takes():
            line = await self._line(alone=alone)
        answer = line.send(request, len(commands))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout / 20, self._tick)
        try:
            return await answer
        except asyncio.CancelledError:
            line.abandon()
            raise
        finally:
            if alone or line.retiring or self._queued or self._retired:
                self._give_back(line)

    def retire(self) -> None:
        """Give connections back as soon as nobody waits for anything on them: no call comes any more."""
        self._retired = True
        for line in list(self._lines):
            self._give_back(line)

    async def aclose(self) -> None:
        """Give all connections back to their pool."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        for line in list(self._lines):
            self._release(line)
        if self._releasing:
            await asyncio.wait(self._releasing)

    async def _line(self, *, alone: bool) -> Line:
        """A line that takes a request now."""
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    line = await (self._line_alone() if alone else self._shared_line())
                    if line.takes():
                        return line
        except TimeoutError:
            raise RedisTimeoutError(NO_CONNECTION) from None

    async def _line_alone(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if line.takes():
                return line
            self._release(line)
        shared = self._shared
        if shared is not None and not self._pool.can_get_connection():
            # Those who share can wait in the same queue, and have their turn.
            self._shared = None
            shared.retiring = True
            self._give_back(shared)
        return await self._new()

    async def _shared_line(self) -> Line:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_is_seen)
        # One for all who come meanwhile: it is nobody's own.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Line:
        try:
            former, self._shared = self._shared, None
            if former is not None:
                former.retiring = True
                self._give_back(former)
            async with asyncio.timeout(self._timeout):
                line = await self._new()
            self._shared = line
            return line
        except TimeoutError:
            raise RedisTimeoutError(NO_CONNECTION) from None
        finally:
            self._opening = None

    async def _new(self) -> Line:
        """A line on a connection from the pool, in its turn."""
        if self._closed:
            msg = "the store was closed"
            raise StoreClosedError(msg)
        # What cannot be used at once goes through the pool, which connects it anew.
        while self._idle:
            self._release(self._idle.pop())
        if self._releasing:
            await asyncio.wait(self._releasing)
        self._queued += 1
        try:
            connection: Any = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        finally:
            self._queued -= 1
        try:
            await connection.check_health()
            line = Line(connection)
        except BaseException:
            await asyncio.shield(self._pool.release(connection))
            raise
        self._lines.add(line)
        return line

    def _give_back(self, line: Line) -> None:
        if line.busy:
            return  # the last one does it
        leaves = line.retiring or self._queued or self._retired
        if line is self._shared and not leaves:
            return
        if leaves or self._closed:
            # Somebody waits at the pool, which only learns of a connection that is released to it.
            self._release(line)
        else:
            self._idle.append(line)

    def _release(self, line: Line) -> None:
        if line not in self._lines:
            return
        self._lines.discard(line)
        if line is self._shared:
            self._shared = None
        line.retiring = True
        task = asyncio.ensure_future(self._release_to_pool(line))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release_to_pool(self, line: Line) -> None:
        try:
            await line.give_up()
        finally:
            await self._pool.release(line.connection)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._timeout
        busy = False
        for line in list(self._lines):
            if line.busy:
                line.expire(latest)
            if line.retiring and not line.busy:
                self._release(line)
            busy = busy or line.busy
        self._timer = loop.call_later(self._timeout / 20, self._tick) if busy else None


def _is_seen(task: asyncio.Task[Any]) -> None:
    """Whoever waited for it may have been cancelled."""
    if not task.cancelled():
        task.exception()
