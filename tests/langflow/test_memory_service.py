"""The memory service has the shape of the one upstream is adding, and is registered where lfx takes one."""

from __future__ import annotations

import inspect
import sys
import uuid
from enum import StrEnum
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from lfx.schema.message import Message
from lfx.services.base import Service

from redis_sessions.langflow import memory
from tests.langflow.test_memory_parity import graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

UPSTREAM = {
    "astore_message": ("message", "flow_id", "run_id"),
    "aget_messages": (
        "sender", "sender_name", "session_id", "context_id", "order_by", "order", "flow_id", "limit"
    ),
    "aupdate_messages": ("messages",),
    "adelete_messages": ("session_id", "context_id"),
    "adelete_message": ("id_",),
    "aadd_messages": ("messages",),
    "aadd_messagetables": ("messages",),
    "store_message": ("message", "flow_id", "run_id"),
    "get_messages": (
        "sender", "sender_name", "session_id", "context_id", "order_by", "order", "flow_id", "limit"
    ),
    "delete_messages": ("session_id", "context_id"),
    "add_messages": ("messages",),
    "teardown": (),
}  # fmt: skip


@pytest.mark.parametrize("name", UPSTREAM)
def test_it_takes_what_upstreams_takes(name: str) -> None:
    method: Callable[..., Any] = getattr(memory.service, name)
    taken = inspect.signature(method).parameters
    assert tuple(taken)[: len(UPSTREAM[name])] == UPSTREAM[name]
    assert all(each.default is not each.empty for each in list(taken.values())[len(UPSTREAM[name]) :])


def test_it_is_a_service() -> None:
    assert isinstance(memory.service, Service)
    assert memory.service.name == "memory_service"


def say(text: str = "hello", session: str = "s", sender: str = "User", name: str = "Ann") -> Message:
    return Message(text=text, sender=sender, sender_name=name, session_id=session)


def running() -> AbstractContextManager[None]:
    """A running flow: in one, 1.13 lets a call leave out flow and owner, as upstream does everywhere."""
    return graph(uuid.UUID(int=1), uuid.UUID(int=11))


class TestUpstreamsContract:
    """What upstream asks of every memory service (``MemoryServiceContract`` on its branch)."""

    async def test_what_is_stored_is_read(self, redis: None) -> None:
        with running():
            await memory.service.astore_message(say())
            assert [each.text for each in await memory.service.aget_messages(session_id="s")] == ["hello"]

    async def test_a_message_without_a_session_is_refused(self, redis: None) -> None:
        with running(), pytest.raises(ValueError, match="session_id"):
            await memory.service.astore_message(say(session=""))

    async def test_a_sender_can_be_asked_for(self, redis: None) -> None:
        with running():
            await memory.service.astore_message(say("of a person"))
            await memory.service.astore_message(say("of a machine", sender="Machine", name="Bot"))
            found = await memory.service.aget_messages(session_id="s", sender="User")
            assert [each.text for each in found] == ["of a person"]

    async def test_a_message_stored_again_is_updated(self, redis: None) -> None:
        with running():
            (kept,) = await memory.service.astore_message(say())
            kept.sender_name = "Bob"
            await memory.service.astore_message(kept)
            found = await memory.service.aget_messages(session_id="s")
            assert [each.sender_name for each in found] == ["Bob"]

    async def test_a_message_is_updated(self, redis: None) -> None:
        with running():
            (kept,) = await memory.service.astore_message(say())
            kept.sender_name = "Bob"
            await memory.service.aupdate_messages([kept])
            (found,) = await memory.service.aget_messages(session_id="s")
            assert found.sender_name == "Bob"

    async def test_deleting_a_session_leaves_the_others(self, redis: None) -> None:
        with running():
            for session in ("kept", "dropped"):
                await memory.service.astore_message(say(session=session))
            await memory.service.adelete_messages(session_id="dropped")
            left = [
                len(await memory.service.aget_messages(session_id=session)) for session in ("kept", "dropped")
            ]
            assert left == [1, 0]

    async def test_a_message_is_deleted(self, redis: None) -> None:
        with running():
            (kept,) = await memory.service.astore_message(say())
            await memory.service.adelete_message(str(kept.id))
            assert await memory.service.aget_messages(session_id="s") == []

    async def test_deleting_nothing_in_particular_is_refused(self, redis: None) -> None:
        with running(), pytest.raises(ValueError, match="session_id or context_id"):
            await memory.service.adelete_messages()


def test_it_is_registered_in_an_lfx_that_has_a_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class ServiceType(StrEnum):
        MEMORY_SERVICE = "memory_service"

    registered = []

    class Manager:
        def register_service_class(self, kind: ServiceType, made: type, *, override: bool) -> None:
            registered.append((kind, made, override))

    monkeypatch.setitem(sys.modules, "lfx.services.memory.base", ModuleType("base"))
    monkeypatch.setattr("lfx.services.schema.ServiceType", ServiceType)
    monkeypatch.setattr("lfx.services.manager.get_service_manager", Manager)
    memory._register()
    assert registered == [(ServiceType.MEMORY_SERVICE, memory.MemoryService, True)]
