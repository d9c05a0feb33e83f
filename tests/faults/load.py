"""The mixed load: appends, histories, updates, renames and deletions, over sessions that all share."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis_sessions import MessageUpdate, NewMessage
from tests.support.waiting import pause_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions import Message, SessionStore
    from tests.faults.record import Recorder

SESSIONS = ("Ann's", "Bob's", "café", "new\nline", "s{1}")
LENGTHS = (40, 400, 3_000)
LIMITS = (5, 20, 50)
MIX = {
    "append": 70,
    "history": 15,
    "update": 8,
    "rename": 3,
    "delete_messages": 2,
    "delete_session": 1,
    "sessions": 1,
}


@dataclass
class Load:
    """What the tasks of one worker do, ``pause`` seconds apart on average, until ``stopped``.

    Updates and deletions choose among the newest ``remembered`` messages of this worker.
    """

    store: SessionStore
    recorder: Recorder
    flows: Sequence[str]
    seed: int
    clock_off: float = 0.0
    pause: float = 0.03
    mix: dict[str, int] = field(default_factory=lambda: MIX)
    most_calls: float = float("inf")
    remembered: int = 40
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._known: deque[tuple[str, str]] = deque(maxlen=self.remembered)

    async def run(self, tasks: int) -> None:
        """Until ``stopped``; every call that was begun is finished."""
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._task())

    async def _task(self) -> None:
        verbs, weights = list(self.mix), list(self.mix.values())
        while not self.stopped.is_set():
            self.most_calls -= 1
            if self.most_calls <= 0:
                self.stopped.set()
            [verb] = self._random.choices(verbs, weights)
            await getattr(self, verb)(self._random.choice(self.flows))
            await pause_for(self._random.uniform(0, 2 * self.pause))

    def _session(self) -> str:
        return self._random.choice(SESSIONS)

    async def append(self, flow: str) -> None:
        session, owner = self._session(), f"owner of {flow}"
        count = self._random.choice((1, 1, 1, 1, 1, 3))
        ids = [str(UUID(int=self._random.getrandbits(128), version=4)) for _ in range(count)]
        adopted = self._random.random() < 0.1
        late = timedelta(
            seconds=self.clock_off - (self._random.random() if self._random.random() < 0.1 else 0)
        )

        def make(name: str) -> Any:
            texts = [f"{name}/{n} ".ljust(self._random.choice(LENGTHS), "x") for n in range(count)]
            moments = [datetime.now(UTC) + late + timedelta(microseconds=n) for n in range(count)]
            messages = [
                NewMessage(
                    text=text,
                    sender="User",
                    sender_name="Ann",
                    session_id=session,
                    timestamp=moment,
                    id=id if adopted else None,
                )
                for text, moment, id in zip(texts, moments, ids, strict=True)
            ]
            asked = {
                "session": session,
                "texts": texts,
                "at": [_us(moment) for moment in moments],
                "ids": ids if adopted else None,
            }
            return asked, self.store.append_many(flow, messages, owner=owner)

        stored = await self.recorder.call(
            "append", flow, make, lambda messages: [message.id for message in messages]
        )
        if stored:
            self._known.append((flow, stored[0].id))

    async def history(self, flow: str) -> None:
        session, limit = self._session(), self._random.choice(LIMITS)
        await self.recorder.call(
            "history",
            flow,
            lambda _: ({"session": session, "limit": limit}, self.store.history(flow, session, limit=limit)),
            lambda messages: [shown(message) for message in messages],
        )

    async def update(self, flow: str) -> None:
        if not self._known:
            return
        flow, message = self._random.choice(self._known)
        name_of = self._random.choice(("text", "context_id"))

        def make(name: str) -> Any:
            change = {name_of: name}
            return {"message": message, "change": change}, self.store.update(
                message, MessageUpdate.model_validate(change), flow_id=flow
            )

        await self.recorder.call("update", flow, make, shown)

    async def rename(self, flow: str) -> None:
        old, new = self._random.sample(SESSIONS, 2)
        await self.recorder.call(
            "rename",
            flow,
            lambda _: ({"old": old, "new": new}, self.store.rename_session(flow, old, new)),
            lambda result: [result.outcome, result.messages],
        )

    async def delete_messages(self, flow: str) -> None:
        if not self._known:
            return
        flow, message = self._random.choice(self._known)
        await self.recorder.call(
            "delete_messages",
            flow,
            lambda _: ({"messages": [message]}, self.store.delete_messages([message], flow_id=flow)),
            list,
        )

    async def delete_session(self, flow: str) -> None:
        session = self._session()
        await self.recorder.call(
            "delete_session",
            flow,
            lambda _: ({"session": session}, self.store.delete_session(flow, session)),
            int,
        )

    async def sessions(self, flow: str) -> None:
        await self.recorder.call("sessions", flow, lambda _: ({}, self.store.sessions(flow)), list)


def shown(message: Message) -> list[Any]:
    """What of a message the checker compares."""
    return [message.id, message.text, message.context_id, message.flow_id, message.session_id]


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
