"""google-adk-community's ``RedisSessionService``: a session with all its events in one JSON value.

One service for all sessions, its coroutines. An append writes the whole session; the session object is kept
between appends, as a runner does during a run, which spares the read before each. A history is the whole
session too, parsed and then cut. Values expire, after thirty days here. What a turn has beside its text is in
the event's ``custom_metadata``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from google.adk.events.event import Event
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.sessions.session import Session
from google.adk_community.sessions import RedisSessionService
from google.genai.types import Content, Part

from benchmarks.subjects import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn

_WHO = {"app_name": "benchmarks", "user_id": "user"}
_MONTH = 30 * 86_400


class GoogleAdk(Subject):
    """One client for all sessions."""

    marks: ClassVar[dict[str, str]] = {
        "append": "writes the whole session: of two at once, one is lost",
        "list_sessions": "reads all sessions with all their messages",
    }
    longest = 10_000

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._sessions: dict[str, Session] = {}

    async def open(self) -> None:
        self._service = RedisSessionService(uri=self.url, expire=_MONTH)

    async def close(self) -> None:
        await self._service.cache.aclose()

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        made = await self._service.create_session(**_WHO, session_id=session)
        events = [*made.events, *(_event(turn) for turn in turns[:-1])]
        made = Session(**{**made.model_dump(), "events": events})
        await self._service.append_event(made, _event(turns[-1]))

    async def append(self, session: str, turn: Turn) -> None:
        kept = self._sessions.get(session)
        if kept is None:
            kept = self._sessions[session] = await self._read(session, None)
        await self._service.append_event(kept, _event(turn))

    async def history(self, session: str, count: int) -> int:
        return len((await self._read(session, count)).events)

    async def delete_session(self, session: str) -> None:
        await self._service.delete_session(**_WHO, session_id=session)

    async def list_sessions(self, count: int) -> int:
        found = (await self._service.list_sessions(**_WHO)).sessions
        return len(sorted(found, key=lambda one: one.last_update_time)[-count:])

    async def texts(self, session: str) -> list[str]:
        found = await self._service.get_session(**_WHO, session_id=session)
        return [event.content.parts[0].text for event in found.events] if found else []

    async def _read(self, session: str, count: int | None) -> Session:
        config = GetSessionConfig(num_recent_events=count) if count else None
        found = await self._service.get_session(**_WHO, session_id=session, config=config)
        if found is None:
            raise LookupError(session)
        return found


def _event(turn: Turn) -> Event:
    role = "user" if turn.by_user else "model"
    return Event(
        id=str(uuid4()),
        author="user" if turn.by_user else "agent",
        content=Content(role=role, parts=[Part(text=turn.text)]),
        custom_metadata=turn.extra,
    )


SUBJECT = GoogleAdk
