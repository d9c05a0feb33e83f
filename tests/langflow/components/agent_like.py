"""A component that does to its messages what agents do: stores, updates often, deletes, streams, fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessageChunk
from lfx.custom.custom_component.component import Component
from lfx.inputs.inputs import HandleInput, MessageTextInput
from lfx.memory import delete_message
from lfx.schema.content_types import ToolContent
from lfx.schema.message import Message
from lfx.schema.properties import Properties
from lfx.template.field.base import Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AgentLike(Component):
    display_name = "Agent-like"
    name = "AgentLike"
    inputs = [  # noqa: RUF012
        HandleInput(name="input_value", display_name="Input", input_types=["Message"]),
        MessageTextInput(name="way", display_name="Way", value="update"),
    ]
    outputs = [Output(name="answer", display_name="Answer", method="answer", types=["Message"])]  # noqa: RUF012

    async def answer(self) -> Message:
        if self.way == "fail":
            raise RuntimeError("the model is gone")
        if self.way == "stream":
            return await self.send_message(self._message(self._tokens()))
        thought = await self.send_message(self._message("thinking"))
        message = self._message("", state="partial")
        message = await self.send_message(message)
        for number in range(20 if self.way == "update" else 100):
            message.content_blocks = [ToolContent(name=f"tool {number}", tool_input={"n": number})]
            message.text = f"{number + 1} steps"
            message = await self.send_message(message)
            if self.way == "slow":
                await asyncio.sleep(0.05)
        message.properties.state = "complete"
        message = await self.send_message(message)
        await delete_message(id_=str(thought.id))
        return message

    def _message(self, text, state="complete") -> Message:
        return Message(
            text=text,
            sender="Machine",
            sender_name="Agent",
            session_id=self.graph.session_id,
            properties=Properties(state=state),
        )

    async def _tokens(self) -> AsyncIterator[AIMessageChunk]:
        for token in ("one ", "two ", "three"):
            yield AIMessageChunk(content=token)
