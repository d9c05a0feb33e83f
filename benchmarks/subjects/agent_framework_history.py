"""agent-framework's ``RedisHistoryProvider``: a list a session of JSON messages.

One provider for all sessions, its coroutines. Storing a message reads the whole session first, to leave out
what is there; whatever part of a history is wanted, all of it is read. What a turn has beside its text is in
``additional_properties``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from agent_framework import Message
from agent_framework_redis import RedisHistoryProvider
from redis.asyncio import Redis

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class AgentFramework(Subject):
    """One client for all sessions."""

    marks: ClassVar[dict[str, str]] = {"append": "reads the whole session first"}

    async def open(self) -> None:
        self._redis: Redis = Redis.from_url(self.url, decode_responses=True)
        self._provider = RedisHistoryProvider(redis_client=self._redis, application_id="benchmarks")

    async def close(self) -> None:
        await self._redis.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        key = self._provider._redis_key(session)
        for first in range(0, len(turns), 1_000):
            said = [json.dumps(_message(turn).to_dict()) for turn in turns[first : first + 1_000]]
            await self._redis.rpush(key, *said)  # type: ignore[misc]

    async def append(self, session: str, turn: Turn) -> None:
        await self._provider.save_messages(session, [_message(turn)])

    async def history(self, session: str, count: int) -> int:
        return len((await self._provider.get_messages(session))[-count:])

    async def delete_session(self, session: str) -> None:
        await self._provider.clear(session)

    async def texts(self, session: str) -> list[str]:
        return [one.text for one in await self._provider.get_messages(session)]


def _message(turn: Turn) -> Message:
    role = "user" if turn.by_user else "assistant"
    return Message(role, [turn.text], additional_properties=turn.extra)


SUBJECT = AgentFramework
