"""Langflow's LangChain memory works through chat memory, and so from Redis."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langflow.memory import LCBuiltinChatMemory
from lfx.memory import flow_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_sessions import SessionStore
    from tests.langflow.inside.people import Person


@contextlib.contextmanager
def graph(flow: str, owner: uuid.UUID) -> Iterator[None]:
    """A component of a graph is running."""
    tokens = (
        flow_context.set_current_flow_id(uuid.UUID(flow)),
        flow_context.set_current_message_owner_id(owner),
    )
    try:
        yield
    finally:
        flow_context.reset_current_flow_id(tokens[0])
        flow_context.reset_current_message_owner_id(tokens[1])


async def test_what_it_stores_is_in_redis_and_comes_back_and_goes(
    person: Person, store: SessionStore, flow: str
) -> None:
    memory = LCBuiltinChatMemory(flow_id=flow, session_id="chat")
    with graph(flow, uuid.UUID(person.id)):
        await memory.aadd_messages([HumanMessage("Hello!"), AIMessage("Hi.")])
        found = await memory.aget_messages()
        stored = [message.text for message in await store.history(flow, "chat")]
        await memory.aclear()

    assert sorted((message.type, message.content) for message in found) == [
        ("ai", "Hi."),
        ("human", "Hello!"),
    ]
    assert stored == ["Hello!", "Hi."]
    assert await store.history(flow, "chat") == []


async def test_so_do_its_synchronous_methods(person: Person, store: SessionStore, flow: str) -> None:
    memory = LCBuiltinChatMemory(flow_id=flow, session_id="chat")
    with graph(flow, uuid.UUID(person.id)):
        await asyncio.to_thread(memory.add_messages, [HumanMessage("Hello!")])
        found = await asyncio.to_thread(lambda: memory.messages)
        await asyncio.to_thread(memory.clear)

    assert [message.content for message in found] == ["Hello!"]
    assert await store.history(flow, "chat") == []


async def test_it_needs_its_flow_to_be_running(flow: str) -> None:
    memory = LCBuiltinChatMemory(flow_id=flow, session_id="chat")

    with (
        graph(str(uuid.uuid4()), uuid.uuid4()),
        pytest.raises(ValueError, match="requires the executing flow"),
    ):
        await memory.aget_messages()
