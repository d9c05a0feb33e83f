"""langchain-redis: a JSON document a message, found by a RediSearch index.

One history object a session is kept, all of them with one client, as its ``redis_client`` argument allows. It
has no coroutines of its own. ``messages`` reads all of a session, and at most its oldest 10,000 messages.
What a turn has beside its text is in ``additional_kwargs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from langchain_redis import RedisChatMessageHistory

from benchmarks.subjects import Subject
from benchmarks.subjects.langchain_community import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class LangchainRedis(Subject):
    """One client, one index for all sessions."""

    blocking = True
    longest = 10_000

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._histories: dict[str, RedisChatMessageHistory] = {}

    async def open(self) -> None:
        self._redis = redis.Redis.from_url(self.url)
        self._redis.ping()

    async def close(self) -> None:
        self._redis.close()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        for first in range(0, len(turns), 1_000):
            self._history(session).add_messages([message(turn) for turn in turns[first : first + 1_000]])

    async def append(self, session: str, turn: Turn) -> None:
        self._history(session).add_message(message(turn))

    async def history(self, session: str, count: int) -> int:
        return len(self._history(session).messages[-count:])

    async def delete_session(self, session: str) -> None:
        self._history(session).clear()

    async def texts(self, session: str) -> list[str]:
        return [str(one.content) for one in self._history(session).messages]

    def _history(self, session: str) -> RedisChatMessageHistory:
        found = self._histories.get(session)
        if found is None:
            found = RedisChatMessageHistory(
                session, redis_client=self._redis, key_prefix="langchain:", index_name="langchain"
            )
            self._histories[session] = found
        return found


SUBJECT = LangchainRedis
