"""Flows with the Redis Sessions component, made with Langflow's own components around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lfx.base.memory.model import LCChatMemoryComponent
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents.memory import MemoryComponent
from lfx.field_typing.constants import Memory  # noqa: TC002 - Langflow looks at the annotation
from lfx.graph import Graph
from lfx.inputs.inputs import MessageTextInput, StrInput

from redis_sessions.langflow.extension.components.redis_sessions.redis_sessions import RedisSessionsComponent

if TYPE_CHECKING:
    from lfx.custom.custom_component.component import Component


class TodaysComponent(LCChatMemoryComponent):
    """As "Redis Chat Memory" of lfx-bundles 1.3 builds its history, from a URL with the password as it is."""

    name = "Todays"
    inputs = [  # noqa: RUF012
        StrInput(name="url"),
        MessageTextInput(name="session_id"),
    ]

    def build_message_history(self) -> Memory:
        from langchain_community.chat_message_histories.redis import RedisChatMessageHistory

        return RedisChatMessageHistory(session_id=self.session_id, url=self.url)


def storing(url: str, kind: type[Component] = RedisSessionsComponent, **inputs: Any) -> dict[str, Any]:
    """ChatInput → Message History (Store), ``kind`` at its External Memory → ChatOutput."""
    heard = ChatInput(_id="ChatInput-1")
    redis = kind(_id="Redis-1").set(url=url, **inputs)
    memory = MemoryComponent(_id="Memory-1")
    # The editor asks the component for its outputs when the mode changes.
    memory.outputs = memory.update_outputs({}, "mode", "Store")["outputs"]
    memory.map_outputs()
    memory.set(
        mode="Store", message=heard.message_response, memory=redis.build_message_history, sender="User"
    )
    said = ChatOutput(_id="ChatOutput-1").set(input_value=memory.store_message)
    return _dump(Graph(heard, said), "storing")


def retrieving(
    url: str, kind: type[Component] = RedisSessionsComponent, *, messages: int = 100, **inputs: Any
) -> dict[str, Any]:
    """ChatInput → Message History, ``kind`` at External Memory → ChatOutput. The input is a template."""
    heard = ChatInput(_id="ChatInput-1")
    redis = kind(_id="Redis-1").set(url=url, **inputs)
    memory = MemoryComponent(_id="Memory-1").set(
        template=heard.message_response, memory=redis.build_message_history, n_messages=messages
    )
    said = ChatOutput(_id="ChatOutput-1").set(input_value=memory.retrieve_messages_as_text)
    return _dump(Graph(heard, said), "retrieving")


def table(url: str, **inputs: Any) -> dict[str, Any]:
    """Redis Sessions → ChatOutput: the table of messages."""
    redis = RedisSessionsComponent(_id="Redis-1").set(url=url, **inputs)
    said = ChatOutput(_id="ChatOutput-1").set(input_value=redis.retrieve_messages)
    return _dump(Graph(redis, said), "table")


async def run(
    flow: dict[str, Any],
    text: str = "{sender_name}: {text}",
    *,
    flow_id: str | None,
    user_id: str | None,
    session_id: str = "monday",
    **attributes: Any,
) -> str:
    """Run a flow in this process, as a server does for this user; what ChatOutput says."""
    graph = Graph.from_payload(flow["data"], flow_id=flow_id, flow_name=flow["name"], user_id=user_id)
    graph.session_id = session_id
    graph.set_run_id(uuid4())
    for name, value in attributes.items():
        setattr(graph, name, value)
    [outputs] = await graph.arun(
        [{"input_value": text}], inputs_components=[[]], types=["chat"], session_id=session_id
    )
    [result] = [one for one in outputs.outputs if one and one.component_id == "ChatOutput-1"]
    return str(result.results["message"].data["text"])


def _dump(graph: Graph, name: str) -> dict[str, Any]:
    return dict(graph.dump(name=name)) | {"description": "", "name": name}
