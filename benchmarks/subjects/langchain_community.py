"""langchain-community's ``RedisChatMessageHistory``: a list a session, newest first, of JSON.

One history object a session is kept, so that each has one warm connection. It has no coroutines of its own
(those that it inherits run the blocking calls in a thread), so it is called directly. Whatever part of a
history is wanted, all of it is read: there is no limit. What a turn has beside its text is in
``additional_kwargs``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import redis
from langchain_community.chat_message_histories.redis import RedisChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class LangchainCommunity(Subject):
    """One warm connection a session."""

    blocking = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._histories: dict[str, RedisChatMessageHistory] = {}

    async def open(self) -> None:
        self._redis = redis.Redis.from_url(self.url)

    async def close(self) -> None:
        self._redis.close()
        for history in self._histories.values():
            history.redis_client.close()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        key = f"message_store:{session}"
        for first in range(0, len(turns), 1_000):
            said = [json.dumps(message_to_dict(message(turn))) for turn in turns[first : first + 1_000]]
            self._redis.lpush(key, *said)

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
            found = self._histories[session] = RedisChatMessageHistory(session, url=self.url)
        return found


def message(turn: Turn) -> BaseMessage:
    """The turn as LangChain has it."""
    kind = HumanMessage if turn.by_user else AIMessage
    return kind(content=turn.text, additional_kwargs=turn.extra)


SUBJECT = LangchainCommunity
