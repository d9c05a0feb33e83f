"""Shortening loses nothing, and its marks mean for ever what they mean."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_sessions.body import encode
from redis_sessions.layout import (
    FRAGMENTS,
    SHOWN,
    assemble,
    expand_end,
    expand_head,
    expand_middle,
    from_object,
    members,
    shorten_end,
    shorten_head,
    shorten_middle,
)
from tests.test_body import messages

if TYPE_CHECKING:
    from redis_sessions import NewMessage

PIECES = [fragment for _, fragment in FRAGMENTS]
text = st.lists(st.sampled_from(PIECES) | st.text(max_size=5).map(lambda one: json.dumps(one).encode())).map(
    b"".join
)


def test_every_mark_is_a_byte_that_json_text_has_not() -> None:
    marks = [mark for mark, _ in FRAGMENTS]

    assert len(set(marks)) == len(marks)
    for mark, fragment in FRAGMENTS:
        assert len(mark) == 1
        assert mark < b" "
        assert mark not in b"\t\n\r"
        assert min(fragment) >= ord(" ")


def test_the_marks_are_what_they_were() -> None:
    """Bodies that are stored already have these: what is added to them is a new format."""
    digest = hashlib.sha256(repr(FRAGMENTS).encode()).hexdigest()
    assert digest == "87740f768de26065199008088a2f81d717f801196b516789896135eba5bcdfed"


@given(text)
def test_a_shortened_line_is_put_back(line: bytes) -> None:
    assert expand_middle(shorten_middle(line)) == line or line == b""
    assert expand_end(shorten_end(line)) == line or line == b""
    with_context = line + b',"context_id":null'
    assert expand_head(shorten_head(with_context)) == with_context


@given(messages)
def test_the_members_of_a_body_are_what_it_is_made_of(message: NewMessage) -> None:
    body = encode(message)
    found = members(body)
    rest = body[2 : body.index(b"\n")] or b"{}"

    assert tuple(found) == SHOWN
    assert assemble(rest, found) == body
    whole = json.dumps({name: json.loads(bytes(value)) for name, value in found.items()})
    assert members(from_object(rest, whole.encode()) or b"").keys() == found.keys()


@pytest.mark.parametrize("shown", [b"", b"{}", b"[]", b'{"sender":"a"}', b'{"sender":"a"', b"null"])
def test_what_is_no_message_has_no_body(shown: bytes) -> None:
    assert from_object(b"{}", shown) is None
