from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate, SessionNotFoundError
from tests.support import wait_until
from tests.support.talk import FLOW, all_keys, dump, keys_of, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore

HOUR = timedelta(hours=1)
HOUR_MS = 3_600_000
with_ttl = pytest.mark.store_options(ttl=HOUR)


async def left(store: SessionStore, session: str = "chat") -> int:
    """Milliseconds that a session's log has left; negative: for ever."""
    return int(await store.connection.client.pttl(keys_of(store).log(session)))


async def expire(store: SessionStore, *sessions: str) -> None:
    """Let what expires of these sessions expire now, but for their adopted ids, which stay a week longer."""
    raw = store.connection.client
    for session in sessions:
        for key in (keys_of(store).log(session), keys_of(store).edits(session)):
            await raw.delete(key)


@with_ttl
async def test_every_key_of_a_session_has_a_time_to_live(store: SessionStore, backend: Backend) -> None:
    message = await say(store, id=uuid4())
    await store.update(message.id, MessageUpdate(text="new"))
    raw = backend.raw(store)

    of_session = [key for key in await all_keys(store) if key.endswith(b":chat") or b":adopted:" in key]
    assert len(of_session) == 3
    assert min([await raw.pttl(key) for key in of_session]) > 3_500_000


@with_ttl
async def test_edits_live_a_minute_longer_than_their_session_and_adopted_ids_a_week(
    store: SessionStore, backend: Backend
) -> None:
    message = await say(store, id=uuid4())
    await store.update(message.id, MessageUpdate(text="new"))
    [adopted] = [key for key in await all_keys(store) if b":adopted:" in key]
    of_session = await left(store)

    assert 50_000 < await backend.raw(store).pttl(keys_of(store).edits("chat")) - of_session <= 60_000
    week = 7 * 24 * HOUR_MS
    assert week - 10_000 < await backend.raw(store).pttl(adopted) - of_session <= week


@with_ttl
@pytest.mark.backends("memory", "valkey")
@pytest.mark.parametrize("gone", ["9", "90", "8", "0", "54", "987654", "9876543210", ""])
@pytest.mark.parametrize(("limit", "offset"), [(2, 5), (3, 4), (8, 0), (1, 6)])
async def test_pages_of_sessions_count_those_only_that_have_not_expired(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, gone: str, limit: int, offset: int
) -> None:
    monkeypatch.setattr("redis_sessions.history._NAMES", 3)
    for number in range(10):
        await say(store, session=str(number))
    await expire(store, *gone)

    left = [name for name in "9876543210" if name not in gone]
    assert await store.sessions(FLOW, limit=limit, offset=offset) == left[offset : offset + limit]


@with_ttl
@pytest.mark.parametrize("verb", ["append", "update", "delete", "rename", "move here", "move away", "merge"])
async def test_a_session_lives_on_from_its_last_write(
    store: SessionStore, backend: Backend, verb: str
) -> None:
    first, message = await say(store, id=uuid4()), await say(store)
    other = await say(store, session="other")
    await store.update(message.id, MessageUpdate(text="edited"))
    raw, keys = backend.raw(store), keys_of(store)
    for key in (keys.log("chat"), keys.edits("chat"), keys.log("other")):
        await raw.pexpire(key, 90_000)
    session = "chat"
    match verb:
        case "append":
            await say(store)
        case "update":
            await store.update(message.id, MessageUpdate(text="newer"))
        case "delete":
            await store.delete_messages([first.id])
        case "rename":
            session = "talk"
            await store.rename_session(FLOW, "chat", session)
        case "move here":
            await store.update(other.id, MessageUpdate(session_id="chat"))
        case "move away":
            await store.update(first.id, MessageUpdate(session_id="other"))
        case "merge":
            session = "other"
            await store.rename_session(FLOW, "chat", session)

    assert HOUR_MS - 60_000 < await left(store, session) <= HOUR_MS
    assert await raw.pttl(keys.edits(session)) >= await left(store, session)


@with_ttl
async def test_reading_does_not_keep_a_session_alive(store: SessionStore, backend: Backend) -> None:
    message = await say(store)
    await backend.raw(store).pexpire(keys_of(store).log("chat"), 90_000)
    await store.history(FLOW, "chat")
    await store.get(message.id)
    await store.sessions(FLOW)

    assert await left(store) <= 90_000


async def test_without_a_time_to_live_a_session_stays(store: SessionStore) -> None:
    message = await say(store)
    await store.update(message.id, MessageUpdate(text="new"))

    assert await left(store) == -1


