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


async def test_it_stores_reads_updates_and_deletes(redis: None) -> None:
    with graph(uuid.UUID(int=1), uuid.UUID(int=11)):
        (kept,) = await memory.service.astore_message(
            Message(text="hello", sender="User", sender_name="Ann", session_id="s")
        )
        kept.sender_name = "Bob"
        await memory.service.aupdate_messages(kept)
        assert [each.sender_name for each in await memory.service.aget_messages(session_id="s")] == ["Bob"]
        await memory.service.adelete_message(str(kept.id))
        assert await memory.service.aget_messages(session_id="s") == []


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
