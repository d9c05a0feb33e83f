"""What is not ours in a stream of ours: skipped, counted, and logged with key and id, never with its content.

Which entries are corrupt, and that they hide no good one, is in ``test_seen_elsewhere.py``.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redis_sessions import MessageUpdate
from redis_sessions.monitor.metrics import Metrics
from tests.support.talk import FLOW, at, events_of, keys_of, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore

SECRET = b"what somebody wrote by hand"


async def spoil(store: SessionStore, *entries: tuple[str, dict[bytes, bytes]]) -> None:
    raw: Any = store.connection.client
    for entry, fields in entries:
        await raw.xadd(keys_of(store).log("chat"), fields, id=entry)


async def test_a_skipped_entry_is_logged_with_its_key_and_id_and_without_its_content(
    store: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    await say(store, "good", timestamp=at(1))
    await spoil(store, ("9000000000000000-7", {b"b": SECRET}))
    with caplog.at_level(logging.WARNING):
        assert await texts(store) == ["good"]

    [line] = {record.getMessage() for record in caplog.records if "corrupt" in record.getMessage()}
    assert f"key={keys_of(store).log('chat').decode()} entry=9000000000000000-7 reason=foreign" in line
    assert SECRET.decode() not in caplog.text


async def test_a_corrupt_message_is_not_among_the_wanted_ones(
    store: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    good = await say(store, "good", timestamp=at(1))
    await spoil(store, (f"9000000000000000-{good.entry.number}", {b"b": SECRET}))
    with caplog.at_level(logging.WARNING):
        assert await texts(store, sender="User") == ["good"]

    assert (
        f"key={keys_of(store).log('chat').decode()} entry=9000000000000000-{good.entry.number}" in caplog.text
    )
    assert store.counters.corrupt_entries == 1


async def test_the_monitor_counts_skipped_entries(store: SessionStore) -> None:
    await say(store, "good", timestamp=at(1))
    await spoil(store, ("9000000000000000-7", {b"b": SECRET}), ("9000000000000000-8", {b"x": b"y"}))
    metrics = Metrics(store)
    await texts(store)

    answer = await metrics.show(None)  # type: ignore[arg-type]
    assert b"redis_sessions_corrupt_entries_total 2.0" in bytes(answer.body)


async def test_every_operation_on_a_session_goes_on_beside_foreign_entries(store: SessionStore) -> None:
    first = await say(store, "first", timestamp=at(1))
    await spoil(
        store, ("8000000000000000-7", {b"b": SECRET}), ("8000000000000000-8", {b"b": b"", b"i": b"short"})
    )
    second = await say(store, "second", timestamp=at(2))
    await store.update(second.id, MessageUpdate(text="changed"), flow_id=FLOW)
    await store.rename_session(FLOW, "chat", "talk")
    await say(store, "third", "other", timestamp=at(3))
    await store.rename_session(FLOW, "talk", "other")

    assert await texts(store, "other") == ["first", "changed", "third"]
    assert await store.delete_messages([first.id], flow_id=FLOW) == [first.id]
    assert await store.delete_session(FLOW, "other") == 4  # it counts entries


@pytest.mark.parametrize(
    "fields",
    [
        {b"x": b"y"},
        {b"e": b"append", b"s": b"chat"},
        {b"e": b"append", b"s": b"chat", b"i": b"nonsense"},
        {b"e": b"append", b"s": b"chat", b"i": b"1-1:zz"},
        {b"e": b"append", b"s": b"\xff", b"i": b"1-1"},
        {b"e": b"update", b"s": b"chat", b"i": b""},
        {b"e": b"rename", b"s": b"chat"},
        {b"e": b"move", b"s": b"chat", b"old": b"talk"},
        {b"e": b"nothing of ours"},
    ],
)
async def test_a_foreign_event_in_a_feed_ends_no_watch(
    store: SessionStore, fields: dict[bytes, bytes]
) -> None:
    await say(store, "first")
    raw: Any = store.connection.client
    await raw.xadd(keys_of(store).feed, fields)
    await say(store, "second")

    events = await events_of(store, 2)
    assert [event.message and event.message.text for event in events] == ["first", "second"]


_bytes = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"b", b"t", b"i", b"{}", b'{}\n{"sender":"a"', b"1", b"9" * 5_000, b"-1", b"\xc2\xb2"]),
)


@given(
    entries=st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=2**40),
            st.integers(min_value=0, max_value=2**63),
            st.booleans(),
            st.dictionaries(_bytes, _bytes, min_size=1, max_size=3),
        ),
        max_size=6,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.backends("memory", "valkey")
async def test_whatever_lies_in_a_stream_hides_no_good_message(
    store: SessionStore, entries: list[Any]
) -> None:
    session = f"chat {random.getrandbits(64)}"
    good = [await say(store, "1", session, timestamp=at(1))]
    raw: Any = store.connection.client
    for us, seq, ours, fields in sorted(entries, key=lambda entry: entry[:2]):
        number = good[0].entry.number
        entry = f"{good[0].entry.us + us}-{seq // 2**44 * 2**44 + number if ours else seq}"
        try:
            await raw.xadd(keys_of(store).log(session), fields, id=entry)
        except Exception as error:  # noqa: BLE001 - an id that is not above the last
            assert "equal or smaller" in str(error)  # noqa: PT017
    good.append(await say(store, "2", session, timestamp=at(2)))

    assert [message.text for message in await store.history(FLOW, session) if message.id in _ids(good)] == [
        "1",
        "2",
    ]
    shown = await store.history_json(FLOW, session)
    assert sum(message.id.encode() in b"".join(shown) for message in good) == 2
    assert await store.get_many([message.id for message in good], flow_id=FLOW) == good
    assert [message async for message in _paged(store, session) if message.id in _ids(good)] == good[::-1]


def _ids(messages: list[Any]) -> set[str]:
    return {message.id for message in messages}


async def _paged(store: SessionStore, session: str) -> Any:
    before = None
    while page := await store.history(FLOW, session, limit=1, before=before):
        yield page[0]
        before = page[0]


async def test_an_entry_that_every_read_meets_is_counted_each_time_and_logged_once_a_minute(
    store: SessionStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(store, "good", timestamp=at(1))
    await spoil(store, ("9000000000000000-7", {b"b": SECRET}), ("9000000000000000-8", {b"x": b"y"}))
    metrics = Metrics(store)
    await texts(store)
    await texts(store)
    assert len([record for record in caplog.records if "corrupt" in record.getMessage()]) == 2
    monkeypatch.setattr("redis_sessions.entries._AGAIN", 0.0)  # the minute is over
    await texts(store)

    logged = [record for record in caplog.records if "corrupt" in record.getMessage()]
    assert len(logged) == 4
    answer = await metrics.show(None)  # type: ignore[arg-type]
    assert b"redis_sessions_corrupt_entries_total 6.0" in bytes(answer.body)
