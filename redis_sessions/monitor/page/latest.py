"""The last message of each of many sessions, as small as a list shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.store import SessionStore

_AT_ONCE = 16
"""Reads under way for one request: other requests need connections too."""
_SHOWN = 160
"""Characters of a text; a list has no room for more."""


async def latest_messages(
    store: SessionStore, places: Sequence[tuple[str, str | None]]
) -> list[dict[str, Any] | None]:
    """The last message of each (flow, session), None where there is none; session None: the newest one."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def look(flow: str, session: str | None) -> dict[str, Any] | None:
        async with turn:
            if session is None:
                newest = await store.sessions(flow, limit=1)
                if not newest:
                    return None
                (session,) = newest
            found = await store.history_json(flow, session, limit=1)
        return _excerpt(from_json(found[0])) if found else None

    try:
        async with asyncio.TaskGroup() as tasks:
            looks = [tasks.create_task(look(flow, session)) for flow, session in places]
    except ExceptionGroup as failed:
        # They fail alike, and one of them says it: that Redis is away, for example.
        raise failed.exceptions[0] from None
    return [task.result() for task in looks]


def _excerpt(message: dict[str, Any]) -> dict[str, Any]:
    shown = {name: message[name] for name in ("id", "timestamp", "sender", "sender_name")}
    return {**shown, "text": message["text"][:_SHOWN]}
