"""``python -m benchmarks.component``: the Langflow component's history next to today's.

Needs the Langflow environment (``langchain-community`` comes with it). What is compared runs in turns:
today's Redis Chat Memory makes a ``RedisChatMessageHistory`` for every build, ours a ``RedisSessionHistory``;
then each reads the newest 100 messages, or stores one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_community.chat_message_histories.redis import RedisChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console
from rich.table import Table

from redis_sessions.langchain import RedisSessionHistory
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import redis
    from langchain_core.chat_history import BaseChatMessageHistory

    Make = Callable[[str], BaseChatMessageHistory]
    Use = Callable[[BaseChatMessageHistory], Awaitable[Any]]

ASKED = 100
BUILDS = 20
TEXT = "x" * 600


class Measured:
    """Both sides of one row: milliseconds a build, and what Redis saw of ``BUILDS`` builds."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.times: list[float] = []
        self.connections = self.commands = self.bytes = 0

    async def builds(self, make: Make, session: str, use: Use, builds: int = BUILDS) -> None:
        before = self.client.info("stats")
        for _ in range(builds):
            started = time.perf_counter()
            await use(make(session))
            self.times.append(time.perf_counter() - started)
        after = self.client.info("stats")
        self.connections += after["total_connections_received"] - before["total_connections_received"]
        self.commands += after["total_commands_processed"] - before["total_commands_processed"]
        self.bytes += after["total_net_output_bytes"] - before["total_net_output_bytes"]

    @property
    def cells(self) -> list[str]:
        builds = len(self.times)
        return [
            f"{statistics.median(self.times) * 1000:.2f} ms",
            f"{self.connections * BUILDS / builds:.0f}",
            f"{self.bytes / builds / 1024:,.1f} KiB",
        ]


async def read(history: BaseChatMessageHistory) -> list[BaseMessage]:
    """As Message History reads."""
    return (await history.aget_messages())[-ASKED:]


async def store(history: BaseChatMessageHistory) -> None:
    await history.aadd_messages([HumanMessage(TEXT)])


async def measure(url: str, client: redis.Redis, rounds: int) -> Table:
    """The rows, of as many rounds of builds in turns."""
    flow, user = str(uuid4()), str(uuid4())

    def ours(session: str) -> BaseChatMessageHistory:
        return RedisSessionHistory(session, flow_id=flow, user_id=user, url=url, limit=ASKED)

    def theirs(session: str) -> BaseChatMessageHistory:
        return RedisChatMessageHistory(session, url=url)

    table = Table(title=f"Redis Sessions against Redis Chat Memory, {BUILDS} builds", title_justify="left")
    for heading in (
        "what",
        "ours",
        "connections",
        "bytes a build",
        "theirs",
        "connections",
        "bytes a build",
        "ratio",
    ):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for length in (10, 100, 10_000):
        session = f"session of {length:,}"
        talk: list[BaseMessage] = [HumanMessage(TEXT), AIMessage(TEXT)] * (length // 2)
        for make in (ours, theirs):
            history = make(session)
            for first in range(0, length, 1_000):
                history.add_messages(talk[first : first + 1_000])
        await _row(table, f"read {ASKED} of {length:,}", client, ours, theirs, session, read, rounds)
    await _row(table, "store one", client, ours, theirs, "new", store, rounds)
    return table


async def _row(
    table: Table,
    what: str,
    client: redis.Redis,
    ours: Make,
    theirs: Make,
    session: str,
    use: Use,
    rounds: int,
) -> None:
    mine, other = Measured(client), Measured(client)
    for measured, make in ((mine, ours), (other, theirs)):
        await use(make(session))
        measured.times.clear()
    for _ in range(rounds):
        gc.collect()
        await mine.builds(ours, session, use)
        await other.builds(theirs, session, use)
    ratio = statistics.median(mine.times) / statistics.median(other.times)
    table.add_row(what, *mine.cells, *other.cells, f"{ratio:.2f} ×")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.component", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help=f"rounds of {BUILDS} builds each")
    arguments = parser.parse_args()
    with valkey_server() as server:
        table = asyncio.run(measure(server.url, server.client(), arguments.rounds))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
