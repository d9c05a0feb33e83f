"""llama-index's ``RedisChatStore``: a list a session of JSON messages.

One store for all sessions, its coroutines. Whatever part of a history is wanted, all of it is read. What a
turn has beside its text is in ``additional_kwargs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.storage.chat_store.redis import RedisChatStore
from redis.asyncio import Redis

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class LlamaIndex(Subject):
    """One client for all sessions."""

    marks: ClassVar[dict[str, str]] = {
        "delete_message": "reads the whole list and writes it back, in reverse, in three steps",
        "list_sessions": "all keys of the database, by KEYS, in no order",
    }

    async def open(self) -> None:
        self._redis: Redis = Redis.from_url(self.url)
        self._store = RedisChatStore(self.url, aredis_client=self._redis)

    async def close(self) -> None:
        await self._redis.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        for first in range(0, len(turns), 1_000):
            said = [_message(turn).model_dump_json() for turn in turns[first : first + 1_000]]
            await self._redis.rpush(session, *said)  # type: ignore[misc]

    async def append(self, session: str, turn: Turn) -> None:
        await self._store.async_add_message(session, _message(turn))

    async def history(self, session: str, count: int) -> int:
        return len((await self._store.aget_messages(session))[-count:])

    async def delete_message(self, session: str) -> None:
        await self._store.adelete_message(session, 0)

    async def delete_session(self, session: str) -> None:
        await self._store.adelete_messages(session)

    async def list_sessions(self, count: int) -> int:
        return len(self._store.get_keys()[:count])

    async def texts(self, session: str) -> list[str]:
        return [one.content or "" for one in await self._store.aget_messages(session)]


def _message(turn: Turn) -> ChatMessage:
    role = MessageRole.USER if turn.by_user else MessageRole.ASSISTANT
    return ChatMessage(role=role, content=turn.text, additional_kwargs=turn.extra)


SUBJECT = LlamaIndex
