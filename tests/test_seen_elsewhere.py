"""What went wrong in other stores for chat histories, each as a test that it does not here."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from redis_sessions import (
    Message,
    MessageExistsError,
    MessageNotFoundError,
    MessageUpdate,
    NewMessage,
    SessionStore,
)
from redis_sessions.body import join
from redis_sessions.ids import draw_number
from tests.support import HOST, Proxy, Server, valkey_server
from tests.support.talk import FLOW, all_keys, at, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Backend, MakeStore


# --- names that are alike ---------------------------------------------------------------------------


async def test_deleting_user1_leaves_user10(store: SessionStore) -> None:
    for user in ("user1", "user10", "user", "user1:x", "auser1"):
        await say(store, user, user)
    await store.delete_session(FLOW, "user1")

    assert sorted(await store.sessions(FLOW)) == ["auser1", "user", "user10", "user1:x"]
    for user in ("user10", "user", "user1:x", "auser1"):
        assert await texts(store, user) == [user]


async def test_renaming_user1_leaves_user10(store: SessionStore) -> None:
    for user in ("user1", "user10"):
        await say(store, user, user)
    await store.rename_session(FLOW, "user1", "user2")

    assert (await texts(store, "user10"), await texts(store, "user2")) == (["user10"], ["user1"])


async def test_deleting_flow1_leaves_flow10(store: SessionStore) -> None:
    for flow in ("flow1", "flow10", "flow"):
        await say(store, flow, flow=flow, owner="ann")
    await store.delete_flow("flow1")

    assert await store.flows(owner="ann") == ["flow", "flow10"]
    assert await texts(store, flow="flow10") == ["flow10"]


async def test_clearing_one_session_leaves_the_others(store: SessionStore) -> None:
    for session in ("a", "b", "c"):
        message = await say(store, session, session, id=uuid4())
        await store.update(message.id, MessageUpdate(sender="Machine"))
    await store.delete_session(FLOW, "b")

    assert (await texts(store, "a"), await texts(store, "c")) == (["a"], ["c"])


async def test_the_same_session_in_two_flows_is_two_sessions(store: SessionStore) -> None:
    await say(store, "one", "chat", flow="one")
    await say(store, "two", "chat", flow="two")
    await store.delete_session("one", "chat")

    assert await texts(store, flow="two") == ["two"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "b:c"), ("a:b", "c")), (("a:log", "b"), ("a", "log:b")), (("f", "x:edits:y"), ("f:edits", "y"))],
)
async def test_a_colon_in_a_name_reaches_no_other_session(
    store: SessionStore, one: tuple[str, str], other: tuple[str, str]
) -> None:
    await say(store, "one", one[1], flow=one[0], owner="o:1")
    message = await say(store, "other", other[1], flow=other[0], owner="o")
    await store.update(message.id, MessageUpdate(text="changed"))

    assert await texts(store, one[1], flow=one[0]) == ["one"]
    await store.delete_flow(one[0])
    assert await texts(store, other[1], flow=other[0]) == ["changed"]
    assert await store.flows(owner="o") == [other[0]]


async def test_a_colon_in_a_prefix_reaches_no_other_store(make_store: MakeStore, backend: Backend) -> None:
    near = await make_store()
    far = await make_store(prefix=f"{backend.prefix}:x")
    await say(near, "near", owner="x:flows")
    await say(far, "far", owner="ann")

    assert (await texts(near), await texts(far)) == (["near"], ["far"])
    await far.delete_flow(FLOW)
    assert await near.flows(owner="x:flows") == [FLOW]
    assert await texts(near) == ["near"]


@pytest.mark.parametrize("tail", [":owner", ":owner:x"])
def test_a_prefix_cannot_be_where_another_store_keeps_its_owners(tail: str) -> None:
    with pytest.raises(ValueError, match="owner"):
        SessionStore.from_url("memory://", prefix="rs" + tail)


async def test_a_message_of_another_person_is_not_in_a_history(store: SessionStore) -> None:
    for user in ("user1", "user10", None):
        await say(store, str(user), user_id=user)

    assert await texts(store, user_id="user1") == ["user1"]


# --- order ------------------------------------------------------------------------------------------


async def test_the_last_messages_are_the_newest(store: SessionStore) -> None:
    for number in range(20):
        await say(store, str(number), timestamp=at(number))

    assert await texts(store, limit=3) == ["17", "18", "19"]


async def test_messages_of_the_same_second_are_in_order(store: SessionStore) -> None:
    for micro in range(50):
        await say(store, str(micro), timestamp=at(1 + micro / 1_000_000))

    assert await texts(store) == [str(micro) for micro in range(50)]


async def test_messages_stored_at_once_are_in_the_order_of_their_times(store: SessionStore) -> None:
    await asyncio.gather(*(say(store, f"{n:02}", timestamp=at(n / 1_000_000)) for n in reversed(range(40))))

    assert await texts(store) == [f"{n:02}" for n in range(40)]


# --- once and only once -----------------------------------------------------------------------------


@pytest.mark.backends("valkey", "redis7")
async def test_a_retried_append_is_stored_once(make_store: MakeStore, backend: Backend) -> None:
    near = await make_store()
    await say(near, "0")
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        far = await make_store(url=proxy.url)
        fault = proxy.drop_reply(matching=b"EVALSHA")
        message = await say(far, "1")

        assert fault.hits == 1
        assert await texts(near) == ["0", "1"]
        assert await far.get(message.id) == message


async def test_a_message_with_an_explicit_id_saved_four_times_at_once_is_there_once(
    store: SessionStore,
) -> None:
    identity = uuid4()
    outcomes = await asyncio.gather(
        *(say(store, f"try {n}", f"session {n % 2}", id=identity) for n in range(4)), return_exceptions=True
    )

    [stored] = [outcome for outcome in outcomes if isinstance(outcome, Message)]
    assert sum(isinstance(outcome, MessageExistsError) for outcome in outcomes) == 3
    assert await store.recent(FLOW) == [stored]
    assert await store.get(identity) == stored


async def test_an_update_does_not_revive_a_deleted_message(store: SessionStore) -> None:
    message = await say(store)
    await say(store, "kept")
    await store.delete_messages([message.id])
    with pytest.raises(MessageNotFoundError):
        await store.update(message.id, MessageUpdate(text="back"))

    assert await texts(store) == ["kept"]


async def test_an_update_does_not_revive_a_deleted_session(store: SessionStore) -> None:
    message = await say(store, id=uuid4())
    await store.delete_session(FLOW, "chat")
    for change in (MessageUpdate(text="back"), MessageUpdate(session_id="other")):
        with pytest.raises(MessageNotFoundError):
            await store.update(message.id, change)

    assert await store.sessions(FLOW) == []
    assert await store.flows() == []


async def test_an_update_at_the_same_time_as_a_delete_does_not_revive_the_message(
    store: SessionStore,
) -> None:
    await say(store, "kept")
    for number in range(10):
        message = await say(store)
        await asyncio.gather(
            store.update(message.id, MessageUpdate(text=f"back {number}")),
            store.delete_messages([message.id]),
            return_exceptions=True,
        )

    assert await texts(store) == ["kept"]


# --- time to live -----------------------------------------------------------------------------------


@pytest.mark.store_options(ttl=timedelta(hours=1))
async def test_no_key_of_a_session_stays_when_the_others_expire(store: SessionStore) -> None:
    for number in range(3):
        message = await say(store, session=f"s{number % 2}", id=uuid4())
        await store.update(message.id, MessageUpdate(text="new"))
    await store.rename_session(FLOW, "s0", "s1")
    await say(store, session="s2")
    await store.update(message.id, MessageUpdate(session_id="s2"))
    raw: Any = store.connection.client
    of_sessions = [k for k in await all_keys(store) if b":log:" in k or b":edits:" in k or b":adopted:" in k]

    assert len(of_sessions) >= 5
    for key in of_sessions:
        assert await raw.pttl(key) > 0, key


# --- corrupt entries --------------------------------------------------------------------------------

NUMBER = draw_number(FLOW)
SOUND = (
    b'{}\n{"sender":"User","sender_name":"Ann"\n,"context_id":null,"text":"?","files":"[]","edit":false,'
    b'"duration":null,"properties":{"text_color":null,"background_color":null,"edited":false,"source":{"id":'
    b'null,"display_name":null,"source":null},"icon":null,"allow_markdown":false,"positive_feedback":null,'
    b'"state":"complete","targets":[],"usage":null,"build_duration":null},"category":"message",'
    b'"content_blocks":[],"session_metadata":null}'
)
CORRUPT: dict[str, Callable[[int], tuple[str, dict[bytes, bytes]]]] = {
    "no field of ours": lambda number: (f"-{number}", {b"x": b"y"}),
    "an empty body": lambda number: (f"-{number}", {b"b": b""}),
    "text": lambda number: (f"-{number}", {b"b": b"hello"}),
    "other JSON": lambda number: (f"-{number}", {b"b": b'{"text":"hello"}'}),
    "half a body": lambda number: (f"-{number}", {b"b": SOUND[:100]}),
    "the other half": lambda number: (f"-{number}", {b"b": SOUND[100:]}),
    "another type of text": lambda number: (f"-{number}", {b"b": SOUND.replace(b'"?"', b"5")}),
    "not UTF-8": lambda number: (f"-{number}", {b"b": SOUND.replace(b"?", b"\xff\xfe")}),
    "files that are none": lambda number: (f"-{number}", {b"b": SOUND.replace(b'"[]"', b'"[nothing"')}),
    "files of another type": lambda number: (f"-{number}", {b"b": SOUND.replace(b'"[]"', b'"5"')}),
    "no properties": lambda number: (f"-{number}", {b"b": SOUND.replace(b'"text_color":null,', b"")}),
    "properties of another type": lambda number: (
        f"-{number}",
        {b"b": b'{"properties":{"state":5}}' + SOUND[2:]},
    ),
    "a number of another session": lambda _: (f"-{NUMBER}", {b"b": SOUND}),
    "no number": lambda _: ("-5", {b"b": SOUND}),
    "an id of the wrong length": lambda number: (f"-{number}", {b"b": SOUND, b"i": b"short"}),
    "a time that is none": lambda number: (f"-{number}", {b"t": b"soon", b"b": SOUND}),
    "a time beyond all years": lambda number: (f"-{number}", {b"t": b"9" * 20, b"b": SOUND}),
    "a time after its entry": lambda number: (
        f"-{number}",
        {b"t": b"%d" % (at(9).timestamp() * 1_000_000), b"b": SOUND},
    ),
}
corrupt = pytest.mark.parametrize("kind", CORRUPT)


async def spoil(store: SessionStore, kind: str) -> list[Message]:
    """A session with a corrupt entry between good ones, which are returned."""
    good = [await say(store, "1", timestamp=at(1))]
    record: bytes = await store.connection.client.hget(keys_of(store).ids, "schat")
    tail, content = CORRUPT[kind](int(record.split(b"|")[0]))
    place = f"{int(at(2).timestamp()) * 1_000_000}{tail}"
    raw: Any = store.connection.client
    await raw.xadd(keys_of(store).log("chat"), content, id=place)
    return [*good, await say(store, "3", timestamp=at(3)), await say(store, "4", timestamp=at(4))]


def look_at(message: Message) -> Message:
    """What is converted when it is looked at, converts."""
    message.model_dump(mode="json")
    return message


@corrupt
async def test_a_corrupt_entry_hides_no_good_one(store: SessionStore, kind: str) -> None:
    good = await spoil(store, kind)

    assert [look_at(message) for message in await store.history(FLOW, "chat")] == good
    assert [look_at(message) for message in await store.history(FLOW, "chat", limit=3)] == good
    assert await store.history(FLOW, "chat", before=good[2], limit=2) == good[:2]
    assert await store.history(FLOW, "chat", sender="User") == good
    assert [look_at(message) for message in await store.recent(FLOW)] == good[::-1]
    assert await store.recent(FLOW, limit=3) == good[::-1]
    assert await store.get_many([message.id for message in good]) == good


@corrupt
async def test_a_corrupt_entry_hides_no_good_one_from_the_monitor(store: SessionStore, kind: str) -> None:
    good = await spoil(store, kind)
    shown = await store.history_json(FLOW, "chat")

    for message in good:
        assert [item for item in shown if item.startswith(f'{{"id":"{message.id}"'.encode())]


async def test_half_a_body_does_not_spoil_a_response(store: SessionStore) -> None:
    good = await spoil(store, "text")
    number = int((await store.connection.client.hget(keys_of(store).ids, "schat")).split(b"|")[0])
    raw: Any = store.connection.client
    for micro, length in enumerate(range(1, len(SOUND), 40)):
        place = f"{int(at(5).timestamp()) * 1_000_000 + micro}-{number}"
        await raw.xadd(keys_of(store).log("chat"), {b"b": SOUND[:length]}, id=place)

    shown = json.loads(join(await store.history_json(FLOW, "chat")))
    assert [message["id"] for message in shown] == [message.id for message in good]


@corrupt
async def test_a_session_with_a_corrupt_entry_goes_on(store: SessionStore, kind: str) -> None:
    good = await spoil(store, kind)
    changed = await store.update(good[0].id, MessageUpdate(text="new"))
    assert await store.history(FLOW, "chat") == [changed, *good[1:]]
    assert await store.delete_messages([good[1].id]) == [good[1].id]
    await say(store, "other", "talk")
    await store.rename_session(FLOW, "chat", "talk")
    assert await texts(store, "talk") == ["new", "4", "other"]
    await store.delete_session(FLOW, "talk")

    assert await store.flows() == []


async def test_a_corrupt_entry_is_counted(store: SessionStore) -> None:
    await spoil(store, "text")
    before = store.counters.corrupt_entries
    await store.history(FLOW, "chat")

    assert store.counters.corrupt_entries > before


async def test_a_corrupt_entry_of_the_far_future_hides_no_good_one(store: SessionStore) -> None:
    good = [await say(store, "1")]
    raw: Any = store.connection.client
    record: bytes = await raw.hget(keys_of(store).ids, "schat")
    number = record.split(b"|")[0].decode()
    for us in (253_402_300_800_000_000, 2**60):
        await raw.xadd(keys_of(store).log("chat"), {b"b": SOUND}, id=f"{us}-{number}")

    assert [look_at(message) for message in await store.history(FLOW, "chat")] == good
    assert len(await store.history_json(FLOW, "chat")) == 1
    assert [look_at(message) for message in await store.recent(FLOW)] == good


async def test_a_corrupt_message_is_not_changed_but_can_be_deleted(store: SessionStore) -> None:
    message = await say(store)
    kept = await say(store, "kept")
    raw: Any = store.connection.client
    place = (await raw.xrange(keys_of(store).log("chat")))[0][0]
    await raw.hset(keys_of(store).edits("chat"), place, b"not ours")

    assert await store.get(message.id) is None
    with pytest.raises(MessageNotFoundError):
        await store.update(message.id, MessageUpdate(text="new"))
    assert await store.delete_messages([message.id]) == [message.id]
    assert await store.history(FLOW, "chat") == [kept]


# --- passwords --------------------------------------------------------------------------------------

PASSWORD = "p@ss/w#rd:1?&%41 ü[]{}\\'\"+=~$"


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with valkey_server(requirepass=PASSWORD) as server:
        yield server


async def test_any_password_works_in_a_url_when_percent_encoded(locked: Server) -> None:
    async with SessionStore.from_url(f"redis://:{quote(PASSWORD, safe='')}@{HOST}:{locked.port}/0") as store:
        await store.ping()


async def test_any_password_works_plain_in_the_environment(
    locked: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_PASSWORD", PASSWORD)
    async with SessionStore.from_url(f"redis://{HOST}:{locked.port}") as store:
        await store.ping()


async def test_any_password_works_in_a_file(
    locked: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    monkeypatch.setenv("REDIS_SESSIONS_PASSWORD_FILE", str(tmp_path / "password"))
    async with SessionStore.from_url(f"redis://{HOST}:{locked.port}") as store:
        await store.ping()


async def test_a_password_is_in_no_repr(locked: Server) -> None:
    async with SessionStore.from_url(f"redis://{HOST}:{locked.port}", password=PASSWORD) as store:
        shown = f"{store!r} {store.settings!r} {store.connection!r}"

    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


# --- torn sets --------------------------------------------------------------------------------------


async def test_a_batch_that_fails_stores_none_of_its_session(store: SessionStore) -> None:
    identity = str(uuid4())
    await say(store, "there", "other", id=identity)
    batch: list[Any] = [
        {"text": "1"},
        {"text": "2", "id": identity},
        {"text": "3", "timestamp": datetime.now(UTC)},
    ]
    with pytest.raises(MessageExistsError):
        await store.append_many(
            FLOW, [NewMessage(sender="U", sender_name="A", session_id="chat", **item) for item in batch]
        )

    assert await store.sessions(FLOW) == ["other"]
