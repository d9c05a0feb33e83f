from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from redis_sessions import InvalidInputError, MessageUpdate, NewMessage
from redis_sessions.body import CorruptEntryError, decode, encode, join, revise, splice
from redis_sessions.clock import wire_time
from redis_sessions.ids import EntryId, to_message_id
from redis_sessions.projection import project_content_blocks
from tests.support.bodies import NUMBER, US, blocks, entry, messages, objects, words
from tests.support.talk import FLOW, at, fields, nothing_changes, say

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore


def read(body: bytes) -> Message:
    return decode(body, flow_id=FLOW, session_id="chat", entry=entry(body))


def rendered(message: Message) -> bytes:
    """As ``GET /api/v1/monitor/messages`` of Langflow 1.13 shows a message (``MessageResponse``)."""
    whole = message.model_dump(mode="json")
    known = ("text_color", "background_color", "edited", "source", "icon", "allow_markdown")
    more = ("positive_feedback", "state", "targets", "usage", "build_duration")
    properties = {name: whole["properties"][name] for name in (*known, *more)}
    properties["source"] = {name: properties["source"][name] for name in ("id", "display_name", "source")}
    shown = {
        "id": message.id,
        "flow_id": message.flow_id,
        "timestamp": message.timestamp.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "text": message.text,
        "files": json.dumps(message.files),
        "edit": message.edit,
        "duration": message.duration,
        "properties": properties,
        "category": message.category,
        "content_blocks": project_content_blocks(message.content_blocks),
        "session_metadata": message.session_metadata,
    }
    return to_json(shown)


@given(messages)
def test_what_is_encoded_is_decoded(message: NewMessage) -> None:
    again = read(encode(message))

    for name in ("text", "sender", "sender_name", "user_id", "run_id", "context_id", "files", "error"):
        assert getattr(again, name) == getattr(message, name)
    for name in ("edit", "category", "content_blocks", "session_metadata", "duration"):
        assert getattr(again, name) == getattr(message, name)
    if message.properties is not None:
        assert again.properties == message.properties


@given(messages)
def test_encoding_what_was_decoded_gives_the_same_bytes(message: NewMessage) -> None:
    body = encode(message)

    assert encode(read(body)) == body


@given(messages, words, words)
def test_splicing_is_the_same_as_rendering(message: NewMessage, flow: str, session: str) -> None:
    body = encode(message)
    decoded = decode(body, flow_id=flow, session_id=session, entry=entry(body))

    assert splice(flow, session, [entry(body)]) == [rendered(decoded)]


@given(messages)
def test_a_body_is_five_lines(message: NewMessage) -> None:
    first, _, text, _, _ = encode(message).split(b"\n")

    assert first[:2] == b"3:"
    assert first[2:] == b"" or isinstance(json.loads(first[2:]), dict)
    assert json.loads(text) == message.text


def test_what_messages_have_in_common_is_not_stored() -> None:
    plain = NewMessage(text="hello", sender="User", sender_name="Ann")
    agents = NewMessage(
        text="hello",
        sender="Machine",
        sender_name="AI",
        properties={"source": {"id": "a", "display_name": "b", "source": "c"}, "icon": "Bot"},  # type: ignore[arg-type]
        session_metadata={"graph_run_id": "x"},
    )

    assert encode(plain) == b'3:\n"User"\x01"Ann"\n"hello"\n\n'
    assert encode(agents) == (b'3:\n"Machine"\x01"AI"\n"hello"\n\x03"a"\x0c"b"\x0e"c"\x0f"Bot"\x07\n\x15"x"}')


@pytest.mark.parametrize(
    ("given_text", "stored_text"),
    [
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("a\x00b", "a\x00b"),
        ("\u2028\x7f\x1f\n", "\u2028\x7f\x1f\n"),
        ("", ""),
    ],
)
async def test_what_a_running_flow_cannot_help_is_kept(
    store: SessionStore, given_text: str, stored_text: str
) -> None:
    message = await say(
        store,
        given_text,
        files=[given_text],
        session_metadata={given_text: [given_text]},
        content_blocks=[{"title": given_text, "contents": []}],
        properties={"icon": given_text, "own": given_text},
        user_id=given_text,
    )

    assert (message.text, message.files, message.user_id) == (stored_text, [stored_text], stored_text)
    assert message.session_metadata == {stored_text: [stored_text]}
    assert message.content_blocks == [{"title": stored_text, "contents": []}]
    assert message.properties.icon == stored_text
    assert message.properties.model_dump()["own"] == stored_text
    assert await store.history(FLOW, "chat") == [message]


