"""A TCP proxy between a client and a Redis server, which fails where a test tells it to.

::

    async with Proxy(server) as proxy:
        store = await make_store(url=proxy.url)
        fault = proxy.drop_reply(matching=b"EVAL")   # EVALSHA or EVAL: applied by the server, never answered
        await store.append(…)
        assert fault.hits == 1

It forwards whole commands and whole replies (RESP2 and RESP3), so that a fault hits the command that
is meant, in pipelines and transactions too. **A command inside MULTI is answered by EXEC**: a fault
that matches it takes effect at the reply of the EXEC.

``matching`` is a predicate on the bytes of a request, or bytes that are to be part of it in any
capitals; None means every command but those that set a connection up (``SETUP``). A fault passes over
the first ``after`` matching commands and hits the next ``times`` (None: all of them). Commands are
counted from the moment the fault is armed; an EVALSHA that is answered NOSCRIPT did nothing, and does not
count. Not for subscriptions or CLIENT REPLY OFF, where replies do not come one for each command.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tests.support.servers import HOST, Server, free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Self

    Matching: TypeAlias = Callable[[bytes], bool] | bytes | None

F = TypeVar("F", bound="Fault")

SETUP = frozenset({b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"READONLY"})
_PING = b"*1\r\n$4\r\nPING\r\n"
_DISCARD = b"*1\r\n$7\r\nDISCARD\r\n"
_LINE = 2**20


@dataclass(frozen=True)
class Request:
    """One command as the client sent it."""

    raw: bytes
    args: tuple[bytes, ...]

    @property
    def name(self) -> bytes:
        return self.args[0].upper()


class Fault:
    """What happens to some requests; ``hits`` counts how often it has happened."""

    def __init__(self, matching: Matching, after: int, times: int | None) -> None:
        self._matching = matching
        self._after = after
        self._times = times
        self._seen = 0
        self.armed = True
        self.hits = 0

    def disarm(self) -> None:
        """It takes no further requests."""
        self.armed = False

    def takes(self, request: Request) -> bool:
        if not self.armed or not self._matches(request):
            return False
        self._seen += 1
        return self._after < self._seen and (self._times is None or self._seen <= self._after + self._times)

    def postpone(self) -> None:
        """Take the next request that matches in place of the last one."""
        self._seen -= 1

    def _matches(self, request: Request) -> bool:
        if self._matching is None:
            return request.name not in SETUP
        if callable(self._matching):
            return self._matching(request.raw)
        return self._matching.lower() in request.raw.lower()

    async def before_request(self, connection: Connection) -> None:
        """Before the server gets it."""

    def on_request(self, request: Request) -> bytes:
        """What the server gets."""
        return request.raw

    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        """What the client gets."""
        return reply


class _DropRequest(Fault):
    def on_request(self, request: Request) -> bytes:
        self.hits += 1
        raise _CutError


class _DropReply(Fault):
    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        self.hits += 1
        raise _CutError


class _Reset(Fault):
    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        self.hits += 1
        await connection.send(reply[: len(reply) // 2])
        connection.linger_not()
        raise _CutError


class _Answer(Fault):
    def __init__(self, error: str, matching: Matching, after: int, times: int | None) -> None:
        super().__init__(matching, after, times)
        self._reply = f"-{error}\r\n".encode()

    def on_request(self, request: Request) -> bytes:
        # The server gets something harmless in its place, so that replies stay in their order.
        return _DISCARD if request.name in {b"EXEC", b"DISCARD"} else _PING

    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        self.hits += 1
        return self._reply


class _Delay(Fault):
    def __init__(self, seconds: float, matching: Matching, after: int, times: int | None) -> None:
        super().__init__(matching, after, times)
        self._seconds = seconds

    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        self.hits += 1
        await asyncio.sleep(self._seconds)
        return reply


class Hold(Fault):
    """Replies that the server has given and the client has not got; or requests that it has not got yet."""

    def __init__(self, matching: Matching, after: int, times: int | None) -> None:
        super().__init__(matching, after, times)
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self, timeout: float = 10) -> None:  # noqa: ASYNC109
        """Wait until the server has answered and the reply is held, or the request."""
        async with asyncio.timeout(timeout):
            await self._reached.wait()

    def release(self) -> None:
        """Let what is held go, and all later ones."""
        self._released.set()

    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        self.hits += 1
        await self._wait()
        return reply

    async def _wait(self) -> None:
        self._reached.set()
        await self._released.wait()


class _HoldRequest(Hold):
    async def before_request(self, connection: Connection) -> None:
        await wait_until(lambda: connection.is_answered)
        self.hits += 1
        await self._wait()

    async def on_reply(self, reply: bytes, connection: Connection) -> bytes:
        return reply


class Proxy:
    """Listens on a loopback port while its ``async with`` lasts; ``url`` is the server's through it.

    ``requests`` has every command in the order of arrival but those in ``SETUP``; ``replies`` counts
    what was passed on to clients for them; ``round_trips`` counts how often a client sent something and
    then waited; ``connections`` are those open now, ``accepted`` counts all. With ``ssl`` the proxy
    speaks TLS to the client, and plain TCP to the server.
    """

    def __init__(self, server: Server, *, ssl: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.requests: list[Request] = []
        self.replies = 0
        self.round_trips = 0
        self.accepted = 0
        self.connections: set[Connection] = set()
        self.port = 0
        self.swallows = False
        self._ssl = ssl
        self._faults: list[Fault] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def speaks_tls(self) -> bool:
        return self._ssl is not None

    @property
    def url(self) -> str:
        url = self.server.url.replace(f":{self.server.port}/", f":{self.port}/")
        return url.replace("redis://", "rediss://") if self.speaks_tls else url

    @property
    def commands(self) -> list[str]:
        """The names of ``requests``."""
        return [request.name.decode() for request in self.requests]

    def forget(self) -> None:
        """Start ``requests``, ``replies`` and ``round_trips`` afresh."""
        self.requests.clear()
        self.replies = self.round_trips = 0

    def drop_request(self, matching: Matching = None, *, after: int = 0, times: int | None = 1) -> Fault:
        """Close the connection in place of passing a request on: the server never sees it."""
        return self._arm(_DropRequest(matching, after, times))

    def drop_reply(self, matching: Matching = None, *, after: int = 0, times: int | None = 1) -> Fault:
        """Let the server carry a request out, then close the connection in place of its reply."""
        return self._arm(_DropReply(matching, after, times))

    def reset_mid_reply(self, matching: Matching = None, *, after: int = 0, times: int | None = 1) -> Fault:
        """Pass half of a reply on, then reset the connection."""
        return self._arm(_Reset(matching, after, times))

    def hold_reply(self, matching: Matching = None, *, after: int = 0, times: int | None = 1) -> Hold:
        """Keep a reply, and what follows it on the connection, until ``release()``."""
        return self._arm(Hold(matching, after, times))

    def hold_request(self, matching: Matching = None, *, after: int = 0, times: int | None = 1) -> Hold:
        """Keep a request, and what follows it on the connection, until ``release()``.

        What came before it has been answered then: this cuts a pipeline in two.
        """
        return self._arm(_HoldRequest(matching, after, times))

    def answer(
        self, error: str, matching: Matching = None, *, after: int = 0, times: int | None = 1
    ) -> Fault:
        """Answer in the server's place, with an error such as ``"LOADING Redis is loading"``."""
        return self._arm(_Answer(error, matching, after, times))

    def delay(
        self, seconds: float, matching: Matching = None, *, after: int = 0, times: int | None = None
    ) -> Fault:
        """Pass replies on late; the server answers at once."""
        return self._arm(_Delay(seconds, matching, after, times))

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Accept connections and bytes, and let nothing through in either direction, as a lost route does.

        Connections of that time are closed at its end.
        """
        self.swallows = True
        before = set(self.connections)
        try:
            yield
        finally:
            self.swallows = False
            for connection in before | self.connections:
                connection.cut()

    @contextlib.asynccontextmanager
    async def refuse_connections(self) -> AsyncIterator[None]:
        """Close the port and every connection, as a server that is down does."""
        self._close_listener()
        for connection in list(self.connections):
            connection.cut()
        try:
            yield
        finally:
            await self._listen(self.port)

    async def __aenter__(self) -> Self:
        for attempt in range(20):
            try:
                await self._listen(free_port())
            except OSError:
                if attempt == 19:
                    raise
            else:
                break
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_listener()
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors and error is None:
            raise ExceptionGroup("the proxy itself failed", errors)

    def _arm(self, fault: F) -> F:
        self._faults.append(fault)
        return fault

    async def _listen(self, port: int) -> None:
        self._listener = await asyncio.start_server(self._accept, HOST, port, ssl=self._ssl, limit=_LINE)
        self.port = port

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._tasks.add(asyncio.create_task(Connection(self, reader, writer).run()))

    def faults_of(self, request: Request) -> list[Fault]:
        return [fault for fault in self._faults if fault.takes(request)]


class Connection:
    """One client's connection and its own one to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client_reader = reader
        self._client_writer = writer
        self._pending: deque[tuple[Request, list[Fault]]] = deque()
        self._transaction: list[Fault] | None = None
        # drain() is to wait until the kernel has it all. (asyncio's TLS pauses at the limit, not above it.)
        writer.transport.set_write_buffer_limits(low=0, high=1 if proxy.speaks_tls else 0)

    async def run(self) -> None:
        self._proxy.connections.add(self)
        try:
            reader, writer = await asyncio.open_connection(HOST, self._proxy.server.port, limit=_LINE)
            try:
                await self._both_ways(reader, writer)
            finally:
                await _abort(writer)
        except OSError:
            pass  # the server is not there: nor is the client's connection
        finally:
            self._proxy.connections.discard(self)
            await _abort(self._client_writer)

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_until_cut(self._pass_requests(writer)))
                pumps.create_task(_until_cut(self._pass_replies(reader)))
        except* _CutError:
            pass

    async def send(self, data: bytes) -> None:
        """Send to the client."""
        self._client_writer.write(data)
        await self._client_writer.drain()

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered all that it got."""
        return not self._pending

    def cut(self) -> None:
        """Close the client's connection."""
        self._client_writer.transport.abort()

    def linger_not(self) -> None:
        """Let the client's connection end with RST."""
        sock = self._client_writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _pass_requests(self, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _read_request(self._client_reader)
            if request.name not in SETUP:
                self._proxy.requests.append(request)
                self._proxy.round_trips += not self._pending
            if self._proxy.swallows:
                continue
            faults = self._faults_of(request)
            raw = request.raw
            for fault in faults:
                await fault.before_request(self)
                raw = fault.on_request(request)
            self._pending.append((request, faults))
            writer.write(raw)
            await writer.drain()

    def _faults_of(self, request: Request) -> list[Fault]:
        """The faults that take effect at the reply of this very request."""
        faults = self._proxy.faults_of(request)
        if request.name == b"MULTI":
            self._transaction = []
        if self._transaction is None:
            return faults
        self._transaction += faults
        if request.name not in {b"EXEC", b"DISCARD"}:
            return []
        faults, self._transaction = self._transaction, None
        return faults

    async def _pass_replies(self, reader: asyncio.StreamReader) -> None:
        while True:
            reply = await read_value(reader)
            if self._proxy.swallows:
                continue
            request = None
            if self._pending and not reply.startswith(b">"):
                request, faults = self._pending[0]
                if reply.startswith(b"-NOSCRIPT"):
                    for fault in faults:
                        fault.postpone()
                    faults = []
                for fault in faults:
                    reply = await fault.on_reply(reply, self)
                self._pending.popleft()
            self._proxy.replies += request is not None and request.name not in SETUP
            await self.send(reply)


class _CutError(Exception):
    """The connection is over."""


async def _until_cut(pump: Coroutine[None, None, None]) -> None:
    try:
        await pump
    except (EOFError, OSError) as error:
        raise _CutError from error


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n")
    if not head.startswith(b"*"):
        raise ValueError(f"not a command in RESP: {head!r}")
    parts = [await read_value(reader) for _ in range(int(head[1:]))]
    return Request(head + b"".join(parts), tuple(part.split(b"\r\n", 1)[1][:-2] for part in parts))


async def read_value(reader: asyncio.StreamReader) -> bytes:
    """The bytes of one whole RESP2 or RESP3 value."""
    line = await reader.readuntil(b"\r\n")
    kind = line[:1]
    if kind in b"$=!" and line[1:2] != b"-":
        return line + await reader.readexactly(int(line[1:]) + 2)
    if kind in b"*~>%|" and line[1:2] != b"-":
        count = int(line[1:]) * (2 if kind in b"%|" else 1) + (kind == b"|")  # attributes precede a value
        return line + b"".join([await read_value(reader) for _ in range(count)])
    return line
