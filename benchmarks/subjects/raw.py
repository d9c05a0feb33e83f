"""The limit: the Redis commands that each operation comes down to, sent by redis-py.

The bodies are the bytes that redis-sessions stores, made beforehand. Nothing is decoded, no index is kept
beyond what the operation itself needs, and nothing is safe to retry.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from benchmarks.payloads import Turn
from benchmarks.subjects import Subject
from redis_sessions import NewMessage
from redis_sessions.body import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

_SESSIONS = "raw:sessions"
_FEED = "raw:feed"


class Raw(Subject):
    """A stream a session, a sorted set of sessions, a stream as the feed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: dict[str, list[bytes]] = {}
        self._bodies: dict[str, bytes] = {}
        self._seen = b"0-0"

    async def open(self) -> None:
        self._redis: Redis = Redis.from_url(self.url)
        await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        for first in range(0, len(turns), 1_000):
            pipe = self._redis.pipeline(transaction=False)
            for turn in turns[first : first + 1_000]:
                pipe.xadd(_log(session), {"b": self._body(turn)})
            self._ids.setdefault(session, []).extend(await pipe.execute())
        await self._redis.zadd(_SESSIONS, {session: _time_of(self._ids[session][-1])})

    async def append(self, session: str, turn: Turn) -> None:
        await self._redis.xadd(_log(session), {"b": self._body(turn)})

    async def history(self, session: str, count: int) -> int:
        return len(await self._redis.xrevrange(_log(session), count=count))

    history_wire = history

    async def update(self, session: str, text: str) -> None:
        body = self._body(Turn(text, "User", "User"))
        await self._redis.hset(f"raw:edits:{session}", self._ids[session][-1], body)  # type: ignore[misc]

    async def delete_message(self, session: str) -> None:
        await self._redis.xdel(_log(session), self._ids[session].pop())

    async def rename(self, old: str, new: str) -> None:
        await self._redis.rename(_log(old), _log(new))

    async def delete_session(self, session: str) -> None:
        await self._redis.unlink(_log(session))

    async def list_sessions(self, count: int) -> int:
        return len(await self._redis.zrevrange(_SESSIONS, 0, count - 1))

    async def recent(self, count: int) -> int:
        """Sessions, newest first, until the next one's newest message is older than all that were found."""
        found: list[bytes] = []
        sessions = await self._redis.zrevrange(_SESSIONS, 0, 3, withscores=True)
        for place, (session, _) in enumerate(sessions):
            found += [entry for entry, _ in await self._redis.xrevrange(_log(session.decode()), count=count)]
            found = sorted(found, key=_time_of, reverse=True)[:count]
            following = sessions[place + 1 : place + 2]
            if len(found) == count and (not following or following[0][1] < _time_of(found[-1])):
                break
        return len(found)

    async def feed(self, session: str, turn: Turn) -> None:
        reading = asyncio.create_task(self._redis.xread({_FEED: self._seen}, block=5_000))
        self._seen = await self._redis.xadd(_FEED, {"b": self._body(turn)}, maxlen=1_000)
        await reading

    def _body(self, turn: Turn) -> bytes:
        """Made at its first use: encoding is not what Redis is asked to do."""
        body = self._bodies.get(turn.text)
        if body is None:
            said = NewMessage(
                text=turn.text,
                sender=turn.sender,
                sender_name=turn.sender_name,
                properties=turn.properties or None,
                content_blocks=turn.content_blocks,
            )
            body = self._bodies[turn.text] = encode(said)
        return body


def _time_of(entry: bytes) -> int:
    return int(entry.split(b"-")[0])


def _log(session: str) -> str:
    return f"raw:log:{session}"


SUBJECT = Raw
