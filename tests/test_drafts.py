"""A plain message is made on a short way, and is the same that the long way makes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from redis_sessions import InvalidInputError, NewMessage, SessionStore, TooLargeError
from redis_sessions.body import decode, encode
from redis_sessions.drafts import Drafts
from redis_sessions.models import Message, Properties, Source
from tests.support.talk import FLOW, nothing_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAFTS = Drafts()
words = st.text(st.characters(), max_size=20)  # lone surrogates among them
sources = st.none() | words | st.dictionaries(st.sampled_from(["id", "display_name", "source", "own"]), words)
known = st.fixed_dictionaries(
    {},
    optional={
        "source": sources,
        "icon": st.none() | words,
        "text_color": words,
        "allow_markdown": st.booleans() | st.integers(0, 2),
        "state": st.sampled_from(["partial", "complete", "other"]),
        "targets": st.lists(words | st.integers(), max_size=2),
        "usage": st.none() | st.dictionaries(st.sampled_from(["input_tokens", "own"]), st.integers(0, 9)),
        "build_duration": st.floats() | st.integers(),
        "own": words,
    },
)
CAN = {"source": {"id": "a", "display_name": "b", "source": "c"}, "icon": "Bot", "state": "complete"}


def plain(**fields: Any) -> tuple[bytes, Message] | None:
    given_fields: dict[str, Any] = {
        "text": "t",
        "sender": "s",
        "sender_name": "n",
        "properties": None,
        **fields,
    }
    return DRAFTS.plain(FLOW, "chat", **given_fields)


def long_way(fields: Mapping[str, Any]) -> tuple[bytes, Message]:
    body = encode(NewMessage(**fields))
    return body, decode(body, flow_id=FLOW, session_id="chat", entry=(b"0-0", b"0", body, None))


@given(text=words, sender=words, sender_name=words, properties=st.none() | known)
def test_the_short_way_makes_what_the_long_way_makes(**fields: Any) -> None:
    for _ in range(2):  # the second time it is remembered
        made = plain(**fields)
        if made is None:
            continue
        assert made == long_way(fields)
        assert made[1].properties == long_way(fields)[1].properties


@pytest.mark.parametrize("properties", [None, {}, CAN, {"icon": "Bot"}, {"source": "Agent"}])
def test_what_langflow_sends_takes_the_short_way(properties: dict[str, Any] | None) -> None:
    assert plain(properties=properties) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "\ud800"},
        {"sender": "\ud800"},
        {"sender_name": "a\udfff"},
        {"properties": {"own": 1}},
        {"properties": {"source": {"own": 1}}},
        {"properties": {"icon": 1}},
        {"properties": {"source": Source(id="a")}},
        {"properties": {"icon": "long" * 1_000}},
        {"properties": {"targets": [uuid4()]}},
    ],
)
def test_anything_else_is_left_to_the_long_way(fields: dict[str, Any]) -> None:
    assert plain(**fields) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"allow_markdown": True}, {"allow_markdown": "x"}),
        ({"build_duration": 1}, {"build_duration": "one"}),
        ({"icon": "7"}, {"icon": 7}),
        ({"targets": [1]}, {"targets": [True]}),
        ({"targets": [1]}, {"targets": [1.0]}),
        ({"targets": ["a"]}, {"targets": [b"a"]}),
    ],
)
def test_properties_that_are_alike_are_not_taken_for_each_other(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert plain(properties=one) is not None
    made = plain(properties=other)
    try:
        wanted = long_way({"text": "t", "sender": "s", "sender_name": "n", "properties": other})
    except ValidationError:
        assert made is None
    else:
        assert made == wanted


async def test_messages_of_both_ways_are_the_same_in_a_session(store: SessionStore) -> None:
    said: dict[str, Any] = {"text": "hello", "sender": "Machine", "sender_name": "AI", "session_id": "chat"}
    short = await store.append(FLOW, **said, properties=dict(CAN))
    long = await store.append(FLOW, **said, properties=Properties(**CAN))  # type: ignore[arg-type]

    def content(message: Message) -> dict[str, Any]:
        return {**message.model_dump(), "id": None, "timestamp": None}

    assert content(short) == content(long)
    assert await store.history(FLOW, "chat") == [short, long]


async def test_a_message_said_now_has_the_time_of_now(store: SessionStore) -> None:
    before = datetime.now(UTC)
    message = await store.append(FLOW, text="hello", sender="User", sender_name="Ann")

    assert before <= message.timestamp <= datetime.now(UTC)
    assert message.session_id == FLOW


@pytest.mark.store_options(max_text_bytes=10, max_message_bytes=200)
async def test_limits_hold_on_the_short_way_too(store: SessionStore) -> None:
    fine: dict[str, Any] = {"sender": "User", "sender_name": "Ann"}
    await store.append(FLOW, text="x" * 10, **fine)
    async with nothing_changes(store):
        with pytest.raises(TooLargeError, match="max_text_bytes"):
            await store.append(FLOW, text="x" * 11, **fine)
        with pytest.raises(TooLargeError, match="max_message_bytes"):
            await store.append(FLOW, text="x", sender="User", sender_name="n" * 200)
        with pytest.raises(InvalidInputError, match="session id"):
            await store.append(FLOW, text="x", session_id="\x00", **fine)
        with pytest.raises(InvalidInputError, match=r"properties\.icon"):
            await store.append(FLOW, text="x", properties={"icon": 7}, **fine)


async def test_changing_the_properties_that_were_given_changes_no_later_message(store: SessionStore) -> None:
    properties: dict[str, Any] = {"icon": "Bot", "targets": ["a"]}
    said: dict[str, Any] = {"sender": "User", "sender_name": "Ann", "properties": properties}
    first = await store.append(FLOW, text="1", **said)
    first.properties.targets.append("mine")
    properties["targets"].append("b")
    second = await store.append(FLOW, text="2", **said)

    assert [one.properties.targets for one in await store.history(FLOW, FLOW)] == [["a"], ["a", "b"]]
    assert second.properties.targets == ["a", "b"]
