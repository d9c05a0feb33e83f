"""What scripts do when things are not as their caller read them: asked directly, as a caller would be late.

The store's own looks at a session, a moment before, would notice most of it in their stead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import Transaction, VertexBuild, WrongTypeError
from redis_sessions.entries import Record
from redis_sessions.ids import EntryId, draw_number, to_raw
from redis_sessions.scripting import StaleError
from tests.support.talk import FLOW, all_keys, at, dump, keys_of, nothing_changes, say, texts
from tests.test_watch import check_feed, fill_feed

if TYPE_CHECKING:
    from redis_sessions import Message, SessionStore
    from redis_sessions.scripting import Removed
    from tests.conftest import Backend


# --- move_message -----------------------------------------------------------------------------------


async def move(store: SessionStore, message: Message, expected: bytes, **changes: Any) -> None:
    """Take a message of the session ``chat``, as it was read, to the session ``other``."""
    parts = store._parts
    values = {
        "expected": expected,
        "body": expected,
        "message_id": to_raw(message.id),
        "timestamp_us": message.entry.us,
        "born": False,
        **changes,
    }
    attempt = parts.calls.begin()
    await parts.scripts.move_message(
        keys_of(store), "chat", "other", message.entry, **values, attempt=attempt
    )


async def body_of(store: SessionStore, backend: Backend, message: Message) -> bytes:
    place = str(message.entry)
    [(_, fields)] = await backend.raw(store).xrange(keys_of(store).log(message.session_id), place, place)
    return bytes(fields[b"b"])


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("its number names another session", "MOVED"),
        ("it is gone", "MISSING"),
        ("its content is another", "CHANGED"),
        ("the wanted session has expired", "EXPIRED"),
        ("the wanted session is another one", "MOVED"),
        ("the wanted session went", "MOVED"),
        ("the number of the new session is taken", "MOVED"),
    ],
)
async def test_a_message_is_not_moved_where_something_changed_since(
    store: SessionStore, backend: Backend, what: str, status: str
) -> None:
    message, kept = await say(store, timestamp=at(1)), await say(store, timestamp=at(2))
    there = await say(store, session="other")
    expected = await body_of(store, backend, message)
    raw, keys = backend.raw(store), keys_of(store)
    asked: dict[str, Any] = {"new_number": there.entry.number}
    match what:
        case "its number names another session":
            await raw.hset(keys.ids, f"n{message.entry.number}", "elsewhere")
        case "it is gone":
            await store.delete_messages([message.id])
        case "its content is another":
            expected += b" "
        case "the wanted session has expired":
            await raw.delete(keys.log("other"))
        case "the wanted session is another one":
            asked["new_number"] = draw_number(FLOW)
        case "the wanted session went":
            await store.delete_session(FLOW, "other")
        case "the number of the new session is taken":
            await store.delete_session(FLOW, "other")
            asked = {"new_number": kept.entry.number, "born": True}

    async with nothing_changes(store):
        with pytest.raises(StaleError, match=status):
            await move(store, message, expected, **asked)


@pytest.mark.parametrize(
    "kind", ["aliases", "feed", "sessions", "edits", "new_edits", "adopted", "new_adopted"]
)
async def test_where_a_key_holds_something_else_a_message_is_not_moved(
    store: SessionStore, backend: Backend, kind: str
) -> None:
    message, _, there = await say(store), await say(store), await say(store, session="other")
    expected = await body_of(store, backend, message)
    raw, keys = backend.raw(store), keys_of(store)
    key = {
        "edits": keys.edits("chat"),
        "new_edits": keys.edits("other"),
        "adopted": keys.adopted(message.entry.number),
        "new_adopted": keys.adopted(there.entry.number),
    }.get(kind) or getattr(keys, kind)
    await raw.delete(key)
    await raw.set(key, "something else")

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await move(store, message, expected, new_number=there.entry.number)


# --- forget_session ---------------------------------------------------------------------------------


async def forget(store: SessionStore, backend: Backend, session: str = "chat") -> Removed | None:
    """Drop a session whose log has expired, by the numbers of its record."""
    raw, keys, parts = backend.raw(store), keys_of(store), store._parts
    numbers = Record.parse(await raw.hget(keys.ids, b"s" + session.encode())).numbers
    await raw.delete(keys.log(session))
    return await parts.scripts.forget_session(keys, session, numbers, attempt=parts.calls.begin())


async def test_all_numbers_of_an_expired_session_are_dropped_with_their_adopted_ids(
    store: SessionStore, backend: Backend
) -> None:
    for session in ("one", "two", "chat"):
        await say(store, session=session, id=uuid4())
    await say(store, "kept", "other")
    await store.rename_session(FLOW, "one", "chat")
    await store.rename_session(FLOW, "two", "chat")
    await forget(store, backend)

    keys = keys_of(store)
    assert not [key for key in await all_keys(store) if key == keys.aliases or b":adopted:" in key]
    assert len(await backend.raw(store).hkeys(keys.ids)) == 2


@pytest.mark.store_options(feed_max_events=100)
async def test_forgetting_a_session_keeps_the_feed_from_growing_and_from_expiring(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    await say(store, session="other")
    await fill_feed(backend.raw(store), keys_of(store).feed)
    await forget(store, backend)

    await check_feed(backend.raw(store), keys_of(store).feed)


@pytest.mark.parametrize("left", ["a build", "a transaction"])
async def test_a_flow_that_has_something_else_stays_its_owners_when_its_last_session_is_forgotten(
    store: SessionStore, backend: Backend, left: str
) -> None:
    await say(store, owner="ann")
    if left == "a build":
        await store.put_build(VertexBuild(flow_id=FLOW, id="v", valid=True))
    else:
        await store.add_transaction(Transaction(flow_id=FLOW, vertex_id="v", status="success"))
    removed = await forget(store, backend)

    assert removed is not None
    assert removed.emptied is None
    assert await store.owner(FLOW) == "ann"


async def test_a_number_that_leads_to_another_session_is_left_to_that_one(
    store: SessionStore, backend: Backend
) -> None:
    kept = await say(store, "kept", "other", id=uuid4())
    gone = await say(store)
    raw, keys = backend.raw(store), keys_of(store)
    record = f"{gone.entry.number},{kept.entry.number}|0|0"
    await raw.hset(keys.ids, "schat", record)
    await forget(store, backend)

    assert await texts(store, "other") == ["kept"]
    assert await store.get(kept.id) == kept
    assert await raw.exists(keys.adopted(kept.entry.number))


async def test_a_number_that_leads_nowhere_is_dropped_with_the_session(
    store: SessionStore, backend: Backend
) -> None:
    message = await say(store, id=uuid4())
    await say(store, "kept", "other")
    raw, keys = backend.raw(store), keys_of(store)
    await raw.hdel(keys.ids, f"n{message.entry.number}")
    await forget(store, backend)

    assert not await raw.exists(keys.adopted(message.entry.number), keys.aliases)


@pytest.mark.parametrize("kind", ["edits", "aliases", "sessions", "adopted", "feed"])
async def test_where_a_key_holds_something_else_a_session_is_not_forgotten(
    store: SessionStore, backend: Backend, kind: str
) -> None:
    message = await say(store, id=uuid4())
    await say(store, "kept", "other")
    raw, keys = backend.raw(store), keys_of(store)
    key = {"edits": keys.edits("chat"), "adopted": keys.adopted(message.entry.number)}.get(kind)
    key = key or getattr(keys, kind)
    await raw.delete(key, keys.log("chat"))
    await raw.set(key, "something else")

    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await forget(store, backend)


async def test_a_session_that_is_another_one_now_is_not_forgotten(store: SessionStore) -> None:
    await say(store)
    parts = store._parts
    before = await dump(store)
    numbers = [draw_number(FLOW)]

    assert (
        await parts.scripts.forget_session(keys_of(store), "chat", numbers, attempt=parts.calls.begin())
        is None
    )
    assert await dump(store) == before


# --- delete_session ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1_000, 1_001])
async def test_over_a_thousand_adopted_ids_are_left_for_further_steps_and_a_day(
    store: SessionStore, backend: Backend, count: int
) -> None:
    number = (await say(store)).entry.number
    await say(store, "kept", "other")
    raw, keys, parts = backend.raw(store), keys_of(store), store._parts
    await raw.sadd(keys.adopted(number), *(uuid4().bytes for _ in range(count)))
    removed = await parts.scripts.delete_session(keys, "chat", [number], attempt=parts.calls.begin())

    assert removed.leaves_adopted == (count > 1_000)
    assert await raw.exists(keys.adopted(number)) == removed.leaves_adopted
    if removed.leaves_adopted:
        assert 86_000_000 < await raw.pttl(keys.adopted(number)) <= 86_400_000


# --- drop_adopted and set_owner -----------------------------------------------------------------------


async def test_adopted_ids_of_a_session_that_is_gone_are_dropped_but_for_those_adopted_again(
    store: SessionStore, backend: Backend
) -> None:
    again = await say(store, "kept", "other", id=uuid4())
    number, raw, keys, parts = draw_number(FLOW), backend.raw(store), keys_of(store), store._parts
    dead = [uuid4().bytes for _ in range(2_500)]
    await raw.sadd(keys.adopted(number), to_raw(again.id), *dead)
    await raw.hset(keys.aliases, mapping=dict.fromkeys(dead, f"1-{number}"))
    await parts.scripts.drop_adopted(keys, number, attempt=parts.calls.begin())

    assert not await raw.exists(keys.adopted(number))
    assert await raw.hkeys(keys.aliases) == [to_raw(again.id)]
    assert await store.get(again.id) == again


async def test_adopted_ids_of_a_number_that_is_a_sessions_are_kept(store: SessionStore) -> None:
    message, parts = await say(store, id=uuid4()), store._parts
    async with nothing_changes(store):
        await parts.scripts.drop_adopted(keys_of(store), message.entry.number, attempt=parts.calls.begin())


async def test_an_owner_that_is_another_than_was_read_stays(store: SessionStore) -> None:
    await say(store, owner="ann")
    parts = store._parts
    async with nothing_changes(store):
        with pytest.raises(StaleError, match="CHANGED"):
            await parts.scripts.set_owner(keys_of(store), "ben", "cleo", attempt=parts.calls.begin())


# --- add_transaction --------------------------------------------------------------------------------


async def add(store: SessionStore, name: int, *, again: bool) -> None:
    """Note a transaction of this name; ``again``: an earlier attempt may have been carried out."""
    parts = store._parts
    attempt = parts.calls.begin()
    if again:
        attempt.may_have_happened()
    identity, now_us = name.to_bytes(16), int(time.time() * 1e6)
    await parts.scripts.add_transaction(
        keys_of(store),
        identity,
        now_us,
        b"{}",
        max_transactions=1_000,
        owner="",
        registered=True,
        attempt=attempt,
    )


@pytest.mark.parametrize("others", [0, 1, 99, 100, 150])
async def test_a_transaction_that_an_earlier_attempt_has_added_is_not_added_again(
    store: SessionStore, backend: Backend, others: int
) -> None:
    for name in range(others + 1):
        await add(store, name, again=False)
    await add(store, 0, again=True)
    assert await backend.raw(store).xlen(keys_of(store).transactions) == others + 1
    await add(store, 1_000, again=True)
    assert await backend.raw(store).xlen(keys_of(store).transactions) == others + 2


async def test_where_transactions_are_something_else_no_owner_is_registered(
    store: SessionStore, backend: Backend
) -> None:
    await backend.raw(store).set(keys_of(store).transactions, "something else")
    async with nothing_changes(store):
        with pytest.raises(WrongTypeError):
            await store.add_transaction(
                Transaction(flow_id=FLOW, vertex_id="v", status="success"), owner="ann"
            )


# --- delete_transactions ----------------------------------------------------------------------------


async def test_transactions_that_others_have_removed_take_no_owner_along(store: SessionStore) -> None:
    await store.set_owner(FLOW, "ann")
    parts = store._parts
    async with nothing_changes(store):
        await parts.scripts.delete_transactions(keys_of(store), [EntryId(1, 1)], attempt=parts.calls.begin())
