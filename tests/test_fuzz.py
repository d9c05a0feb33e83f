"""Whatever bytes there are, a decoder gives its result or its own error."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from redis_sessions.body import CorruptEntryError, decode, encode, revise, splice
from redis_sessions.calls import Counters
from redis_sessions.changes import changes_of
from redis_sessions.entries import Entries, Record
from redis_sessions.errors import (
    ConfigurationError,
    InvalidCursorError,
    InvalidInputError,
    UnsupportedFormatError,
    WrongTypeError,
)
from redis_sessions.ids import EntryId, address_of, canonical, from_cursor, to_cursor, to_message_id
from redis_sessions.keys import Keys
from redis_sessions.models import NewMessage, Properties
from redis_sessions.pages import decode_page, splice_page
from redis_sessions.server import parse_version
from redis_sessions.urls import parse_url

NUMBER = 5 << 28 | 7
RECORD = Record((NUMBER,), 0, 0)
SECRET = "hunter2secret"
SOUND = encode(
    NewMessage(
        text="hello",
        sender="User",
        sender_name="Ann",
        files=["a"],
        error=True,
        properties=Properties.model_validate({"source": {"id": "x", "more": 1}}),
        content_blocks=[{"title": "t", "contents": [{"type": "text", "text": "hi"}]}],
        session_metadata={"a": [1, None]},
    )
)

digits = st.sampled_from(
    [b"0", b"1", b"1700000000000000", b"9" * 16, b"9" * 17, b"9" * 5_000, b"-1", b"", b"\xb2"]
)
values = st.one_of(st.binary(max_size=60), digits, st.just(SOUND))
names = st.one_of(st.sampled_from([b"b", b"t", b"i", b"e", b"s", b"x", b"j", b"old"]), st.binary(max_size=3))
entry_ids = st.builds(
    lambda us, seq: b"%d-%d" % (us, seq),
    st.one_of(st.integers(0, 2**64 - 1), st.integers(10**15, 2 * 10**15)),
    st.one_of(st.integers(0, 2**64 - 1), st.just(NUMBER)),
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A sound body with some bytes changed, cut out or put in."""
    body = bytearray(SOUND)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(body)


@given(st.one_of(spoiled(), st.binary(max_size=200)))
@example(SOUND)
@example(b"{}\n" + b"[" * 100_000)
@example(SOUND.replace(b'"hello"', b"[" * 100_000))
def test_a_body_is_a_message_or_corrupt(body: bytes) -> None:
    with contextlib.suppress(CorruptEntryError, UnsupportedFormatError):
        message = decode(body, flow_id="f", session_id="s", entry=(b"1-%d" % NUMBER, b"1", body, None))
        message.model_dump(mode="json")
        assert "hello" not in repr(message)


@given(st.one_of(spoiled(), st.binary(max_size=200)))
def test_a_body_is_shown_or_left_out(body: bytes) -> None:
    shown = None
    with contextlib.suppress(UnsupportedFormatError):
        [shown] = splice("f", "s", [(b"1-%d" % NUMBER, b"1", body, None)])
    assert shown is None or shown.startswith(b'{"id":"')


@given(st.lists(st.tuples(entry_ids, st.lists(st.tuples(names, values), min_size=1, max_size=3)), max_size=4))
def test_entries_are_ours_or_reported(raw: list[Any]) -> None:
    raw = [[entry, [part for pair in pairs for part in pair]] for entry, pairs in raw]
    counters = Counters()
    found = Entries(counters).ours(raw, RECORD, b"log")

    assert len(found) + counters.corrupt_entries == len(raw)
    for entry in found:
        assert entry.place.number == NUMBER
        assert UUID(entry.message_id)
        assert 0 <= entry.at <= entry.place.us
    splice_page("f", "s", raw, RECORD.numbers)
    with contextlib.suppress(UnsupportedFormatError):
        page = decode_page("f", "s", raw, RECORD.numbers)
        assert page is None or page == Entries(counters).to_messages(Keys("rs").flow("f"), "s", found[::-1])
    with contextlib.suppress(UnsupportedFormatError):
        splice("f", "s", found)


@given(
    st.one_of(
        st.binary(max_size=40), st.from_regex(rb"[0-9,]{0,20}\|[0-9]{0,20}\|[0-9]{0,20}", fullmatch=True)
    )
)
@example(b"1|2|" + b"9" * 5_000)
def test_a_record_is_one_or_another_type(text: bytes) -> None:
    with contextlib.suppress(WrongTypeError):
        record = Record.parse(text)
        assert record.numbers
        assert record.lateness >= 0


