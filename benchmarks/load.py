"""A client that costs little: some connections, each sending the next request when it has its answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.servers import HOST

if TYPE_CHECKING:
    from benchmarks.peers import Peer


@dataclass(frozen=True)
class Figures:
    """Seconds that each answer took, and how long all together."""

    times: list[float]
    elapsed: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.elapsed

    @property
    def p99(self) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.times + other.times, self.elapsed + other.elapsed)


NOTHING = Figures([], 0.0)


class Connection:
    """One kept-alive connection."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._head = "".join(f"{name}: {value}\r\n" for name, value in {"host": HOST, **peer.headers}.items())

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(HOST, self._peer.port, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def request(self, method: str, target: str) -> bytes:
        """The body of the answer, which must be 200."""
        self._writer.write(f"{method} {target} HTTP/1.1\r\n{self._head}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{self._peer.name}: {method} {target}: {head.splitlines()[0].decode()}")
        if b"transfer-encoding: chunked" in head:
            parts = []
            while size := int(await self._reader.readline(), 16):
                parts.append((await self._reader.readexactly(size + 2))[:-2])
            await self._reader.readline()
            return b"".join(parts)
        length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        return await self._reader.readexactly(int(length))


async def load(peer: Peer, target: str, *, connections: int, seconds: float) -> Figures:
    """GET one target again and again."""
    times: list[float] = []
    started = time.perf_counter()

    async def one() -> None:
        async with Connection(peer) as connection:
            while (sent := time.perf_counter()) - started < seconds:
                await connection.request("GET", target)
                times.append(time.perf_counter() - sent)

    await asyncio.gather(*(one() for _ in range(connections)))
    return Figures(times, time.perf_counter() - started)


async def once(peer: Peer, method: str, target: str) -> tuple[float, bytes]:
    """Seconds of one request, and its answer."""
    async with Connection(peer) as connection:
        started = time.perf_counter()
        body = await connection.request(method, target)
        return time.perf_counter() - started, body
