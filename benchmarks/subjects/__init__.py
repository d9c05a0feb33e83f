"""What is measured: this package, raw Redis commands, and the libraries that one would use instead.

Each is a :class:`Subject` in a module of its own, and runs in a process of its own, with the interpreter that
has its library (``benchmarks/worker.py``). Modules import nothing of this project but ``payloads``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn

OPERATIONS = (
    "append",
    "history",
    "history_wire",
    "update",
    "delete_message",
    "rename",
    "delete_session",
    "list_sessions",
    "recent",
    "feed",
)


class Subject:
    """The operations, as one library does them in its documented way. What it lacks it does not override.

    A session holds messages in the order of their appends. ``history`` returns how many messages came, as the
    objects that the library gives; whoever measures checks it.
    """

    marks: ClassVar[dict[str, str]] = {}
    """Operations that are not atomic, or not what the others do, and why."""
    longest: ClassVar[int | None] = None
    """The longest session that it can hold within reason; None: any."""
    blocking: ClassVar[bool] = False
    """Calls block: several clients are threads, each with a subject of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        """Connect, and whatever is done once."""

    async def close(self) -> None:
        """Disconnect."""

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        """Store many messages, by whatever way is fast: this is not measured."""
        for turn in turns:
            await self.append(session, turn)

    async def fill_many(self, sessions: dict[str, Sequence[Turn]]) -> None:
        """The same for many sessions."""
        for session, turns in sessions.items():
            await self.fill(session, turns)

    async def append(self, session: str, turn: Turn) -> None:
        raise NotImplementedError

    async def history(self, session: str, count: int) -> int:
        """The newest ``count`` messages, as objects."""
        raise NotImplementedError

    async def history_wire(self, session: str, count: int) -> int:
        """The same as bytes that an HTTP answer is made of."""
        raise NotImplementedError

    async def update(self, session: str, text: str) -> None:
        """Give one message of the session, that was stored by ``fill``, another text."""
        raise NotImplementedError

    async def delete_message(self, session: str) -> None:
        """Delete one message of the session, another one at each call."""
        raise NotImplementedError

    async def rename(self, old: str, new: str) -> None:
        raise NotImplementedError

    async def delete_session(self, session: str) -> None:
        raise NotImplementedError

    async def list_sessions(self, count: int) -> int:
        """The ids of ``count`` sessions, those with the newest messages; how many came."""
        raise NotImplementedError

    async def recent(self, count: int) -> int:
        """The newest ``count`` messages of all sessions; how many came."""
        raise NotImplementedError

    async def feed(self, session: str, turn: Turn) -> None:
        """Open a live feed, store one message, and get it through the feed."""
        raise NotImplementedError

    async def texts(self, session: str) -> list[str]:
        """All texts of a session, oldest first; none where there is no such session. Only for the check."""
        raise NotImplementedError

    @classmethod
    def can(cls) -> list[str]:
        return [name for name in OPERATIONS if getattr(cls, name) is not getattr(Subject, name)]


def load(path: str) -> type[Subject]:
    """The subject of a module."""
    found: type[Subject] = importlib.import_module(path).SUBJECT
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A subject in the tables.

    Attributes:
        label: its name for readers.
        module: of ``benchmarks.subjects``, where it has another name; with a dot, any.
        environment: whose interpreter runs it: ``own``, ``peers``, ``adk`` or ``langflow``.
        server: what it needs: ``redis``, ``search`` (with RediSearch), ``sqlite`` or ``postgresql``.
        database: its number in the Redis server: some libraries walk through all keys that are there, and
            RediSearch knows only the first.
        blocking: its calls block: our blocking store is what it is held against.
    """

    name: str
    label: str
    environment: str = "peers"
    server: str = "redis"
    module: str = ""
    database: int = 0
    blocking: bool = False

    @property
    def path(self) -> str:
        """The module of its subject."""
        return self.module if "." in self.module else f"benchmarks.subjects.{self.module or self.name}"


RAW = Entry("raw", "raw Redis commands", "own")
OURS = Entry("ours", "redis-sessions", "own")
OURS_BLOCKING = Entry("ours_blocking", "redis-sessions, blocking", "own", database=8, blocking=True)
OWN = (RAW.name, OURS.name, OURS_BLOCKING.name)
"""Not among the others that we are compared with."""
OURS_FLOWS = Entry("ours_flows", "redis-sessions, many flows", "own")
ENTRIES = (
    RAW,
    OURS,
    OURS_BLOCKING,
    Entry("langflow_sqlite", "Langflow, SQLite", "langflow", "sqlite", module="langflow"),
    Entry("langflow_postgresql", "Langflow, PostgreSQL", "langflow", "postgresql", module="langflow"),
    Entry("langchain_community", "langchain-community", database=1, blocking=True),
    Entry("langflow_component", "Langflow's Redis component", database=2, blocking=True),
    Entry("langchain_redis", "langchain-redis", server="search", blocking=True),
    Entry("redisvl", "redisvl", server="search", module="redisvl_history", blocking=True),
    Entry("openai_agents", "openai-agents", database=3),
    Entry("llama_index", "llama-index", module="llama_index_store", database=4),
    Entry("agent_framework", "agent-framework", module="agent_framework_history", database=5),
    Entry("google_adk", "google-adk-community", "adk", database=6),
    Entry("strands", "strands-valkey", server="search", module="strands_valkey", database=7, blocking=True),
)
"""In the order of the tables."""

BY_NAME = {entry.name: entry for entry in (*ENTRIES, OURS_FLOWS)}