@given(entry_ids, st.lists(st.tuples(names, values), max_size=6))
@example(b"1-1", [(b"e", b"append"), (b"i", b"1-1:00")])
@example(b"1-1", [(b"e", b"append"), (b"s", b"s"), (b"i", b"1-1:" + b"0" * 32)])
def test_an_event_is_ours_or_refused_in_one_way(entry: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    with contextlib.suppress(KeyError, ValueError):
        changes_of("f", entry, [part for pair in pairs for part in pair])


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[A-Za-z0-9_=-]{32}", fullmatch=True)))
def test_a_cursor_is_ours_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidCursorError):
        at, place = from_cursor(text)
        assert to_cursor(at, place) == text


@given(st.integers(0, 2**60 - 1), st.integers(0, 2**53 - 1))
def test_an_id_is_its_address(us: int, seq: int) -> None:
    message_id = to_message_id(us, seq)
    assert canonical(message_id) == message_id
    assert address_of(message_id) == EntryId(us, seq)


@given(st.one_of(st.text(max_size=40), st.uuids().map(str), st.uuids().map(lambda uuid: uuid.urn)))
def test_an_id_is_canonical_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        address_of(canonical(text))


urls = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}://{}{}{}{}".format,
        st.sampled_from(
            [
                "redis",
                "rediss",
                "valkey",
                "redis+sentinel",
                "redis+cluster",
                "unix",
                "memory",
                "embedded",
                "http",
            ]
        ),
        st.sampled_from(["", f"user:{SECRET}@", f":{SECRET}%zz@", f"{SECRET}@", f"a:b:{SECRET}@"]),
        st.text(alphabet="ab.:,[]%/@0123456789 é\x00", max_size=20),
        st.sampled_from(["", "/", "/0", "/x", "//", "/9" * 50, "/" + "9" * 5_000]),
        st.one_of(st.just(""), st.text(alphabet="?&=#db0ssl_cert_reqs%+", max_size=20)),
    ),
)


@given(urls)
@example("redis://[")
@example("redis://h:999999")
@example("redis://h/²")
@example("redis://" + "h," * 1_000)
def test_a_url_is_a_location_or_a_configuration_error(url: str) -> None:
    try:
        location = parse_url(url)
    except ConfigurationError as error:
        assert SECRET not in str(error)  # noqa: PT017
        return
    if "@" in url and location.kind not in ("memory", "embedded"):  # whose URLs have no user
        assert SECRET not in location.safe_url
    assert all(1 <= port <= 65_535 for _, port in location.hosts)


@given(st.binary(max_size=60))
@example(b"redis_version:7.0")
@example(b"redis_version:" + b"9" * 5_000 + b".1")
def test_any_info_has_a_version_or_none(info: bytes) -> None:
    version = parse_version(info)
    assert version is None or len(version) == 2


@pytest.mark.parametrize("value", ["é" * 10, "\ud800", "\x00", '"\n,"context_id":', "{}\n"])
def test_what_texts_hold_never_breaks_the_layout(value: str) -> None:
    body = encode(NewMessage(text=value, sender=value, sender_name=value, context_id=value, category=value))
    [shown] = splice("f", "s", [(b"1-%d" % NUMBER, b"1", body, None)])
    assert shown is not None
    assert json.loads(shown)["text"] == value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


texts = st.text(st.characters(), max_size=12)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
contents = st.fixed_dictionaries(
    {"text": texts, "sender": texts, "sender_name": texts},
    optional={
        "category": texts,
        "context_id": texts,
        "files": st.lists(texts, max_size=2),
        "session_metadata": st.dictionaries(texts, json_values, max_size=2),
        "content_blocks": st.lists(st.dictionaries(texts, json_values, max_size=2), max_size=2),
        "properties": st.dictionaries(st.sampled_from(["source", "x", "state"]), json_values, max_size=2),
        "duration": st.floats(),
    },
)


@given(contents, contents)
def test_what_is_stored_is_shown_as_json(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    """A page is spliced of bodies, and none is decoded: so every body that is ever written is JSON."""
    try:
        body = encode(NewMessage(**fields))
        message = decode(body, flow_id="f", session_id="s", entry=(b"1-%d" % NUMBER, b"1", body, None))
        kept = {
            name: value for name, value in changes.items() if name not in ("properties", "content_blocks")
        }
        bodies = [body, revise(body, message, kept)]
    except (InvalidInputError, CorruptEntryError, ValidationError):  # refused before it is sent
        return
    for one in bodies:
        [shown] = splice("f", "s", [(b"1-%d" % NUMBER, b"1", one, None)])
        assert shown is not None
        json.loads(shown.decode())
        page = splice_page("f", "s", [(b"1700000000000000-%d" % NUMBER, (b"b", one))], {NUMBER})
        assert page is not None
        json.loads(page[0].decode())
