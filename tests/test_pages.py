"""Pages that are converted at once are the same as their messages, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_sessions import NewMessage
from redis_sessions.body import decode, encode, splice
from redis_sessions.pages import decode_page, splice_page
from tests.support.bodies import NUMBER, US, entry, messages
from tests.support.talk import FLOW

PLAIN = [b"%d-%d" % (US, NUMBER), [b"b", encode(NewMessage(text="a", sender="b", sender_name="c"))]]

ATTACHED = encode(NewMessage(text="a", sender="b", sender_name="c", files=["x"]))


@given(st.lists(messages, min_size=1, max_size=3))
def test_splicing_a_page_is_the_same_as_splicing_its_messages(page: list[NewMessage]) -> None:
    entries = [entry(encode(message), US + place) for place, message in enumerate(page)]
    raw = [[raw_id, [b"b", body]] for raw_id, _, body, _ in entries]

    assert splice_page(FLOW, "chat", raw, (NUMBER,)) == splice(FLOW, "chat", entries[::-1])


@pytest.mark.parametrize(
    "raw",
    [
        [b"%d-5" % US, PLAIN[1]],
        [b"%d-%d" % (US, NUMBER), [b"b", b"{}"]],
        [b"%d-%d" % (US, NUMBER), [b"x", PLAIN[1][1]]],
        [b"%d-%d" % (US, NUMBER), [b"t", b"5", *PLAIN[1]]],
        [b"5-%d" % NUMBER, PLAIN[1]],
        [b"%d0-%d" % (US, NUMBER), PLAIN[1]],
        [b"%d-%d" % (US, NUMBER), [b"b", b"4" + PLAIN[1][1][1:]]],
    ],
    ids=["foreign", "corrupt", "no body", "late", "before 2001", "after 2286", "newer"],
)
def test_a_page_with_anything_unusual_is_not_spliced_at_once(raw: list[Any]) -> None:
    assert splice_page(FLOW, "chat", [PLAIN, raw], (NUMBER,)) is None


@given(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 2**51)), min_size=1, max_size=4))
def test_a_page_of_entries_of_any_length_and_time_is_spliced_as_each_of_them(
    places: list[tuple[int, int]],
) -> None:
    body = PLAIN[1][1]
    entries = [entry(body, US + later, (count << 44) + NUMBER) for count, later in places]
    page = [[raw_id, [b"b", body]] for raw_id, *_ in entries]

    assert splice_page(FLOW, "chat", page, (NUMBER,)) in (None, splice(FLOW, "chat", entries[::-1]))
    if len(entries) <= 2:  # more that differ may add up to what would be the length of equal ones
        assert splice_page(FLOW, "chat", page, (NUMBER,)) is not None


@given(st.lists(messages, max_size=3))
def test_a_page_of_messages_is_what_its_entries_are(page: list[NewMessage]) -> None:
    entries = [entry(encode(message), US + place) for place, message in enumerate(page)]
    raw = [[raw_id, [b"b", body]] for raw_id, _, body, _ in entries]

    assert decode_page(FLOW, "chat", raw, (NUMBER,)) == [
        decode(one[2], flow_id=FLOW, session_id="chat", entry=one) for one in entries[::-1]
    ]


@pytest.mark.parametrize(
    "raw",
    [
        [b"%d-5" % US, PLAIN[1]],
        [b"%d-%d" % (US, NUMBER), [b"b", b"{}"]],
        [b"%d-%d" % (US, NUMBER), [b"b", b'3:\n"a"\x01"b"\nnone\n\n']],
        [b"%d-%d" % (US, NUMBER), [b"b", b'3:\n"a"\x01"b"\n"text"\n"nothing",\n']],
        [b"%d-%d" % (US, NUMBER), [b"b", ATTACHED.replace(rb'"[\"x\"]"', b'"nothing"')]],
        [b"%d-%d" % (US, NUMBER), [b"x", PLAIN[1][1]]],
        [b"%d-%d" % (US, NUMBER), [b"t", b"5", *PLAIN[1]]],
        [b"%d0-%d" % (US, NUMBER), PLAIN[1]],
        [b"%d-%d" % (US, NUMBER), [b"b", b"4:\n1\n2\n3\n4"]],
    ],
    ids=[
        "foreign",
        "older",
        "corrupt text",
        "corrupt middle",
        "corrupt files",
        "no body",
        "late",
        "after 2286",
        "newer",
    ],
)
def test_a_page_with_anything_unusual_is_not_decoded_at_once(raw: list[Any]) -> None:
    assert decode_page(FLOW, "chat", [PLAIN, raw], (NUMBER,)) is None
