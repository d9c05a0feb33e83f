"""Flows that the tests run, made with Langflow's own components."""

from __future__ import annotations

from typing import Any

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents.memory import MemoryComponent
from lfx.graph import Graph

from tests.langflow.components.agent_like import AgentLike


def chat(name: str = "chat", *, heard_in: str = "", said_in: str = "") -> dict[str, Any]:
    """ChatInput → ChatOutput: two messages a run, the second repeats the first.

    ``heard_in`` and ``said_in`` are session ids that are set in the components.
    """
    heard = ChatInput(_id="ChatInput-1").set(session_id=heard_in)
    said = ChatOutput(_id="ChatOutput-1").set(input_value=heard.message_response, session_id=said_in)
    return _dump(Graph(heard, said), name)


def history(name: str = "history", *, messages: int = 100) -> dict[str, Any]:
    """ChatInput → Message History → ChatOutput: answers its messages; the input is their template."""
    heard = ChatInput(_id="ChatInput-1")
    memory = MemoryComponent(_id="Memory-1").set(template=heard.message_response, n_messages=messages)
    said = ChatOutput(_id="ChatOutput-1").set(input_value=memory.retrieve_messages_as_text)
    return _dump(Graph(heard, said), name)


def agent(way: str) -> dict[str, Any]:
    """ChatInput → a component that updates, streams or fails → ChatOutput."""
    heard = ChatInput(_id="ChatInput-1")
    agent_like = AgentLike(_id="AgentLike-1").set(input_value=heard.message_response, way=way)
    said = ChatOutput(_id="ChatOutput-1").set(input_value=agent_like.answer)
    return _dump(Graph(heard, said), f"agent {way}")


def _dump(graph: Graph, name: str) -> dict[str, Any]:
    return dict(graph.dump(name=name)) | {"description": ""}
