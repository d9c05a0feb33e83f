"""openai-agents' ``RedisSession``: a list a session of JSON items, and a hash of what is known about it.

A session object a call, all with one client, as a web server makes them for its requests: making one costs
nothing, and one that is shared lets one caller in at a time. Coroutines. An append is a transaction that
watches the session's keys. Items have a role and a content, and no room for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agents.extensions.memory import RedisSession
from redis.asyncio import Redis

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class OpenaiAgents(Subject):
    """One client for all sessions."""

    marks: ClassVar[dict[str, str]] = {"delete_message": "only the newest message"}

    async def open(self) -> None:
        self._redis: Redis = Redis.from_url(self.url)
        await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        for first in range(0, len(turns), 1_000):
            await self._session(session).add_items([_item(turn) for turn in turns[first : first + 1_000]])

    async def append(self, session: str, turn: Turn) -> None:
        await self._session(session).add_items([_item(turn)])

    async def history(self, session: str, count: int) -> int:
        return len(await self._session(session).get_items(limit=count))

    async def delete_message(self, session: str) -> None:
        await self._session(session).pop_item()

    async def delete_session(self, session: str) -> None:
        await self._session(session).clear_session()

    async def texts(self, session: str) -> list[str]:
        items: Any = await self._session(session).get_items()
        return [item["content"] for item in items]

    def _session(self, session: str) -> RedisSession:
        return RedisSession(session, redis_client=self._redis)


def _item(turn: Turn) -> Any:
    return {"role": "user" if turn.by_user else "assistant", "content": turn.text}


SUBJECT = OpenaiAgents
