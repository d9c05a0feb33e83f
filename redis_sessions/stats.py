"""How much a store holds, where, and how old it is; in bounded work, whatever its size.

How many sessions a flow has, and when they were last written to, is counted exactly (ZCARD, ZCOUNT).
Messages and bytes are those of a sample of sessions, drawn at random by Redis, and of all sessions where the
sample has room for them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from redis_sessions.errors import RedisSessionsError
from redis_sessions.history import scored_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.keys import FlowKeys
    from redis_sessions.parts import Parts
    from redis_sessions.store import SessionStore
    from redis_sessions.transport import Command

SAMPLE = 10_000
"""Sessions that are looked into, unless another number is asked for."""
MAX_FLOWS = 10_000
"""Flows that are looked into; of more, as many at random."""
TOP = 20
AGES: tuple[tuple[str, int], ...] = (
    ("an hour", 3_600),
    ("a day", 86_400),
    ("a week", 7 * 86_400),
    ("a month", 30 * 86_400),
    ("3 months", 91 * 86_400),
    ("a year", 365 * 86_400),
)
"""The bounds of the histogram of ages, in seconds."""
_PAGE = 200
_DRAWN = 1_000
"""Members that one command draws."""
_ROUNDS = 4
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionSize:
    """One session that was looked into. ``bytes`` is None where the server does not tell."""

    flow_id: str
    session_id: str
    messages: int
    bytes: int | None
    last_us: int


@dataclass(frozen=True, slots=True)
class FlowSize:
    """One flow: sessions exactly, messages and bytes as far as it was sampled (then estimated)."""

    flow_id: str
    sessions: int
    messages: int
    bytes: int | None


@dataclass(slots=True)
class Stats:
    """What a store holds.

    Attributes:
        exact: nothing is estimated.
        sampled: how many sessions were looked into.
        by_flow: the twenty largest flows that were looked into, largest first.
        largest: the twenty largest sessions that were, largest first.
        ages: how many sessions were last written to within each bound of :data:`AGES`, and not the one
            before; the last number is of older ones.
    """

    flows: int = 0
    sessions: int = 0
    messages: int = 0
    bytes: int | None = None
    exact: bool = True
    sampled: int = 0
    by_flow: list[FlowSize] = field(default_factory=list)
    largest: list[SessionSize] = field(default_factory=list)
    ages: list[int] = field(default_factory=lambda: [0] * (len(AGES) + 1))

    def as_json(self) -> dict[str, Any]:
        """The shape of ``stats --json``."""
        labels = [*(f"within {label}" for label, _ in AGES), "older"]
        return asdict(self) | {
            "ages": [
                {"last_written": label, "sessions": count}
                for label, count in zip(labels, self.ages, strict=True)
            ]
        }


async def collect(store: SessionStore, *, sample: int = SAMPLE) -> Stats:
    """Look into at most ``sample`` sessions (at least one of each flow), a few hundred at a time.

    Raises:
        StoreUnavailableError: Redis did not answer within the deadline, or refused.
    """
    return await _Survey(store._parts, sample).run()


class _Survey:
    def __init__(self, parts: Parts, sample: int) -> None:
        self._parts = parts
        self._sample = sample
        self._tells_bytes = True

    async def run(self) -> Stats:
        keys = self._parts.keys.flows
        [flow_count] = await self._read([(keys, ("SCARD", keys))])
        stats = Stats(flows=int(flow_count))
        if stats.flows <= MAX_FLOWS:
            flows = await self._parts.registry.flows()
        else:
            drawn = await self._draw(keys, "SRANDMEMBER", MAX_FLOWS)
            flows = sorted(name.decode() for name in drawn)
        shards = [self._parts.keys.flow(flow) for flow in flows]
        counts = await self._each(shards, lambda shard: (("ZCARD", shard.sessions),))
        total = sum(int(count) for (count,) in counts)
        now = time.time_ns() // 1_000
        sizes: list[FlowSize] = []
        for shard, (count,) in zip(shards, counts, strict=True):
            share = int(count) if total <= self._sample else max(1, self._sample * int(count) // total)
            looked = await self._sessions(shard, int(count), share)
            stats.exact = stats.exact and len(looked) >= int(count)
            stats.sampled += len(looked)
            stats.largest = sorted(stats.largest + looked, key=_size, reverse=True)[:TOP]
            sizes.append(self._flow_size(shard, int(count), looked))
        for ages in await self._each(shards, lambda shard: _age_commands(shard, now)):
            stats.ages = [one + int(more) for one, more in zip(stats.ages, ages, strict=True)]
        stats.exact = stats.exact and len(shards) == stats.flows
        scale = stats.flows / len(shards) if shards else 1.0
        stats.sessions = round(scale * total)
        stats.ages = [round(scale * count) for count in stats.ages]
        stats.messages = round(scale * sum(size.messages for size in sizes))
        if self._tells_bytes:
            stats.bytes = round(scale * sum(size.bytes or 0 for size in sizes))
        stats.by_flow = sorted(sizes, key=lambda size: (size.bytes or 0, size.messages), reverse=True)[:TOP]
        return stats

    async def _sessions(self, shard: FlowKeys, count: int, share: int) -> list[SessionSize]:
        if not share or not count:
            return []
        if share < count:
            scores = await self._draw(shard.sessions, "ZRANDMEMBER", share, "WITHSCORES")
        else:
            scores = {}
            for start in range(0, count, _DRAWN):
                listing = ("ZRANGE", shard.sessions, start, start + _DRAWN - 1, "WITHSCORES")
                [listed] = await self._read([(shard.sessions, listing)])
                scores.update(scored_pairs(listed))
        found = []
        members = [(name.decode(), us) for name, us in scores.items()]
        for first in range(0, len(members), _PAGE):
            some = members[first : first + _PAGE]
            lengths = await self._read([(shard.ids, ("XLEN", shard.log(name))) for name, _ in some])
            sizes = await self._bytes([shard.log(name) for name, _ in some])
            edits = await self._bytes([shard.edits(name) for name, _ in some])
            for (name, us), length, size, edited in zip(some, lengths, sizes, edits, strict=True):
                whole = size + (edited or 0) if size is not None else None
                found.append(SessionSize(shard.flow_id, name, int(length), whole, us))
        return found

    async def _draw(self, key: bytes, command: str, count: int, *options: str) -> dict[bytes, int]:
        """About ``count`` members at random, each once, some at a time; with their scores, if asked for."""
        drawn: dict[bytes, int] = {}
        for _ in range(_ROUNDS * (count // _DRAWN + 1)):
            [reply] = await self._read([(key, (command, key, min(count, _DRAWN), *options))])
            pairs = scored_pairs(reply) if options else [(member, 0) for member in reply]
            for member, score in pairs:
                if len(drawn) < count:
                    drawn[member] = score
            if len(drawn) >= count:
                break
        return drawn

    def _flow_size(self, shard: FlowKeys, count: int, looked: Sequence[SessionSize]) -> FlowSize:
        scale = count / len(looked) if looked else 1.0
        messages = round(scale * sum(session.messages for session in looked))
        size = round(scale * sum(session.bytes or 0 for session in looked)) if self._tells_bytes else None
        return FlowSize(shard.flow_id, count, messages, size)

    async def _bytes(self, keys: Sequence[bytes]) -> list[int | None]:
        """What keys take, themselves included; estimated by Redis from five of their values."""
        if self._tells_bytes:
            try:
                return await self._read([(key, ("MEMORY", "USAGE", key, "SAMPLES", 5)) for key in keys])
            except RedisSessionsError as error:
                if not isinstance(error.__cause__, NoPermissionError | ResponseError):
                    raise
                self._tells_bytes = False  # forbidden, or fakeredis
        return [None] * len(keys)

    async def _each(self, shards: Sequence[FlowKeys], commands: Any) -> list[list[Any]]:
        """The replies to the same commands on each shard."""
        replies: list[list[Any]] = []
        for first in range(0, len(shards), _PAGE):
            asked = [
                [(shard.ids, command) for command in commands(shard)]
                for shard in shards[first : first + _PAGE]
            ]
            flat = iter(await self._read([pair for pairs in asked for pair in pairs]))
            replies += [[next(flat) for _ in pairs] for pairs in asked]
        return replies

    async def _read(self, commands: Sequence[tuple[bytes, Command]]) -> list[Any]:
        return await self._parts.calls.read(lambda: self._parts.transport.scatter(commands))


def _size(session: SessionSize) -> tuple[int, int]:
    return session.bytes or 0, session.messages


def _age_commands(shard: FlowKeys, now_us: int) -> list[Command]:
    bounds = [now_us - seconds * _US for _, seconds in AGES]
    upper: list[Any] = ["+inf", *(f"({bound}" for bound in bounds)]
    return [("ZCOUNT", shard.sessions, low, high) for low, high in zip([*bounds, "-inf"], upper, strict=True)]