async def test_a_lone_surrogate_in_an_update_becomes_a_replacement_character(store: SessionStore) -> None:
    message = await say(store, "old")
    changed = await store.update(message.id, MessageUpdate(text="a\ud800", files=["\udfff"]))

    assert (changed.text, changed.files) == ("a\ufffd", ["\ufffd"])
    assert await store.history(FLOW, "chat") == [changed]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_numbers_that_json_lacks_become_null(store: SessionStore, number: float) -> None:
    message = await say(
        store,
        duration=number,
        session_metadata={"a": number, "b": [1.5, number]},
        content_blocks=[{"title": "t", "contents": [{"type": "json", "data": {"x": number}}]}],
        properties={"build_duration": number, "own": number},
    )

    assert message.duration is None
    assert message.session_metadata == {"a": None, "b": [1.5, None]}
    assert message.content_blocks[0]["contents"][0]["data"] == {"x": None}
    assert message.properties.build_duration is None
    [shown] = await store.history_json(FLOW, "chat")
    assert json.loads(shown)["session_metadata"] == {"a": None, "b": [1.5, None]}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_json_of_ordinary_depth_is_stored(store: SessionStore) -> None:
    message = await say(store, session_metadata={"a": nested(50)})

    assert (await store.history(FLOW, "chat")) == [message]


def looped() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [nested(10_000), looped(), object(), {1: object()}],
    ids=["too deep", "circular", "an object", "a nested object"],
)
async def test_what_json_cannot_hold_is_refused(store: SessionStore, value: Any) -> None:
    await say(store)
    async with nothing_changes(store):
        with pytest.raises(InvalidInputError):
            await say(store, session_metadata={"a": value})


async def test_large_whole_numbers_come_back_exactly_or_are_refused(store: SessionStore) -> None:
    for number in (2**53 + 1, 2**63, -(2**63), 2**64 - 1, 10**30):
        try:
            message = await say(store, session_metadata={"n": number})
        except InvalidInputError:
            continue
        assert message.session_metadata == {"n": number}
        assert (await store.history(FLOW, "chat"))[-1] == message


async def test_late_adopted_and_edited_messages_are_rendered_alike(store: SessionStore) -> None:
    await say(store, "2", timestamp=at(2), files=["a"], error=True)
    late = await say(store, "1", timestamp=at(1), id="9bd1f4a5-3f2c-4bd0-8a2c-5d8e1f0c2a11")
    await store.update(late.id, MessageUpdate(text="one"))

    shown = await store.history_json(FLOW, "chat")
    assert shown == [rendered(message) for message in await store.history(FLOW, "chat")]


async def test_unknown_properties_are_kept_and_not_shown(store: SessionStore) -> None:
    message = await say(store, properties={"own": 1, "source": {"id": "x", "own": 2}, "usage": {"own": 3}})
    [shown] = await store.history_json(FLOW, "chat")

    assert message.properties.model_dump()["own"] == 1
    assert (await store.get(message.id)) == message
    assert fields(message)["properties"]["source"]["own"] == 2
    assert b'"own"' not in shown


def test_wire_time_has_six_digits() -> None:
    assert wire_time(0) == "1970-01-01 00:00:00.000000 UTC"
    assert wire_time(US) == "2024-05-06 07:08:09.000001 UTC"


@pytest.mark.parametrize("body", [b"", b"{}", b"\n\n", b"{}\n{}\n{}", b"null", b"\xff\n\xff\n\xff"])
def test_what_is_no_body_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        read(body)
    assert splice(FLOW, "chat", [entry(body)]) == [None]


def test_joined_messages_are_an_array() -> None:
    assert json.loads(join([b'{"a":1}', b'{"b":2}'])) == [{"a": 1}, {"b": 2}]
    assert join([]) == b"[]"


def test_a_decoded_message_has_the_id_of_its_place() -> None:
    body = encode(NewMessage(text="a", sender="b", sender_name="c"))

    assert read(body).id == to_message_id(*EntryId(US, NUMBER))


@given(
    message=messages,
    changes=st.fixed_dictionaries(
        {},
        optional={
            "text": words,
            "sender": words,
            "sender_name": words,
            "context_id": words,
            "category": words,
            "edit": st.booleans(),
            "error": st.booleans(),
            "files": st.lists(words, max_size=2),
            "session_metadata": objects,
            "content_blocks": blocks,
        },
    ),
)
def test_a_revised_body_is_the_body_of_the_changed_message(message: NewMessage, changes: Any) -> None:
    body = encode(message)
    before = read(body)

    assert revise(body, before, changes) == encode(before, changes)


def test_a_revised_text_cannot_pass_for_the_seam() -> None:
    body = encode(NewMessage(text="x", sender='","context_id":', sender_name='\n,"context_id":'))

    revised = revise(body, read(body), {"sender": '"\n,"context_id":', "text": 'a"\n,"context_id":"b'})

    assert read(revised).text == 'a"\n,"context_id":"b'
    assert json.loads(splice(FLOW, "chat", [entry(revised)])[0] or b"")["session_id"] == "chat"
