from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_sessions import InvalidCursorError, InvalidInputError, MessageNotFoundError, MessageUpdate
from redis_sessions.ids import (
    MARK,
    NUMBER_BITS,
    EntryId,
    address_of,
    canonical,
    draw_number,
    flow_hash,
    from_cursor,
    hash_of,
    to_cursor,
    to_message_id,
)
from tests.support.talk import FLOW, fields, nothing_changes, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore

MAX_COUNTER = 511  # the most entries of one µs, less one (lua/shared/entries.lua)
places = st.builds(
    EntryId, st.integers(0, 2**60 - 1), st.integers(0, (MAX_COUNTER << NUMBER_BITS) | (2**NUMBER_BITS - 1))
)


@given(places)
def test_an_id_is_the_address_of_its_message(place: EntryId) -> None:
    assert address_of(to_message_id(*place)) == place


@given(places, places)
def test_the_text_order_of_ids_is_the_order_of_places(one: EntryId, other: EntryId) -> None:
    assert (to_message_id(*one) < to_message_id(*other)) == (one < other)


@given(places)
def test_every_id_is_a_uuid_of_version_8_with_our_mark(place: EntryId) -> None:
    identity = UUID(to_message_id(*place))
    assert identity.version == 8
    assert identity.variant == "specified in RFC 4122"
    assert identity.int & 0x1FF == MARK


@given(st.uuids(version=4))
def test_a_random_uuid_is_no_address(identity: UUID) -> None:
    assert address_of(str(identity)) is None


@given(places)
def test_a_sequence_is_exact_as_a_float(place: EntryId) -> None:
    assert int(float(place.seq)) == place.seq


@given(st.text(min_size=1))
def test_a_session_number_begins_with_the_hash_of_its_flow(flow: str) -> None:
    flow = flow.encode("utf-8", "replace").decode()
    number = draw_number(flow)
    assert hash_of(number) == flow_hash(flow)
    assert number < 2**NUMBER_BITS
    assert number >> 28 == flow_hash(flow)
    assert number & (2**28 - 1)


def test_the_hash_of_a_flow_is_what_it_was() -> None:
    """Ids that are stored begin with it."""
    assert flow_hash("f4c7ae2e-1f73-4ec1-9a4d-2f0a3f6b2a11") == 0x2CF3


def test_no_session_has_the_number_0_in_its_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbits", lambda bits: 0)
    assert draw_number(FLOW) & (2**28 - 1)


@given(st.integers(0, 2**60 - 1), places)
def test_a_cursor_is_a_time_and_a_place(time: int, place: EntryId) -> None:
    time = min(time, place.us)
    assert from_cursor(to_cursor(time, place)) == (time, place)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        time, place = from_cursor(text)
    except InvalidCursorError:
        return
    assert to_cursor(time, place) == text


@pytest.mark.parametrize("added", ["!", " ", "\n", "=", "+"])
def test_a_cursor_that_something_was_added_to_is_refused(added: str) -> None:
    cursor = to_cursor(1, EntryId(2, 3))
    with pytest.raises(InvalidCursorError):
        from_cursor(cursor[:5] + added + cursor[5:])


@pytest.mark.parametrize(("time", "place"), [(0, (1 << 60, 0)), (0, (0, 1 << 53)), (1, (0, 0))])
def test_a_cursor_to_where_no_message_can_be_is_refused(time: int, place: tuple[int, int]) -> None:
    with pytest.raises(InvalidCursorError):
        from_cursor(to_cursor(time, EntryId(*place)))


@pytest.mark.parametrize(("time", "place"), [((1 << 60) - 1, ((1 << 60) - 1, (1 << 53) - 1)), (0, (0, 0))])
def test_a_cursor_to_the_ends_of_time_is_taken(time: int, place: tuple[int, int]) -> None:
    assert from_cursor(to_cursor(time, EntryId(*place))) == (time, EntryId(*place))


