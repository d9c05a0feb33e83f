"""Every stored format is read and converted, and a later one is refused.

``fixtures/format<n>.json`` was made by the code that wrote that format: commands that put a store into Redis,
and what its messages were.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import MessageUpdate, SessionStore, UnsupportedFormatError
from redis_sessions.doctor.ward import Ward
from redis_sessions.formats import FORMAT, to_present
from redis_sessions.layout import members
from redis_sessions.migration import migrate
from tests.support.talk import FLOW, dump, keys_of, nothing_changes, say, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions.keys import FlowKeys
    from tests.conftest import Backend, MakeStore

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = range(1, FORMAT + 1)
PRESENT = b"%d:" % FORMAT
ADOPTED = "7d0a3f7e-9f5d-4d2b-8f5a-0123456789ab"


def fixture(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"format{number}.json").read_text("utf-8"))
    return found


async def load(store: SessionStore, number: int) -> dict[str, Any]:
    """Put the fixture of a format into the store."""
    stored = fixture(number)
    raw: Any = store.connection.client
    for name, key, *arguments in stored["commands"]:
        renamed = store.settings.prefix + key.removeprefix(stored["prefix"])
        await raw.execute_command(name, *(part.encode("latin-1") for part in (renamed, *arguments)))
    return stored


async def bodies(store: SessionStore, keys: FlowKeys, session: str) -> list[bytes]:
    raw: Any = store.connection.client
    changed = await raw.hgetall(keys.edits(session))
    return [fields[b"b"] for _, fields in await raw.xrange(keys.log(session))] + list(changed.values())


def aged(body: bytes) -> bytes:
    """A body as format 1 had it."""
    rest = body[2 : body.index(b"\n")] or b"{}"
    shown = [b'"%b":%b' % (name.encode(), bytes(value)) for name, value in members(body).items()]
    return b"\n".join((b",".join(shown[:2]), b",".join(shown[2:]), rest))


async def age(store: SessionStore, session: str = "chat") -> None:
    """Make a session one of format 1."""
    raw: Any = store.connection.client
    log = keys_of(store).log(session)
    entries = await raw.xrange(log)
    await raw.delete(log)
    for entry, fields in entries:
        await raw.xadd(log, {**fields, b"b": aged(fields[b"b"])}, id=entry)


def test_there_is_a_fixture_of_each_format() -> None:
    assert sorted(FIXTURES.glob("format*.json")) == [FIXTURES / f"format{number}.json" for number in FORMATS]
    assert [fixture(number)["format"] for number in FORMATS] == list(FORMATS)


@pytest.mark.parametrize("number", FORMATS)
async def test_a_format_is_read(store: SessionStore, number: int) -> None:
    stored = await load(store, number)
    for flow, sessions in stored["messages"].items():
        for session, messages in sessions.items():
            found = await store.history(flow, session, limit=1000)
            assert [message.model_dump(mode="json") for message in found] == messages
            shown = [json.loads(one) for one in await store.history_json(flow, session, limit=1000)]
            assert shown == stored["shown"][flow][session]
            for message in messages:
                assert (await store.get_many([message["id"]]))[0] is not None
    assert store.counters.corrupt_entries == 0


@pytest.mark.parametrize("number", FORMATS[:-1])
async def test_a_change_converts_a_message(store: SessionStore, number: int) -> None:
    await load(store, number)
    before = await store.history(FLOW, "chat")

    changed = await store.update(before[1].id, MessageUpdate(text="new"), flow_id=FLOW)

    assert changed.text == "new"
    [new] = [body for body in await bodies(store, keys_of(store), "chat") if b'"new"' in body]
    assert new.startswith(PRESENT)
    await say(store, "one more")
    said = [message.text for message in before]
    assert await texts(store) == [said[0], "new", *said[2:], "one more"]


@pytest.mark.parametrize("number", FORMATS)
async def test_a_store_is_migrated(store: SessionStore, backend: Backend, number: int) -> None:
    stored = await load(store, number)
    raw = backend.raw(store)
    keys = keys_of(store)
    if backend.kind != "memory":
        await raw.pexpire(keys.log("chat"), 100_000)
        clock = b"1999999999999999-1"  # of an entry that was deleted since
        await raw.xadd(keys.log("other"), {"b": "x"}, id=clock)
        await raw.xdel(keys.log("other"), clock)
    async with nothing_changes(store):
        wanted = await migrate(store, dry_run=True)
    assert (wanted.sessions, wanted.converted) == (3, False)
    assert (wanted.old_messages > 0) == (number < FORMAT)

    done = await migrate(store)

    assert (done.old_messages, done.old_sessions) == (wanted.old_messages, wanted.old_sessions)
    assert await raw.get(f"{backend.prefix}:format") == str(FORMAT).encode()
    for flow, sessions in stored["messages"].items():
        for session, messages in sessions.items():
            found = await store.history(flow, session, limit=1000)
            assert [message.model_dump(mode="json") for message in found] == messages
            assert {body[:2] for body in await bodies(store, store._parts.keys.flow(flow), session)} == {
                PRESENT
            }
    if backend.kind != "memory":
        assert 0 < await raw.pttl(keys.log("chat")) <= 100_000
        assert await raw.pttl(keys.log("other")) == -1
        assert (await raw.xinfo_stream(keys.log("other")))["last-generated-id"] == clock
    again = await migrate(store)
    assert (again.old_messages, again.stored) == (0, FORMAT)


@pytest.mark.backends("valkey", "redis7", "cluster")
async def test_a_migration_while_others_write_loses_nothing(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.migration._COUNT", 50)
    store, writer = await make_store(), await make_store(deadline=timedelta(seconds=30))
    first = [await say(store, f"old {number}") for number in range(300)]
    await age(store)
    over = asyncio.Event()
    written: list[str] = []

    async def write() -> None:
        while not over.is_set():
            written.append((await say(writer, f"new {len(written)}")).text)
            await writer.update(first[len(written) % 300].id, MessageUpdate(context_id="c"), flow_id=FLOW)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        try:
            done = await migrate(store)
        finally:
            over.set()

    assert done.old_messages >= 300 - len(written)
    assert await texts(store, limit=1000) == [f"old {number}" for number in range(300)] + written
    assert {body[:2] for body in await bodies(store, keys_of(store), "chat")} == {PRESENT}


@pytest.mark.backends("valkey")
async def test_a_session_that_is_trimmed_all_the_time_is_migrated_too(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_sessions.migration._COUNT", 5)
    store = await make_store(max_messages=40)
    for number in range(40):
        await say(store, f"old {number}")
    await age(store)
    over = asyncio.Event()

    async def write() -> None:
        while not over.is_set():
            await say(store, "new")

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        try:
            await migrate(store)
        finally:
            over.set()
    assert {body[:2] for body in await bodies(store, keys_of(store), "chat")} == {PRESENT}
    assert len(await texts(store)) == 40


@pytest.mark.backends("valkey", "cluster")
async def test_a_message_that_is_deleted_during_a_conversion_stays_deleted(store: SessionStore) -> None:
    messages = [await say(store, f"old {number}") for number in range(20)]
    await age(store)
    keys, scripts = keys_of(store), Ward(store._parts, mend=False, settle=0).scripts
    upto = str(messages[9].entry).encode()
    first = await scripts.convert_session(keys, "chat", b"", b"", upto, {})
    assert first.status == b"MORE"
    await store.delete_messages([messages[3].id], flow_id=FLOW)

    place, record = first.values
    assert (await scripts.convert_session(keys, "chat", record, place, b"+", {})).status == b"CHANGED"
    await migrate(store)

    assert await texts(store) == [f"old {number}" for number in range(20) if number != 3]


# --- later formats ----------------------------------------------------------------------------------


async def test_a_body_of_a_later_format_is_refused_not_skipped(store: SessionStore, backend: Backend) -> None:
    message = await say(store)
    raw = backend.raw(store)
    await raw.hset(keys_of(store).edits("chat"), str(message.entry), f"{FORMAT + 1}:what may come")
    reads: list[Callable[[], Awaitable[object]]] = [
        lambda: store.history(FLOW, "chat"),
        lambda: store.history_json(FLOW, "chat"),
        lambda: store.history(FLOW, "chat", sender="User"),
        lambda: store.recent(FLOW),
        lambda: store.recent_json([FLOW]),
        lambda: store.get(message.id),
        lambda: store.update(message.id, MessageUpdate(text="x")),
        lambda: store.update(message.id, MessageUpdate(session_id="y")),
    ]
    async with nothing_changes(store):
        for read in reads:
            with pytest.raises(UnsupportedFormatError, match="later version of redis-sessions"):
                await read()
    assert store.counters.corrupt_entries == 0


async def test_a_record_of_a_later_format_is_refused(store: SessionStore, backend: Backend) -> None:
    message = await say(store)
    await say(store, session="other")
    raw, keys = backend.raw(store), keys_of(store)
    await raw.hset(keys.ids, "schat", await raw.hget(keys.ids, "schat") + b"|3")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.history(FLOW, "chat"),
        lambda: store.history_json(FLOW, "chat"),
        lambda: say(store),
        lambda: store.get(message.id, flow_id=FLOW),
        lambda: store.update(message.id, MessageUpdate(text="x"), flow_id=FLOW),
        lambda: store.delete_messages([message.id], flow_id=FLOW),
        lambda: store.delete_session(FLOW, "chat"),
        lambda: store.rename_session(FLOW, "chat", "new"),
        lambda: store.rename_session(FLOW, "other", "chat"),
        lambda: migrate(store),
    ]
    async with nothing_changes(store):
        for call in calls:
            with pytest.raises(UnsupportedFormatError, match="nothing was changed"):
                await call()


async def test_a_store_of_a_later_format_is_not_opened(store: SessionStore, backend: Backend) -> None:
    await backend.raw(store).set(f"{backend.prefix}:format", FORMAT + 1)
    before = await dump(store)
    with pytest.raises(UnsupportedFormatError, match="upgrade redis-sessions here"):
        await SessionStore.from_url(backend.url, prefix=backend.prefix).open()
    assert await dump(store) == before


async def test_a_store_of_this_format_is_opened_and_no_call_asks_again(
    store: SessionStore, backend: Backend
) -> None:
    await say(store)
    await backend.raw(store).set(f"{backend.prefix}:format", FORMAT)
    async with SessionStore.from_url(backend.url, prefix=backend.prefix) as other:
        before = other.round_trips
        await other.history(FLOW, "chat")
        assert other.round_trips == before + 1


@pytest.mark.parametrize("body", [b"", b"{}", b"x", b'"sender":1', b'"sender":1\n2', b"\x00"])
def test_what_is_of_no_format_is_not_taken_for_one(body: bytes) -> None:
    assert to_present(body) is None
