"""The names of all Redis keys. No other module spells one, and only ``doctor`` and ``stats`` read one.

All keys of a flow carry the hash tag ``{<flow id>}``, so that on Redis Cluster they live in one slot
and a script may touch any of them. The sets of flows and owners belong to no flow and carry none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = {
    "log": "stream",
    "converted": "stream",
    "edits": "hash",
    "adopted": "set",
    "sessions": "zset",
    "ids": "hash",
    "aliases": "hash",
    "feed": "stream",
    "builds": "hash",
    "jobs": "hash",
    "transactions": "stream",
}
"""The kinds of a flow's keys that last, and the Redis types that they hold."""
_NAMED = {"log", "converted", "edits", "adopted", "aside"}


class Part(NamedTuple):
    """What a key of a flow says: the flow, the kind (``log``), and whose it is (a session, a number)."""

    flow_id: str
    kind: str
    name: str


class FlowKeys:
    """The keys of one flow: one *shard*."""

    __slots__ = (
        "_base",
        "aliases",
        "builds",
        "feed",
        "flow_id",
        "ids",
        "jobs",
        "merge",
        "sessions",
        "transactions",
    )

    def __init__(self, prefix: str, flow_id: str) -> None:
        base = f"{prefix}:{{{flow_id}}}:".encode()
        self.flow_id: str = flow_id
        self._base = base
        self.sessions: bytes = base + b"sessions"
        self.ids: bytes = base + b"ids"
        self.aliases: bytes = base + b"aliases"
        self.feed: bytes = base + b"feed"
        self.builds: bytes = base + b"builds"
        self.jobs: bytes = base + b"jobs"
        """The builds of earlier jobs."""
        self.transactions: bytes = base + b"transactions"
        self.merge: bytes = base + b"merge"
        """Where a merge puts the two sessions together, step by step; goes within 2 s if it is left."""

    def log(self, session_id: str) -> bytes:
        """The session's stream."""
        return self._base + b"log:" + session_id.encode()

    def converted(self, session_id: str) -> bytes:
        """The session's stream in another format, while it is made; expires when that is left half way."""
        return self._base + b"converted:" + session_id.encode()

    def edits(self, session_id: str) -> bytes:
        """The current content of the session's changed messages."""
        return self._base + b"edits:" + session_id.encode()

    def adopted(self, number: int) -> bytes:
        """The ids made elsewhere that belong to session ``number``."""
        return self._base + b"adopted:%d" % number

    def aside(self, key: bytes) -> bytes:
        """Where ``doctor`` puts a key of this flow that holds another type than it is to hold."""
        return self._base + b"aside:" + key.removeprefix(self._base)


class Keys:
    """All keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.flows: bytes = f"{prefix}:flows".encode()
        self.leaving: bytes = f"{prefix}:leaving".encode()
        """Flows that are being deleted elsewhere, by when that began."""
        self.format: bytes = f"{prefix}:format".encode()
        """The version of the stored format (``formats.py``)."""
        self.flow: Callable[[str], FlowKeys] = lru_cache(maxsize=1024)(self._flow)

    def _flow(self, flow_id: str) -> FlowKeys:
        return FlowKeys(self.prefix, flow_id)

    def owner(self, owner: str) -> bytes:
        """The flows of an owner."""
        return f"{self.prefix}:owner:{owner}".encode()

    def parse(self, key: bytes) -> Part | None:
        """What a key of a flow says; None for any other key."""
        head = f"{self.prefix}:{{".encode()
        flow, cut, rest = key[len(head) :].partition(b"}:")
        if not key.startswith(head) or not cut:
            return None
        try:
            kind, colon, name = rest.decode().partition(":")
            return Part(flow.decode(), kind, name) if bool(colon) == (kind in _NAMED) else None
        except UnicodeDecodeError:
            return None

    def parse_owner(self, key: bytes) -> str | None:
        """The owner whose flows a key has; None for any other key."""
        head = f"{self.prefix}:owner:".encode()
        return key[len(head) :].decode(errors="replace") if key.startswith(head) else None

    def aside(self, key: bytes) -> bytes:
        """As :meth:`FlowKeys.aside`, for a key of no flow; in the same slot."""
        return b"{%b}:aside" % key

    def type_of(self, key: bytes) -> str | None:
        """The Redis type of a key that belongs to no flow; None for one that is not ours."""
        if key == self.flows or self.parse_owner(key) is not None:
            return "set"
        if key == self.leaving:
            return "zset"
        return "string" if key == self.format or key.startswith((self.count(""), self.transfer(""))) else None

    def count(self, name: str) -> bytes:
        """A number that expires: what rate limits count."""
        return f"{self.prefix}:count:{name}".encode()

    def transfer(self, name: str) -> bytes:
        """How far an import came: ``name`` is a digest of what it reads from."""
        return f"{self.prefix}:import:{name}".encode()
