"""Live feeds by the thousand, for ``tests.heavy``: a monitor in a process of its own, and its readers.

Readers are plain sockets: thousands of them must not be what takes the time here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support import reaper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATH = "/api/v1/monitor/messages"
AT_ONCE = 50
_EVENT_ID = b"id: "


@contextlib.contextmanager
def a_monitor(redis_url: str, prefix: str, feeds: int) -> Iterator[str]:
    """The URL of ``redis-sessions serve`` in a process of its own, which may keep so many feeds open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # children have it too
    if hard < 2 * feeds:
        raise RuntimeError(f"{feeds} feeds need {2 * feeds} open files, and {hard} are allowed")
    settings = {
        "REDIS_SESSIONS_URL": redis_url,
        "REDIS_SESSIONS_PREFIX": prefix,
        "REDIS_SESSIONS_MONITOR_MAX_STREAMS": str(feeds + 100),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "redis_sessions", "serve", "--port", "0"],
        env={name: value for name, value in os.environ.items() if "REDIS_" not in name} | settings,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        reaper.tell("started", process.pid)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://[\d.:]+", line):
                    yield found[0]
                    return
            raise RuntimeError("the monitor did not start")
        finally:
            process.terminate()
            process.wait(30)
            reaper.tell("ended", process.pid)


@dataclass
class Reader:
    """One reader of a flow's feed; ``heard`` counts its events, ``place`` is the id of the last."""

    flow: str
    heard: int = 0
    place: str = ""
    _writer: asyncio.StreamWriter | None = None
    _task: asyncio.Task[None] | None = None

    async def open(self, url: str) -> None:
        parts = urlsplit(url)
        reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        place = f"last-event-id: {self.place}\r\n" if self.place else ""
        head = f"GET {PATH}/stream?flow_id={self.flow} HTTP/1.1\r\nhost: {parts.netloc}\r\n{place}\r\n"
        self._writer.write(head.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"a feed was refused: {status!r}")
        self._task = asyncio.create_task(self._listen(reader))

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                if line.startswith(_EVENT_ID):
                    self.heard += 1
                    self.place = line[len(_EVENT_ID) :].strip().decode()


@dataclass
class Readers:
    """Readers of some flows in turn, all of one monitor."""

    url: str
    flows: Sequence[str]
    all: list[Reader] = field(default_factory=list)

    @property
    def heard(self) -> int:
        return sum(each.heard for each in self.all)

    async def open(self, count: int) -> None:
        """As many as that, those that were closed behind their last event."""
        while len(self.all) < count:
            self.all.append(Reader(self.flows[len(self.all) % len(self.flows)]))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(reader: Reader) -> None:
            async with gate:
                await reader.open(self.url)

        await asyncio.gather(*map(one, self.all))

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self.all))