async def test_a_writer_without_a_time_to_live_leaves_that_of_others(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    mortal = await make_store(ttl=HOUR)
    message = await say(mortal)
    await store.update(message.id, MessageUpdate(text="new"))
    await say(store)

    assert 0 < await left(store) <= HOUR_MS
    assert await backend.raw(store).pttl(keys_of(store).edits("chat")) > 0


async def test_an_id_that_a_writer_without_a_time_to_live_brings_goes_with_the_session(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    await say(await make_store(ttl=HOUR))
    await say(store, id=uuid4())

    [adopted] = [key for key in await all_keys(store) if b":adopted:" in key]
    assert await backend.raw(store).pttl(adopted) > HOUR_MS


@pytest.mark.store_options(ttl=timedelta(milliseconds=50))
async def test_a_session_goes_when_its_time_has_passed(store: SessionStore) -> None:
    message = await say(store)

    async def is_gone() -> bool:
        return not await store.history(FLOW, "chat")

    await wait_until(is_gone)
    assert await store.get(message.id) is None
    assert await store.recent(FLOW) == []
    assert await store.sessions(FLOW) == []
    assert await store.flows() == []


@with_ttl
async def test_names_of_expired_sessions_are_not_listed(store: SessionStore) -> None:
    for number in range(6):
        await say(store, session=f"s{number}")
    await expire(store, "s5", "s3", "s0")

    assert await store.sessions(FLOW, limit=2) == ["s4", "s2"]
    assert await store.sessions(FLOW) == ["s4", "s2", "s1"]


@with_ttl
async def test_pages_behind_expired_sessions_are_exact(store: SessionStore) -> None:
    for number in range(6):
        await say(store, session=f"s{number}")
    await expire(store, "s5", "s3")

    assert await store.sessions(FLOW, limit=2, offset=2) == ["s1", "s0"]


@with_ttl
async def test_listing_drops_all_that_an_expired_session_left(store: SessionStore, backend: Backend) -> None:
    await say(store, session="kept")
    identity = (await say(store, id=uuid4())).id
    await expire(store, "chat")
    await store.sessions(FLOW)

    raw, keys = backend.raw(store), keys_of(store)
    assert await raw.hget(keys.ids, "schat") is None
    assert await raw.zscore(keys.sessions, "chat") is None
    assert not await raw.exists(keys.aliases)
    assert not [key for key in await all_keys(store) if b":adopted:" in key]
    again = await say(store, id=identity)
    assert await store.get(identity) == again


@with_ttl
async def test_an_expired_session_starts_afresh(store: SessionStore) -> None:
    old = await say(store, "old")
    await store.update(old.id, MessageUpdate(text="edited"))
    await expire(store, "chat")
    new = await say(store, "new", timestamp=old.timestamp)

    assert await store.history(FLOW, "chat") == [new]
    assert new.id != old.id
    assert await store.get(old.id) is None


@with_ttl
async def test_a_session_is_renamed_onto_an_expired_one(store: SessionStore) -> None:
    await say(store, "old", "expired")
    await say(store, "new")
    await expire(store, "expired")

    assert (await store.rename_session(FLOW, "chat", "expired")).outcome == "renamed"
    assert await texts(store, "expired") == ["new"]


@with_ttl
async def test_an_expired_session_is_not_there_to_be_renamed(store: SessionStore) -> None:
    await say(store)
    await expire(store, "chat")

    with pytest.raises(SessionNotFoundError):
        await store.rename_session(FLOW, "chat", "talk")


@with_ttl
async def test_a_message_moves_to_an_expired_session(store: SessionStore) -> None:
    await say(store, "old", "expired")
    message = await say(store, "new")
    await expire(store, "expired")
    await store.update(message.id, MessageUpdate(session_id="expired"))

    assert await texts(store, "expired") == ["new"]
    assert await store.sessions(FLOW) == ["expired"]


@with_ttl
async def test_deleting_an_expired_session_drops_its_name(store: SessionStore) -> None:
    await say(store, owner="ann")
    await expire(store, "chat")

    assert await store.delete_session(FLOW, "chat") == 0
    assert await store.flows(owner="ann") == []


@with_ttl
async def test_an_adopted_id_whose_session_expired_long_ago_may_come_back(
    store: SessionStore, backend: Backend
) -> None:
    await say(store, session="kept")
    identity = (await say(store, id=uuid4())).id
    await expire(store, "chat")
    for key in await all_keys(store):
        if b":adopted:" in key:
            await backend.raw(store).delete(key)
    assert await store.sessions(FLOW) == ["kept"]

    again = await say(store, id=identity)
    assert await store.get(identity) == again


@with_ttl
async def test_a_flow_of_expired_sessions_is_deleted_whole(store: SessionStore) -> None:
    for session in ("a", "b"):
        await say(store, session=session, owner="ann", id=uuid4())
    await expire(store, "a", "b")
    await store.delete_flow(FLOW)

    assert await dump(store) == {}