def test_of_the_uuids_of_version_8_only_those_with_our_mark_and_variant_are_ours() -> None:
    ours = "01234567-89ab-8def-8123-456789abcd67"

    assert address_of(ours) is not None
    assert address_of("01234567-89ab-8def-c123-456789abcd67") is None
    assert address_of("01234567-89ab-8def-8123-456789abcd68") is None


@pytest.mark.parametrize(
    "identity", ["", "x", "1526919030474-55", "0" * 31, "0" * 33, "{}", "é" * 32, None, 5]
)
def test_what_is_no_uuid_is_no_message_id(identity: object) -> None:
    with pytest.raises(InvalidInputError):
        canonical(identity)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [str, lambda u: u.hex, lambda u: str(u).upper(), lambda u: f"{{{u}}}", UUID])
def test_every_spelling_of_a_uuid_is_the_same_id(form: object) -> None:
    identity = uuid4()
    spelled = identity if form is UUID else form(identity)  # type: ignore[operator]

    assert canonical(spelled) == str(identity)


def colliding_flows() -> tuple[str, str]:
    """Two flows whose hashes are the same."""
    seen: dict[int, str] = {}
    for number in itertools.count():
        flow = f"flow {number}"
        if (other := seen.setdefault(flow_hash(flow), flow)) != flow:
            return other, flow
    raise AssertionError


async def test_messages_are_told_apart_in_flows_whose_hashes_collide(store: SessionStore) -> None:
    one, two = colliding_flows()
    first, second = await say(store, "1", flow=one), await say(store, "2", flow=two)
    await store.update(second.id, MessageUpdate(text="two"))

    assert await texts(store, flow=one) == ["1"]
    assert await texts(store, flow=two) == ["two"]
    assert await store.get_many([second.id, first.id]) == [
        (await store.history(two, "chat"))[0],
        first,
    ]
    assert await store.delete_messages([second.id]) == [second.id]
    assert await store.get(first.id) == first


async def test_an_id_whose_flow_hash_is_of_another_flow_is_adopted_and_found(store: SessionStore) -> None:
    await say(store, flow="other")
    identity = to_message_id(1, draw_number("other"))
    message = await say(store, id=identity)

    assert message.id == identity
    assert await store.get(identity) == message


async def test_an_adopted_message_has_no_second_id(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    by_place = to_message_id(*message.entry)

    assert await store.get(by_place) is None
    assert await store.delete_messages([by_place]) == []
    assert await store.history(FLOW, "chat") == [message]


async def test_a_moved_message_is_found_by_its_id_alone(store: SessionStore) -> None:
    message = await say(store)
    await say(store, flow="other")
    for session in ("one", "two"):
        await store.update(message.id, MessageUpdate(session_id=session))
        assert fields(await store.get(message.id)) == fields(message, session_id=session)


async def test_a_moved_message_is_found_after_renames(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    await say(store)
    await store.update(message.id, MessageUpdate(session_id="one"))
    await store.rename_session(FLOW, "chat", "three")
    await store.rename_session(FLOW, "one", "two")

    assert fields(await store.get(message.id)) == fields(message, session_id="two")


async def test_an_id_of_another_store_is_not_found(store: SessionStore) -> None:
    await say(store)
    strange = to_message_id(1_700_000_000_000_000, draw_number(FLOW))
    async with nothing_changes(store):
        for identity in (strange, str(uuid4()), str(UUID(int=0)), str(UUID(int=2**128 - 1))):
            assert await store.get(identity) is None
            assert await store.delete_messages([identity]) == []
            with pytest.raises(MessageNotFoundError):
                await store.update(identity, MessageUpdate(text="new"))


async def test_ids_of_many_flows_are_found_among_many(store: SessionStore) -> None:
    stored = [await say(store, flow=f"flow {n}", id=uuid4() if n % 2 else None) for n in range(30)]

    assert await store.get_many([message.id for message in stored]) == stored
