from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import hiredis
import pytest
from redis.exceptions import ResponseError

from redis_sessions import (
    AuthenticationError,
    ConfigurationError,
    InvalidCursorError,
    InvalidInputError,
    InvalidTimestampError,
    MergeTooLargeError,
    MessageUpdate,
    NewMessage,
    OutOfMemoryError,
    OwnerMismatchError,
    ReadOnlyError,
    SessionStore,
    StoreClosedError,
    StoreUnavailableError,
    TooLargeError,
    UnsupportedFormatError,
    UnsupportedServerError,
    WrongTypeError,
)
from redis_sessions.faults import classify
from redis_sessions.keys import Keys
from redis_sessions.server import parse_version
from tests.support import HOST, REDIS_SERVER, Server, redis_server, valkey_server, wait_until
from tests.support.talk import FLOW, at, events_of, keys_of, nothing_changes, say, take, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.conftest import Backend, MakeStore

    Verb = Callable[[SessionStore, "World"], Awaitable[object]]


class World:
    """What the verbs below write to: a flow with two sessions, edits and adopted ids in both."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}

    @classmethod
    async def make(cls, store: SessionStore) -> World:
        world = cls()
        for session in ("a", "b"):
            for place, identity in enumerate((None, uuid4(), None)):
                message = await say(store, f"{session}{place}", session, owner="ann", id=identity)
                world.messages[message.text] = message.id
            await store.update(world.messages[f"{session}0"], MessageUpdate(sender="Machine"))
        return world


def new(text: str, session: str = "a", **values: Any) -> NewMessage:
    return NewMessage(text=text, sender="User", sender_name="Ann", session_id=session, **values)


WRITES: dict[str, Verb] = {
    "append": lambda store, _: say(store, "new", "a"),
    "append to a new session": lambda store, _: say(store, "new", "c"),
    "append an adopted message": lambda store, _: say(store, "new", "a", id=uuid4()),
    "append to a new flow": lambda store, _: say(store, "new", "a", flow="other", owner="ann"),
    "append a batch": lambda store, _: store.append_many(FLOW, [new("1"), new("2", id=str(uuid4()))]),
    "update": lambda store, world: store.update(
        world.messages["a2"], MessageUpdate(text="new"), flow_id=FLOW
    ),
    "update again": lambda store, world: store.update(
        world.messages["a0"], MessageUpdate(text="new"), flow_id=FLOW
    ),
    "move": lambda store, world: store.update(
        world.messages["a1"], MessageUpdate(session_id="b"), flow_id=FLOW
    ),
    "move to a new session": lambda store, world: store.update(
        world.messages["a0"], MessageUpdate(session_id="c"), flow_id=FLOW
    ),
    "delete messages": lambda store, world: store.delete_messages(
        [world.messages["a0"], world.messages["a1"]], flow_id=FLOW
    ),
    "delete a plain message": lambda store, world: store.delete_messages(
        [world.messages["a0"]], flow_id=FLOW
    ),
    "delete the last messages": lambda store, world: store.delete_messages(
        [world.messages[name] for name in ("a0", "a1", "a2")], flow_id=FLOW
    ),
    "delete a session": lambda store, _: store.delete_session(FLOW, "a"),
    "rename": lambda store, _: store.rename_session(FLOW, "a", "c"),
    "merge": lambda store, _: store.rename_session(FLOW, "a", "b"),
    "set the owner": lambda store, _: store.set_owner(FLOW, "bob"),
    "take the owner away": lambda store, _: store.set_owner(FLOW, None),
    "delete the flow": lambda store, _: store.delete_flow(FLOW),
}
READS: dict[str, Verb] = {
    "history": lambda store, _: store.history(FLOW, "a"),
    "history as json": lambda store, _: store.history_json(FLOW, "a"),
    "sessions": lambda store, _: store.sessions(FLOW),
    "recent": lambda store, _: store.recent(FLOW),
    "get": lambda store, world: store.get_many([world.messages["a0"], world.messages["a1"]], flow_id=FLOW),
    "watch": lambda store, _: events_of(store, 3),
    "flows": lambda store, _: store.flows(),
    "flows of an owner": lambda store, _: store.flows(owner="ann"),
    "owner": lambda store, _: store.owner(FLOW),
}
writes = pytest.mark.parametrize("verb", WRITES)


# --- names ------------------------------------------------------------------------------------------

BAD_SESSIONS = {
    "empty": "",
    "too long": "x" * 2_049,
    "too long in UTF-8": "é" * 1_025,
    "with NUL": "a\x00b",
    "with a lone surrogate": "a\ud800",
    "None": None,
    "bytes": b"chat",
    "a number": 5,
}
BAD_FLOWS = {
    "empty": "",
    "too long": "x" * 129,
    "too long in UTF-8": "é" * 65,
    "with an opening brace": "a{",
    "with a closing brace": "a}",
    "with NUL": "a\x00b",
    "with a lone surrogate": "a\udfff",
    "None": None,
    "bytes": b"flow",
}
SESSION_CALLS: dict[str, Callable[[SessionStore, Any, str], Awaitable[object]]] = {
    "append_many": lambda store, name, _: store.append_many(
        FLOW, [new("x").model_copy(update={"session_id": name})]
    ),
    "history": lambda store, name, _: store.history(FLOW, name),
    "history_json": lambda store, name, _: store.history_json(FLOW, name),
    "rename_session from": lambda store, name, _: store.rename_session(FLOW, name, "chat"),
    "rename_session to": lambda store, name, _: store.rename_session(FLOW, "chat", name),
    "delete_session": lambda store, name, _: store.delete_session(FLOW, name),
    "update": lambda store, name, identity: store.update(
        identity, MessageUpdate.model_construct(session_id=name)
    ),
    "watch": lambda store, name, _: take(store.watch(FLOW, session_id=name), 1),
}
FLOW_CALLS: dict[str, Callable[[SessionStore, Any, str], Awaitable[object]]] = {
    "append": lambda store, flow, _: say(store, flow=flow),
    "history": lambda store, flow, _: store.history(flow, "chat"),
    "history_json": lambda store, flow, _: store.history_json(flow, "chat"),
    "sessions": lambda store, flow, _: store.sessions(flow),
    "recent": lambda store, flow, _: store.recent(flow),
    "rename_session": lambda store, flow, _: store.rename_session(flow, "chat", "talk"),
    "delete_session": lambda store, flow, _: store.delete_session(flow, "chat"),
    "delete_flow": lambda store, flow, _: store.delete_flow(flow),
    "set_owner": lambda store, flow, _: store.set_owner(flow, "ann"),
    "owner": lambda store, flow, _: store.owner(flow),
    "watch": lambda store, flow, _: take(store.watch(flow), 1),
    "get": lambda store, flow, identity: store.get(identity, flows=[flow]),
    "update": lambda store, flow, identity: store.update(identity, MessageUpdate(text="x"), flows=[flow]),
    "delete_messages": lambda store, flow, identity: store.delete_messages([identity], flows=[flow]),
}
# These mean something else where a name may be left out.
OPTIONAL = {("append_many", "None"), ("update", "None"), ("watch", "None")}


@pytest.mark.backends("memory", "valkey")
@pytest.mark.parametrize("call", SESSION_CALLS)
async def test_an_unacceptable_session_id_is_refused(store: SessionStore, call: str) -> None:
    message = await say(store)
    for name, value in BAD_SESSIONS.items():
        if (call, name) in OPTIONAL:
            continue
        async with nothing_changes(store):
            with pytest.raises(InvalidInputError, match="session id"):
                await SESSION_CALLS[call](store, value, message.id)


@pytest.mark.backends("memory", "valkey")
@pytest.mark.parametrize("call", FLOW_CALLS)
async def test_an_unacceptable_flow_id_is_refused(store: SessionStore, call: str) -> None:
    message = await say(store)
    for value in BAD_FLOWS.values():
        async with nothing_changes(store):
            with pytest.raises(InvalidInputError, match="flow id"):
                await FLOW_CALLS[call](store, value, message.id)


@pytest.mark.parametrize("owner", ["", "x" * 129, "a\x00", "\ud800", b"ann", 5])
async def test_an_unacceptable_owner_is_refused(store: SessionStore, owner: Any) -> None:
    await say(store)
    async with nothing_changes(store):
        for call in (say(store, owner=owner), store.set_owner(FLOW, owner), store.flows(owner=owner)):
            with pytest.raises(InvalidInputError, match="owner"):
                await call


@pytest.mark.parametrize("prefix", ["", "a{", "}", "{a}", "x" * 129, "é" * 65, "a\x00", "\ud800"])
def test_an_unacceptable_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        SessionStore.from_url("memory://", prefix=prefix)


async def test_the_longest_names_are_taken(store: SessionStore) -> None:
    message = await say(store, session="x" * 2_048, flow="é" * 64, owner="x" * 128)

    assert await store.history("é" * 64, "x" * 2_048) == [message]


async def test_another_owner_than_the_flows_is_refused(store: SessionStore) -> None:
    await World.make(store)
    async with nothing_changes(store):
        for session in ("a", "new"):
            with pytest.raises(OwnerMismatchError):
                await say(store, session=session, owner="bob")
        with pytest.raises(OwnerMismatchError):
            await store.append_many(FLOW, [new("x"), new("y")], owner="bob")


# --- content ----------------------------------------------------------------------------------------


@pytest.mark.store_options(max_text_bytes=100, max_message_bytes=2_000)
@pytest.mark.parametrize(
    "values",
    [
        {"text": "x" * 101},
        {"text": "é" * 51},
        {"files": ["x" * 2_000]},
        {"session_metadata": {"a": "x" * 2_000}},
        {"sender_name": "\n" * 1_000},
    ],
    ids=["text", "text in UTF-8", "files", "metadata", "escaped"],
)
async def test_a_message_over_the_limits_is_refused(store: SessionStore, values: dict[str, Any]) -> None:
    async with nothing_changes(store):
        with pytest.raises(TooLargeError):
            await say(store, **{"text": "x", **values})


async def test_the_limit_of_a_text_is_a_mebibyte(store: SessionStore) -> None:
    with pytest.raises(TooLargeError, match=r"1,048,577"):
        await say(store, "x" * (1024 * 1024 + 1))
    assert await store.flows() == []


@pytest.mark.store_options(max_text_bytes=100)
async def test_a_text_at_its_limit_is_taken(store: SessionStore) -> None:
    for text in ("x" * 100, "é" * 50):
        assert (await say(store, text)).text == text


@pytest.mark.parametrize(
    "values",
    [
        {"text": None},
        {"text": 5},
        {"sender": None},
        {"files": [1]},
        {"error": "perhaps"},
        {"properties": {"state": "unknown"}},
        {"content_blocks": ["text"]},
        {"session_metadata": ["a"]},
        {"duration": "long"},
        {"id": 5},
        {"timestamp": "yesterday"},
    ],
    ids=lambda values: f"{next(iter(values))}",
)
async def test_a_field_of_another_kind_is_refused_and_named(
    store: SessionStore, values: dict[str, Any]
) -> None:
    async with nothing_changes(store):
        with pytest.raises(InvalidInputError, match=next(iter(values))):
            await say(store, **{"text": "secret", **values})


async def test_an_error_does_not_repeat_what_was_given(store: SessionStore) -> None:
    for call in (
        say(store, "very secret", properties={"state": "very secret"}),
        say(store, "very secret", session_metadata={"very secret": object()}),
        say(store, "very secret", id="very secret"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            await call
        assert "secret" not in str(caught.value)


# --- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [FLOW, "new flow"])
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 1),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.now(UTC) + timedelta(days=1, hours=2),  # made when tests are collected
    ],
    ids=["naive", "before 1970", "the first", "the last", "a day ahead"],
)
async def test_an_unacceptable_time_is_refused(store: SessionStore, flow: str, moment: datetime) -> None:
    await say(store)
    async with nothing_changes(store):
        with pytest.raises(InvalidTimestampError):
            await say(store, flow=flow, timestamp=moment, owner="ann")


async def test_a_time_within_a_day_ahead_is_taken(store: SessionStore) -> None:
    moment = datetime.now(UTC) + timedelta(hours=23)

    assert (await say(store, timestamp=moment)).timestamp == moment


@pytest.mark.store_options(max_ahead=timedelta(seconds=30))
async def test_how_far_ahead_a_time_may_be_is_settable(store: SessionStore) -> None:
    with pytest.raises(InvalidTimestampError):
        await say(store, timestamp=datetime.now(UTC) + timedelta(minutes=5))


# --- ids, cursors and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("identity", ["", "x", "1526919030474-55", "{}", None, 5, b"0" * 16])
async def test_a_malformed_id_is_refused(store: SessionStore, identity: Any) -> None:
    await say(store)
    async with nothing_changes(store):
        for call in (
            store.get(identity),
            store.get_many([uuid4(), identity]),
            store.update(identity, MessageUpdate(text="x")),
            store.delete_messages([identity]),
            store.append_many(FLOW, [new("x").model_copy(update={"id": identity})]) if identity else None,
        ):
            if call is not None:
                with pytest.raises(InvalidInputError):
                    await call


@pytest.mark.parametrize("cursor", ["", "0-0", "x" * 32, "9bd1f4a5-3f2c-4bd0-8a2c-5d8e1f0c2a11", 5, b"x"])
async def test_a_malformed_cursor_is_refused(store: SessionStore, cursor: Any) -> None:
    await say(store)
    with pytest.raises(InvalidCursorError):
        await store.history(FLOW, "chat", before=cursor)
    with pytest.raises(InvalidCursorError):
        await store.history_json(FLOW, "chat", before=cursor)


async def test_a_cursor_of_another_store_is_a_place_like_any_other(
    store: SessionStore, make_store: MakeStore, backend: Backend
) -> None:
    other = await make_store(prefix=backend.prefix + "2")
    for moment in (1, 3):
        await say(store, str(moment), timestamp=at(moment))
    cursor = (await say(other, timestamp=at(2))).cursor

    assert await texts(store, before=cursor) == ["1"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", None, True, 2**60])
async def test_a_limit_that_is_no_number_from_1_is_refused(store: SessionStore, limit: Any) -> None:
    await say(store)
    for call in (
        store.history(FLOW, "chat", limit=limit),
        store.history_json(FLOW, "chat", limit=limit),
        store.sessions(FLOW, limit=limit),
        store.recent(FLOW, limit=limit),
    ):
        with pytest.raises(InvalidInputError, match="limit"):
            await call


@pytest.mark.parametrize("offset", [-1, 0.5, "0", None, 2**60])
async def test_an_offset_that_is_no_number_from_0_is_refused(store: SessionStore, offset: Any) -> None:
    for call in (store.sessions(FLOW, offset=offset), store.recent(FLOW, offset=offset)):
        with pytest.raises(InvalidInputError, match="offset"):
            await call


async def test_the_largest_limit_and_offset_are_taken(store: SessionStore) -> None:
    await say(store)
    most = 2**53

    assert await texts(store, limit=most) == ["hello"]
    assert len(await store.history_json(FLOW, "chat", limit=most)) == 1
    assert await store.sessions(FLOW, limit=most, offset=most) == []
    assert len(await store.recent(FLOW, limit=most)) == 1
    assert await store.recent(FLOW, limit=most, offset=most) == []


@pytest.mark.parametrize(
    "option",
    [
        {"max_messages": 0},
        {"max_text_bytes": 0},
        {"max_merge": -1},
        {"ttl": timedelta(0)},
        {"deadline": timedelta(seconds=-1)},
        {"max_ahead": timedelta(0)},
        {"feed_max_events": 0},
        {"no_such_option": 1},
        {"max_messages": "many"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_unusable_setting_is_refused_and_named(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        SessionStore.from_url("memory://", **option)


@pytest.mark.store_options(max_merge=5)
async def test_a_merge_over_the_limit_changes_nothing(store: SessionStore) -> None:
    await World.make(store)
    async with nothing_changes(store):
        with pytest.raises(MergeTooLargeError):
            await store.rename_session(FLOW, "a", "b")


# --- a store that is not open -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*WRITES, *READS])
async def test_a_closed_store_says_so(verb: str) -> None:
    world = World()
    world.messages = {f"{session}{place}": str(uuid4()) for session in "ab" for place in range(3)}
    store = SessionStore.from_url("memory://")
    with pytest.raises(StoreClosedError):
        await {**WRITES, **READS}[verb](store, world)
    async with store:
        pass
    with pytest.raises(StoreClosedError):
        await {**WRITES, **READS}[verb](store, world)


# --- wrong types ------------------------------------------------------------------------------------

# Which of our keys each verb touches: one that holds another type is refused there, and nowhere else.
FLOW_KEYS = ("ids", "sessions", "feed")
TOUCHED: dict[str, set[str]] = {
    "append": {"log a", *FLOW_KEYS},
    "append to a new session": {"log c", *FLOW_KEYS},
    "append an adopted message": {"log a", "aliases", "adopted a", *FLOW_KEYS},
    "append to a new flow": {"flows", "owner ann"},
    "append a batch": {"log a", "aliases", "adopted a", *FLOW_KEYS},
    "update": {"log a", "edits a", "ids", "feed"},
    "update again": {"log a", "edits a", "ids", "feed"},
    "move": {"log a", "edits a", "log b", "edits b", "aliases", "adopted a", "adopted b", *FLOW_KEYS},
    "move to a new session": {"log a", "edits a", "log c", "edits c", "aliases", "adopted a", *FLOW_KEYS},
    "delete messages": {"log a", "edits a", "aliases", "adopted a", *FLOW_KEYS},
    "delete a plain message": {"log a", "edits a", *FLOW_KEYS},
    "delete the last messages": {"log a", "edits a", "aliases", "adopted a", *FLOW_KEYS},
    "delete a session": {"log a", "edits a", "aliases", "adopted a", *FLOW_KEYS},
    "rename": {"log a", "edits a", "log c", "edits c", *FLOW_KEYS},
    "merge": {"log a", "edits a", "log b", "edits b", "merge", *FLOW_KEYS},
    "set the owner": {"ids", "flows", "owner bob"},
    "take the owner away": {"ids", "flows"},
    "history": {"log a", "edits a", "ids"},
    "history as json": {"log a", "edits a", "ids"},
    "sessions": {"sessions", "ids"},
    "recent": {"log a", "log b", "edits a", "edits b", "ids", "sessions"},
    "get": {"log a", "edits a", "ids", "aliases"},
    "watch": {"feed", "ids", "log a", "edits a", "log b", "edits b"},
    "flows": {"flows"},
    "flows of an owner": {"owner ann", "ids"},
    "owner": {"ids"},
}
ALL_KEYS = sorted({*set().union(*TOUCHED.values()), "builds", "transactions"})


async def key_named(store: SessionStore, name: str) -> bytes:
    keys = keys_of(store)
    kind, _, of = name.partition(" ")
    if kind in ("log", "edits"):
        return bytes(getattr(keys, kind)(of))
    if kind == "owner":
        return Keys(store.settings.prefix).owner(of)
    if kind == "flows":
        return Keys(store.settings.prefix).flows
    if kind == "adopted":
        record: bytes = await store.connection.client.hget(keys.ids, f"s{of}")
        return keys.adopted(int(record.split(b"|")[0]))
    return bytes(getattr(keys, kind))


@pytest.mark.parametrize("verb", list(TOUCHED))
async def test_a_key_of_another_type_is_refused_and_nothing_changed(store: SessionStore, verb: str) -> None:
    raw: Any = store.connection.client
    for name in sorted(TOUCHED[verb]):
        world = await World.make(store)
        key = await key_named(store, name)
        await raw.delete(key)
        await raw.set(key, "not ours")
        async with nothing_changes(store):
            with pytest.raises(WrongTypeError):
                await {**WRITES, **READS}[verb](store, world)
            # Reads that come before the write may stand between it and the key.
        await raw.delete(key)
        await store.delete_flow(FLOW)


@pytest.mark.parametrize("verb", list(TOUCHED))
async def test_a_key_that_a_verb_does_not_need_does_not_hinder_it(store: SessionStore, verb: str) -> None:
    raw: Any = store.connection.client
    for name in ALL_KEYS:
        if name in TOUCHED[verb]:
            continue
        world = await World.make(store)
        key = await key_named(store, name)
        await raw.delete(key)
        await raw.set(key, "not ours")
        await {**WRITES, **READS}[verb](store, world)
        for left in {key, keys_of(store, "other").ids}:
            await raw.delete(left)
        for flow in (FLOW, "other"):
            await store.delete_flow(flow)


async def test_a_flow_with_a_key_of_another_type_is_not_dropped(store: SessionStore) -> None:
    await World.make(store)
    raw: Any = store.connection.client
    await raw.delete(keys_of(store).edits("a"))
    await raw.set(keys_of(store).edits("a"), "not ours")

    with pytest.raises(WrongTypeError):
        await store.delete_flow(FLOW)
    assert "a" in await store.sessions(FLOW)
    await raw.delete(keys_of(store).edits("a"))
    await store.delete_flow(FLOW)
    assert await store.flows() == []


async def test_a_registry_of_another_type_does_not_undo_a_delete(store: SessionStore) -> None:
    await say(store)
    raw: Any = store.connection.client
    flows = Keys(store.settings.prefix).flows
    await raw.delete(flows)
    await raw.set(flows, "not ours")

    assert await store.delete_session(FLOW, "chat") == 1
    assert await raw.get(flows) == b"not ours"


@pytest.mark.parametrize(
    ("record", "error"),
    [
        *((record, WrongTypeError) for record in (b"", b"x", b"1|2", b"a|b|c", b"|0|0", b"\xff")),
        (b"1|2|3|4", UnsupportedFormatError),  # as a later format has it
    ],
)
async def test_a_record_that_is_not_ours_is_refused(
    store: SessionStore, record: bytes, error: type[Exception]
) -> None:
    message = await say(store)
    raw: Any = store.connection.client
    await raw.hset(keys_of(store).ids, "schat", record)
    async with nothing_changes(store):
        for call in (
            store.history(FLOW, "chat"),
            store.history_json(FLOW, "chat"),
            store.recent(FLOW),
            store.get(message.id),
            store.rename_session(FLOW, "chat", "talk"),
            store.delete_session(FLOW, "chat"),
            store.update(message.id, MessageUpdate(text="new")),
            store.delete_messages([message.id]),
        ):
            with pytest.raises(error):
                await call


# --- servers that refuse ----------------------------------------------------------------------------

OWN = [
    pytest.param(valkey_server, id="valkey"),
    pytest.param(
        redis_server,
        marks=pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed"),
        id="redis7",
    ),
]


@pytest.fixture(scope="module", params=OWN)
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param(maxmemory_policy="noeviction", repl_diskless_sync_delay=0) as server:
        yield server


@pytest.fixture
def refusing(own_server: Server) -> Iterator[Callable[[str, str], contextlib.AbstractContextManager[None]]]:
    """``with refusing(directive, value):`` is a server that refuses writes."""
    client = own_server.client()

    @contextlib.contextmanager
    def refuse(directive: str, value: str) -> Iterator[None]:
        client.config_set(directive, value)
        try:
            yield
        finally:
            client.config_set(directive, "0")

    yield refuse
    client.flushall()


@pytest.fixture
async def own_store(own_server: Server) -> AsyncIterator[SessionStore]:
    async with SessionStore.from_url(own_server.url, deadline=timedelta(seconds=2)) as store:
        yield store


async def view(store: SessionStore) -> dict[str, Any]:
    """What can be seen of a store, without ids and times."""
    raw: Any = store.connection.client
    seen: dict[str, Any] = {"flows": await store.flows(), "of ann": await store.flows(owner="ann")}
    for flow in await store.flows():
        seen[flow] = {
            session: [
                (message.text, message.sender, message.edit) for message in await store.history(flow, session)
            ]
            for session in await store.sessions(flow)
        }
        keys = keys_of(store, flow)
        seen[f"{flow} sizes"] = [
            await raw.hlen(keys.ids),
            await raw.hlen(keys.aliases),
            await raw.xlen(keys.feed),
        ]
        seen[f"{flow} owner"] = await store.owner(flow)
    return seen


DONE_WITHOUT_MEMORY = {
    "delete messages",
    "delete a plain message",
    "delete the last messages",
    "delete a session",
    "rename",
    "delete the flow",
}


@writes
async def test_out_of_memory_a_write_is_refused_whole_or_done_whole(
    own_server: Server, own_store: SessionStore, refusing: Any, verb: str
) -> None:
    async with SessionStore.from_url(own_server.url, prefix="twin") as twin:
        await WRITES[verb](twin, await World.make(twin))
        done = await view(twin)
        world = await World.make(own_store)
        if verb in DONE_WITHOUT_MEMORY:
            with refusing("maxmemory", "1"):
                await WRITES[verb](own_store, world)
            assert await view(own_store) == done
            return
        async with nothing_changes(own_store):
            with refusing("maxmemory", "1"), pytest.raises(OutOfMemoryError, match="maxmemory") as caught:
                await WRITES[verb](own_store, world)
        assert not caught.value.write_may_have_happened


async def all_refused(store: SessionStore, world: World) -> None:
    """Every write, all at once since each tries until its deadline, ends in ReadOnlyError."""
    left = dict(WRITES)
    for _ in range(5):
        outcomes = await asyncio.gather(
            *(call(store, world) for call in left.values()), return_exceptions=True
        )
        for verb, outcome in zip(list(left), outcomes, strict=True):
            assert isinstance(outcome, StoreUnavailableError), verb
            if isinstance(outcome, ReadOnlyError) and not outcome.write_may_have_happened:
                del left[verb]
            else:  # on a machine that is busy, the deadline may cut the last attempt off
                assert outcome.write_may_have_happened, verb
        if not left:
            return
    pytest.fail(f"not refused: {list(left)}")


async def test_a_server_that_takes_no_writes_refuses_each_of_them(
    own_store: SessionStore, refusing: Any
) -> None:
    world = await World.make(own_store)
    async with nothing_changes(own_store):
        with refusing("min-replicas-to-write", "1"):
            await all_refused(own_store, world)


@pytest.mark.parametrize("start", OWN)
async def test_a_replica_refuses_writes_and_answers_reads(start: Any) -> None:
    with start(repl_diskless_sync_delay=0) as primary, start(replicaof=(HOST, primary.port)) as replica:
        async with SessionStore.from_url(primary.url) as store:
            world = await World.make(store)
        await wait_until(lambda: replica.client().dbsize() == primary.client().dbsize())
        async with SessionStore.from_url(replica.url, deadline=timedelta(seconds=2)) as store:
            await all_refused(store, world)
            assert await texts(store, "a") == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError),
        ("READONLY You can't write against a read only replica.", ReadOnlyError),
        ("NOREPLICAS Not enough good replicas to write.", ReadOnlyError),
        ("MISCONF Redis is configured to save RDB snapshots.", ReadOnlyError),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongTypeError),
    ],
)
@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "{} script: 13b08e5e450e52ae8f68bc694520806b5a9a64c2, on @user_script:81.",
        "user_script:81: {}",
        "Error running script (call to f_13b08e): @user_script:81: @user_script: 81: -{}",
    ],
    ids=["a command's", "a script's", "raised in Lua", "a script's in Redis 6.2"],
)
def test_a_refusal_is_understood_however_it_is_worded(frame: str, words: str, error: type[Exception]) -> None:
    fault = classify(ResponseError(frame.format(words)))

    assert isinstance(fault.error(False), error)
    assert not fault.maybe_done


async def test_a_write_waits_for_a_server_that_is_read_only_for_a_while(
    own_server: Server, refusing: Any
) -> None:
    async with SessionStore.from_url(own_server.url) as store:
        await say(store, "1")
        with refusing("min-replicas-to-write", "1"):
            writing = asyncio.create_task(say(store, "2"))
            await wait_until(lambda: store.counters.retries > 0)
        await writing

        assert await texts(store) == ["1", "2"]


@pytest.mark.parametrize("password", [None, "wrong", ""])
async def test_a_wrong_password_is_told(password: str | None) -> None:
    with valkey_server(requirepass="right") as server:
        url = f"redis://{HOST}:{server.port}"
        store = SessionStore.from_url(url, **({"password": password} if password is not None else {}))
        with pytest.raises(AuthenticationError) as caught:
            await store.open()
        assert not caught.value.write_may_have_happened
        assert "wrong" not in str(caught.value)
        assert "right" not in str(caught.value)


async def test_tls_to_a_server_without_it_is_told(own_server: Server) -> None:
    url = f"rediss://{HOST}:{own_server.port}"
    store = SessionStore.from_url(url, deadline=timedelta(milliseconds=500))
    # Redis takes the handshake for the beginning of a command and waits for its end.
    with pytest.raises(StoreUnavailableError):
        await store.open()


async def test_a_name_that_does_not_resolve_is_told() -> None:
    store = SessionStore.from_url("redis://no-such-host.invalid:6379", deadline=timedelta(seconds=2))
    with pytest.raises(StoreUnavailableError, match="does not resolve") as caught:
        await store.open()
    assert not caught.value.write_may_have_happened


async def test_a_port_that_nobody_listens_on_is_told() -> None:
    with valkey_server() as server:
        port = server.port
    store = SessionStore.from_url(f"redis://{HOST}:{port}", deadline=timedelta(seconds=1))
    with pytest.raises(StoreUnavailableError, match="refused"):
        await store.open()


@contextlib.asynccontextmanager
async def old_server(version: str) -> AsyncIterator[str]:
    """The URL of a server that says it is of this version, and otherwise OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = hiredis.Reader()
        while data := await reader.read(4096):
            requests.feed(data)
            while request := requests.gets():
                info = f"# Server\r\nredis_version:{version}\r\n".encode()
                answers = {b"INFO": b"$%d\r\n%s\r\n" % (len(info), info), b"GET": b"$-1\r\n"}
                writer.write(answers.get(request[0].upper(), b"+OK\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield f"redis://{HOST}:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("version", ["6.0.20", "5.0.14", "2.8.24"])
async def test_a_redis_that_is_too_old_is_refused(version: str) -> None:
    async with old_server(version) as url:
        with pytest.raises(UnsupportedServerError, match=r"Redis [0-9]\.[0-9]"):
            await SessionStore.from_url(url).open()


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.4.0", "10.0.1"])
async def test_a_redis_that_is_recent_enough_is_taken(version: str) -> None:
    async with old_server(version) as url, SessionStore.from_url(url):
        pass


@pytest.mark.parametrize(
    ("info", "version"),
    [
        (b"redis_version:6.0.16\r\n", (6, 0)),
        (b"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.0\r\n", (7, 2)),
        (b"redis_version:10.11.12-rc1", (10, 11)),
        (b"nothing", None),
        (b"", None),
    ],
)
def test_the_version_is_what_redis_says(info: bytes, version: tuple[int, int] | None) -> None:
    assert parse_version(info) == version
