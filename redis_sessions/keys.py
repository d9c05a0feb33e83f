"""The names of all Redis keys. No other module spells one, and nothing parses one.

All keys of a flow carry the hash tag ``{<flow id>}``, so that on Redis Cluster they live in one slot
and a script may touch any of them. The sets of flows and owners belong to no flow and carry none.
"""

from __future__ import annotations

from functools import lru_cache


class FlowKeys:
    """The keys of one flow: one *shard*."""

    __slots__ = ("_base", "aliases", "builds", "feed", "flow_id", "ids", "merge", "sessions", "transactions")

    def __init__(self, prefix: str, flow_id: str) -> None:
        base = f"{prefix}:{{{flow_id}}}:".encode()
        self.flow_id = flow_id
        self._base = base
        self.sessions = base + b"sessions"
        self.ids = base + b"ids"
        self.aliases = base + b"aliases"
        self.feed = base + b"feed"
        self.builds = base + b"builds"
        self.transactions = base + b"transactions"
        self.merge = base + b"merge"
        """Where a merge puts the two sessions together; exists only while that script runs."""

    def log(self, session_id: str) -> bytes:
        """The session's stream."""
        return self._base + b"log:" + session_id.encode()

    def edits(self, session_id: str) -> bytes:
        """The current content of the session's changed messages."""
        return self._base + b"edits:" + session_id.encode()

    def adopted(self, number: int) -> bytes:
        """The ids made elsewhere that belong to session ``number``."""
        return self._base + b"adopted:%d" % number


class Keys:
    """All keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.flows = f"{prefix}:flows".encode()
        self.flow = lru_cache(maxsize=1024)(self._flow)

    def _flow(self, flow_id: str) -> FlowKeys:
        return FlowKeys(self.prefix, flow_id)

    def owner(self, owner: str) -> bytes:
        """The flows of an owner."""
        return f"{self.prefix}:owner:{owner}".encode()

    def count(self, name: str) -> bytes:
        """A number that expires: what rate limits count."""
        return f"{self.prefix}:count:{name}".encode()
