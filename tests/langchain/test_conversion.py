from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
)

from redis_sessions import InvalidInputError, Message, NewMessage
from redis_sessions.body import decode, encode
from redis_sessions.langchain import from_langchain, to_langchain

STORED_ID = "00071cc5-4f5e-8d28-8004-36c4aa4d2767"
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
PICTURE = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "call_1", "type": "tool_call"}
BAD_CALL = {"name": "f", "args": "{", "id": "call_2", "error": "no JSON", "type": "invalid_tool_call"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "input_token_details": {"cache_read": 1}}


def stored(new: NewMessage) -> Message:
    """What a store gives back for it."""
    entry = (b"2001599834386728-63170461607", b"2001599834386728", encode(new), None)
    return decode(entry[2], flow_id="flow", session_id="monday", entry=entry)


def there_and_back(message: BaseMessage) -> BaseMessage:
    return to_langchain(stored(from_langchain(message)))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(text, values, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(text, json, max_size=3)
parts = (
    text | st.builds(lambda value: {"type": "text", "text": value}, text) | st.sampled_from([IMAGE, PICTURE])
)
content = text | st.lists(parts, max_size=4)
common: dict[str, Any] = {
    "content": content,
    "id": text.filter(bool),
    "name": st.none() | text,
    "additional_kwargs": objects,
    "response_metadata": objects,
}
calls = st.lists(st.just(CALL), max_size=2)
messages = st.one_of(
    st.builds(HumanMessage, **common),
    st.builds(SystemMessage, **common),
    st.builds(
        AIMessage,
        **common,
        tool_calls=calls,
        invalid_tool_calls=st.lists(st.just(BAD_CALL), max_size=1),
        usage_metadata=st.none() | st.just(USAGE),
    ),
    st.builds(
        ToolMessage, **common, tool_call_id=text, artifact=json, status=st.sampled_from(["success", "error"])
    ),
    st.builds(ChatMessage, **common, role=text),
    st.builds(FunctionMessage, **common | {"name": text}),
    st.builds(AIMessageChunk, **common),
)


@given(messages)
def test_every_message_comes_back_as_it_was(message: BaseMessage) -> None:
    restored = there_and_back(message)

    assert type(restored) is type(message)
    assert message_to_dict(restored) == message_to_dict(message)


@pytest.mark.parametrize("message", [HumanMessage("Hello!"), AIMessage("Hi.")])
def test_a_plain_message_carries_nothing_extra(message: BaseMessage) -> None:
    assert from_langchain(message).session_metadata is None


def test_a_message_without_an_id_gets_that_of_the_stored_one() -> None:
    for message in (HumanMessage("Hello!"), ToolMessage("42", tool_call_id="call_1")):
        kept = stored(from_langchain(message))

        assert to_langchain(kept).id == kept.id


@pytest.mark.parametrize(
    ("message", "sender", "sender_name"),
    [
        (HumanMessage("x"), "User", "User"),
        (HumanMessage("x", name="Ada"), "User", "Ada"),
        (AIMessage("x"), "Machine", "AI"),
        (AIMessageChunk("x"), "Machine", "AI"),
        (SystemMessage("x"), "System", "System"),
        (ToolMessage("x", tool_call_id="1"), "Tool", "Tool"),
        (ToolMessage("x", tool_call_id="1", name="weather"), "Tool", "weather"),
        (ChatMessage("x", role="critic"), "critic", "critic"),
        (FunctionMessage("x", name="f"), "function", "f"),
    ],
)
def test_the_playground_shows_who_said_it(message: BaseMessage, sender: str, sender_name: str) -> None:
    new = from_langchain(message)

    assert (new.sender, new.sender_name, new.text) == (sender, sender_name, "x")


def test_the_playground_shows_the_text_of_parts_and_the_tool_calls() -> None:
    new = from_langchain(
        AIMessage([{"type": "text", "text": "Let me "}, IMAGE, "look."], tool_calls=[dict(CALL)])  # type: ignore[list-item]
    )

    assert new.text == "Let me look."
    [block] = new.content_blocks
    assert block["title"] == "Agent Steps"
    assert [(step["name"], step["tool_input"]) for step in block["contents"]] == [
        ("weather", {"city": "Zürich"})
    ]


def changed(message: BaseMessage, **changes: Any) -> BaseMessage:
    """What comes back when somebody edits the stored message."""
    return to_langchain(stored(NewMessage(**{**from_langchain(message).model_dump(), **changes})))


def test_an_edited_text_is_the_text() -> None:
    message = AIMessage("It is sunny.", tool_calls=[dict(CALL)], id="run-1")  # type: ignore[list-item]

    restored = changed(message, text="It rains.")

    assert restored.content == "It rains."
    assert (restored.id, restored.tool_calls) == ("run-1", [CALL])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ([IMAGE, "What is ", IMAGE, "this?"], "A cat?", [IMAGE, {"type": "text", "text": "A cat?"}, IMAGE]),
        ([IMAGE], "A cat?", [{"type": "text", "text": "A cat?"}, IMAGE]),
        (["What is this?", IMAGE], "", [IMAGE]),
        ([], "A cat?", [{"type": "text", "text": "A cat?"}]),
    ],
)
def test_an_edited_text_replaces_all_text_and_no_image(
    before: list[Any], text: str, after: list[Any]
) -> None:
    assert changed(HumanMessage(before), text=text).content == after


def test_a_changed_sender_counts() -> None:
    restored = changed(AIMessage("Hello!", response_metadata={"model_name": "m"}), sender="User")

    assert isinstance(restored, HumanMessage)
    assert restored.content == "Hello!"


@pytest.mark.parametrize(
    "extra", [None, 5, {}, {"type": "ai"}, {"type": "?", "data": {}}, {"type": "ai", "data": {"content": 5}}]
)
def test_what_cannot_be_read_leaves_the_text(extra: Any, caplog: pytest.LogCaptureFixture) -> None:
    restored = changed(AIMessage("Hello!"), session_metadata={"langchain": extra, "tenant": "acme"})

    assert isinstance(restored, AIMessage)
    assert restored.content == "Hello!"
    assert "Hello!" not in caplog.text
    assert bool(caplog.records) is (extra is not None and "content" not in str(extra))


def from_langflow(**fields: Any) -> Message:
    return stored(NewMessage(**{"text": "Hello!", "sender": "User", "sender_name": "Ada"} | fields))


@pytest.mark.parametrize(
    ("sender", "kind"),
    [("User", HumanMessage), ("", HumanMessage), ("Machine", AIMessage), ("System", AIMessage)],
)
def test_langflows_messages_are_converted_as_langflow_does(sender: str, kind: type[BaseMessage]) -> None:
    restored = to_langchain(from_langflow(sender=sender))

    assert type(restored) is kind
    assert restored.content == "Hello!"
    assert restored.id is not None


class OwnMessage(BaseMessage):
    type: str = "own"


def test_what_langchain_cannot_restore_is_refused_and_not_every_later_read() -> None:
    with pytest.raises(InvalidInputError, match="OwnMessage"):
        from_langchain(OwnMessage(content="x"))


def test_a_remove_message_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="RemoveMessage"):
        from_langchain(RemoveMessage(id="x"))


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="JSON"):
        from_langchain(ToolMessage("x", tool_call_id="1", artifact=object()))
