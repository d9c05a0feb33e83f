"""Broken states, made by hand; each is found, mended, and gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import doctor
from redis_sessions.doctor import KINDS
from redis_sessions.keys import TYPES, FlowKeys
from tests.doctor.conftest import ADOPTED
from tests.support import wait_until
from tests.support.talk import dump, keys_of, texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions import SessionStore
    from redis_sessions.doctor import Report
    from tests.conftest import Backend, MakeStore

CHAT = ["text 0", "text 1", "text 2", "text 3", "changed", "late", "kept", "moved"]


async def examine(store: SessionStore, *, mend: bool = False) -> Report:
    return await doctor.examine(store, mend=mend, settle=timedelta(milliseconds=100))


@dataclass
class Patient:
    """The store, its raw client and the keys of its main flow."""

    store: SessionStore
    raw: Any
    keys: FlowKeys

    @property
    def prefix(self) -> str:
        return self.store.settings.prefix

    async def number(self, session: str = "chat") -> bytes:
        record: bytes = await self.raw.hget(self.keys.ids, f"s{session}")
        return record.partition(b"|")[0].partition(b",")[0]


@pytest.fixture
def patient(furnished: SessionStore, backend: Backend) -> Patient:
    return Patient(furnished, backend.raw(furnished), keys_of(furnished))


def counts(report: Report) -> dict[str, tuple[int, int]]:
    print([finding for kind in report.kinds.values() for finding in kind.first])  # shown when a test fails
    return {name: (kind.found, kind.mended) for name, kind in report.kinds.items()}


async def drop_record(patient: Patient) -> None:
    await patient.raw.hdel(patient.keys.ids, "schat")


async def spoil_record(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.ids, "schat", "spoilt")


async def drop_ids(patient: Patient) -> None:
    await patient.raw.delete(patient.keys.ids)


async def drop_number_of_record(patient: Patient) -> None:
    """The record has another number than the entries, as after an append to a log without a name."""
    await patient.raw.hset(patient.keys.ids, "schat", str(int(await patient.number()) ^ 1) + "|0|0")


async def drop_log(patient: Patient) -> None:
    await patient.raw.delete(patient.keys.log("chat"))


async def empty_log(patient: Patient) -> None:
    for entry, _ in await patient.raw.xrange(patient.keys.log("chat")):
        await patient.raw.xdel(patient.keys.log("chat"), entry)


async def list_nothing(patient: Patient) -> None:
    await patient.raw.zadd(patient.keys.sessions, {"nothing": 1})


async def spoil_record_without_log(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.ids, "snothing", "spoilt")


async def misplace(patient: Patient) -> None:
    await patient.raw.zadd(patient.keys.sessions, {"chat": 5})


async def unlist(patient: Patient) -> None:
    await patient.raw.zrem(patient.keys.sessions, "chat")


async def drop_list(patient: Patient) -> None:
    await patient.raw.delete(patient.keys.sessions)


async def drop_number(patient: Patient) -> None:
    await patient.raw.hdel(patient.keys.ids, b"n" + await patient.number())


async def number_of_nothing(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.ids, "n77", "nothing")


async def number_of_another(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.ids, "n77", "chat")


async def alias_of_no_entry(patient: Patient) -> None:
    entry = b"1-" + await patient.number()
    await patient.raw.hset(patient.keys.aliases, uuid4().bytes, entry)


async def alias_of_no_session(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.aliases, uuid4().bytes, "1-77")


async def spoilt_alias(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.aliases, uuid4().bytes, "spoilt")


async def unlisted_alias(patient: Patient) -> None:
    await patient.raw.srem(patient.keys.adopted(int(await patient.number())), ADOPTED.bytes)


async def listed_for_nothing(patient: Patient) -> None:
    await patient.raw.sadd(patient.keys.adopted(int(await patient.number())), uuid4().bytes)


async def listed_for_no_session(patient: Patient) -> None:
    await patient.raw.sadd(patient.keys.adopted(77), uuid4().bytes)


async def edit_of_no_entry(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.edits("chat"), "1-1", "{}")


async def edit_that_is_spoilt(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.edits("chat"), "spoilt", "{}")


async def edits_of_no_session(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.edits("nothing"), "1-1", "{}")


async def unregister(patient: Patient) -> None:
    await patient.raw.srem(f"{patient.prefix}:flows", "flow")


async def unregister_with_owner(patient: Patient) -> None:
    await patient.raw.srem(f"{patient.prefix}:owner:ann", "flow")


async def register_nothing(patient: Patient) -> None:
    await patient.raw.sadd(f"{patient.prefix}:flows", "nothing")


async def register_with_another(patient: Patient) -> None:
    await patient.raw.sadd(f"{patient.prefix}:owner:bob", "flow")


async def wrong_builds(patient: Patient) -> None:
    await patient.raw.set(patient.keys.builds, "x")


async def wrong_list(patient: Patient) -> None:
    await patient.raw.delete(patient.keys.sessions)
    await patient.raw.set(patient.keys.sessions, "x")


async def wrong_registry(patient: Patient) -> None:
    await patient.raw.delete(f"{patient.prefix}:flows")
    await patient.raw.set(f"{patient.prefix}:flows", "x")


async def wrong_ids(patient: Patient) -> None:
    await replace(patient, patient.keys.ids)


async def wrong_aliases(patient: Patient) -> None:
    await replace(patient, patient.keys.aliases)


async def wrong_adopted(patient: Patient) -> None:
    await replace(patient, patient.keys.adopted(int(await patient.number())))


async def wrong_aliases_and_adopted(patient: Patient) -> None:
    await wrong_adopted(patient)
    await wrong_aliases(patient)


async def wrong_owner(patient: Patient) -> None:
    await replace(patient, patient.store._parts.keys.owner("ann"))


async def drop_aliases(patient: Patient) -> None:
    await patient.raw.delete(patient.keys.aliases)


async def number_led_astray(patient: Patient) -> None:
    await patient.raw.hset(patient.keys.ids, b"n" + await patient.number(), "other")


async def number_of_two(patient: Patient) -> None:
    """As if by hand: the other session's record has it too, and no message with it."""
    record = await patient.raw.hget(patient.keys.ids, "sother")
    await patient.raw.hset(patient.keys.ids, "sother", await patient.number() + b"," + record)


async def number_of_two_led_astray(patient: Patient) -> None:
    await number_of_two(patient)
    await number_led_astray(patient)


async def number_of_two_and_a_name(patient: Patient) -> None:
    """The other session has nothing but the number: no messages, and no other number."""
    await patient.raw.hset(patient.keys.ids, "snothing", await patient.number() + b"|0|0")


async def replace(patient: Patient, key: bytes) -> None:
    await patient.raw.delete(key)
    await patient.raw.rpush(key, "x")


BREAKS: dict[Callable[[Patient], Awaitable[None]], dict[str, int]] = {
    drop_record: {"log_without_name": 1},
    spoil_record: {"log_without_name": 1},
    drop_number_of_record: {"log_without_name": 1},
    list_nothing: {"name_without_log": 1},
    spoil_record_without_log: {"record": 1},
    misplace: {"score": 1},
    unlist: {"score": 1},
    drop_list: {"score": 2},
    drop_number: {"number": 1},
    number_of_nothing: {"number": 1},
    number_of_another: {"number": 1},
    alias_of_no_entry: {"alias": 1},
    alias_of_no_session: {"alias": 1},
    spoilt_alias: {"alias": 1},
    unlisted_alias: {"alias": 1},
    listed_for_nothing: {"adopted": 1},
    listed_for_no_session: {"adopted": 1},
    edit_of_no_entry: {"edit": 1},
    edit_that_is_spoilt: {"edit": 1},
    edits_of_no_session: {"edit": 1},
    unregister: {"unregistered": 1},
    unregister_with_owner: {"unregistered": 1},
    register_nothing: {"empty_flow": 1},
    register_with_another: {"owner": 1},
    wrong_builds: {"wrong_type": 1},
    wrong_list: {"wrong_type": 1, "score": 2},
    wrong_registry: {"wrong_type": 1, "unregistered": 4},
    wrong_aliases: {"wrong_type": 1, "alias": 2},
    wrong_adopted: {"wrong_type": 1, "alias": 2},
    wrong_aliases_and_adopted: {"wrong_type": 2, "alias": 2},
    wrong_owner: {"wrong_type": 1, "unregistered": 1},
    drop_aliases: {"alias": 2},
    number_led_astray: {"number": 1},
    number_of_two: {"number": 1},
    number_of_two_led_astray: {"number": 1},
    number_of_two_and_a_name: {"name_without_log": 1},
    wrong_ids: {"wrong_type": 1, "log_without_name": 2, "owner": 1},
}


@pytest.mark.backends("valkey", "cluster")
@pytest.mark.parametrize("make", BREAKS, ids=lambda make: make.__name__)
async def test_what_is_broken_is_found_and_mended(
    patient: Patient, make: Callable[[Patient], Awaitable[None]]
) -> None:
    sound = await dump(patient.store)
    await make(patient)
    broken = await dump(patient.store)
    assert broken != sound

    report = await examine(patient.store)
    assert next(iter(BREAKS[make])) in report.kinds
    assert report.healthy == all(KINDS[kind][0] != "problem" for kind in BREAKS[make])
    assert not any(kind.mended for kind in report.kinds.values())
    assert await dump(patient.store) == broken

    mended = await examine(patient.store, mend=True)
    assert counts(mended) == {kind: (count, count) for kind, count in BREAKS[make].items()}
    assert all(finding.mended for kind in mended.kinds.values() for finding in kind.first)

    again = await examine(patient.store, mend=True)
    assert counts(again) == {}
    assert again.healthy
    assert sorted(await texts(patient.store)) == sorted(CHAT)
    assert await patient.store.get(ADOPTED, flow_id="flow") is not None
    after = await dump(patient.store)
    assert {key: value for key, value in after.items() if b"aside" not in key} == sound_again(sound, after)


def sound_again(sound: dict[bytes, Any], after: dict[bytes, Any]) -> dict[bytes, Any]:
    """What was there before the break; a record may have its numbers in another order, and is a newer one."""
    return {
        key: after[key] if key.endswith((b":ids", b":feed")) and key in after else value
        for key, value in sound.items()
    }


async def test_all_maps_lost_and_restored(patient: Patient) -> None:
    sound = await texts(patient.store)
    other = await texts(patient.store, "other")
    await drop_ids(patient)
    await patient.raw.delete(patient.keys.aliases)
    assert await texts(patient.store) == []

    report = await examine(patient.store, mend=True)

    assert report.kinds["log_without_name"].mended == 2
    assert await texts(patient.store) == sound
    assert await texts(patient.store, "other") == other
    assert await patient.store.get(ADOPTED, flow_id="flow") is not None
    assert sorted(await patient.store.sessions("flow")) == ["chat", "other"]
    assert (await examine(patient.store)).healthy


@pytest.mark.parametrize("make", [drop_log, empty_log])
async def test_a_name_without_messages_is_dropped(
    patient: Patient, make: Callable[[Patient], Awaitable[None]]
) -> None:
    await make(patient)
    assert set((await examine(patient.store)).kinds) >= {"name_without_log"}

    report = await examine(patient.store, mend=True)

    assert report.kinds["name_without_log"].mended == 1
    assert await patient.store.sessions("flow") == ["other"]
    assert counts(await examine(patient.store)) == {}


async def test_what_has_expired_is_a_note_and_is_swept(make_store: MakeStore) -> None:
    store = await make_store(ttl=timedelta(seconds=60))
    for session in ("one", "two"):
        await store.append("flow", session_id=session, text="x", sender="U", sender_name="A", id=uuid4())
    raw: Any = store.connection.client
    log = keys_of(store).log("one")
    await raw.pexpire(log, 1)

    async def expired() -> bool:
        return not await raw.exists(log)

    await wait_until(expired)
    report = await examine(store)
    assert counts(report) == {"expired": (1, 0)}
    assert report.healthy
    assert counts(await examine(store, mend=True)) == {"expired": (1, 1)}
    assert counts(await examine(store)) == {}
    assert await texts(store, "two") == ["x"]


async def test_entries_that_are_not_ours_are_told_and_left(patient: Patient) -> None:
    await patient.raw.xadd(patient.keys.log("chat"), {"junk": "x"}, id="99999999999999999-1")
    before = await dump(patient.store)

    report = await examine(patient.store, mend=True)

    assert counts(report) == {"foreign": (1, 0)}
    assert not report.healthy
    assert await dump(patient.store) == before


async def test_unknown_keys_are_told_and_left(patient: Patient) -> None:
    await patient.raw.set(f"{patient.prefix}:{{flow}}:what", "x")
    await patient.raw.set(f"{patient.prefix}:else", "x")
    before = await dump(patient.store)

    report = await examine(patient.store, mend=True)

    assert counts(report) == {"unknown_key": (2, 0)}
    assert report.healthy
    assert await dump(patient.store) == before


async def test_a_wrong_type_is_not_renamed_onto_another_key(patient: Patient) -> None:
    await wrong_builds(patient)
    await patient.raw.set(patient.keys.aside(patient.keys.builds), "precious")

    report = await examine(patient.store, mend=True)

    assert counts(report) == {"wrong_type": (1, 0)}
    assert await patient.raw.get(patient.keys.aside(patient.keys.builds)) == b"precious"


async def copy_chat(patient: Patient) -> None:
    """As if by hand: the same messages once more, under another name."""
    await patient.raw.copy(patient.keys.log("chat"), patient.keys.log("copy"))
    record = await patient.raw.hget(patient.keys.ids, "schat")
    await patient.raw.hset(patient.keys.ids, "scopy", record)


async def test_two_sessions_with_the_same_messages_are_told_and_left(patient: Patient) -> None:
    await copy_chat(patient)
    before = await texts(patient.store)

    report = await examine(patient.store, mend=True)

    assert not report.healthy
    [finding] = report.kinds["number"].first
    assert (finding.subject, finding.mended) == ("copy", "")
    assert "delete the session that is wrong" in finding.text
    assert await texts(patient.store) == before
    assert await texts(patient.store, "copy") == await unedited(patient)


async def unedited(patient: Patient) -> list[str]:
    return ["text 4" if text == "changed" else text for text in await texts(patient.store)]


@pytest.mark.parametrize("wrong", ["chat", "copy"])
async def test_two_sessions_with_the_same_messages_are_mended_once_one_is_deleted(
    patient: Patient, wrong: str
) -> None:
    await copy_chat(patient)
    [kept] = {"chat", "copy"} - {wrong}
    before = await texts(patient.store, kept)
    await patient.store.delete_session("flow", wrong)

    await examine(patient.store, mend=True)

    assert counts(await examine(patient.store)) == {}
    assert await texts(patient.store, kept) == before
    for message in await patient.store.history("flow", kept):
        assert await patient.store.get(message.id, flow_id="flow") == message


def keys_of_kinds(patient: Patient, number: int) -> dict[str, bytes]:
    keys, others = patient.keys, patient.store._parts.keys
    named = {"log": keys.log("chat"), "edits": keys.edits("chat"), "converted": keys.converted("chat")}
    fixed = {
        kind: getattr(keys, kind)
        for kind in TYPES
        if hasattr(FlowKeys("rs", "f"), kind) and kind not in named
    }
    return (
        {kind: key for kind, key in fixed.items() if isinstance(key, bytes)}
        | named
        | {"adopted": keys.adopted(number), "merge": keys.merge}
        | {"flows": others.flows, "owner": others.owner("ann"), "leaving": others.leaving}
        | {"count": others.count("x"), "import": others.transfer("x")}
    )


KINDS_OF_KEYS = [*TYPES, "merge", "flows", "owner", "leaving", "count", "import"]


@pytest.mark.backends("valkey", "cluster")
@pytest.mark.parametrize("kind", KINDS_OF_KEYS)
async def test_a_key_of_a_wrong_type_is_set_aside_and_the_rest_is_sound(patient: Patient, kind: str) -> None:
    other = await texts(patient.store, "other")
    key = keys_of_kinds(patient, int(await patient.number()))[kind]
    await replace(patient, key)

    found = await examine(patient.store)
    assert found.kinds["wrong_type"].found == 1
    assert not found.healthy

    mended = await examine(patient.store, mend=True)
    assert mended.healthy
    [finding] = mended.kinds["wrong_type"].first
    assert counts(await examine(patient.store)) == {}
    assert await texts(patient.store, "other") == other
    aside = finding.mended.removeprefix("renamed to ").partition(";")[0]
    assert await patient.raw.lrange(aside, 0, -1) == [b"x"]


async def test_messages_whose_changes_were_lost_are_as_they_were_stored(patient: Patient) -> None:
    before = await unedited(patient)
    await replace(patient, patient.keys.edits("chat"))

    await examine(patient.store, mend=True)

    assert await texts(patient.store) == before


async def test_a_session_whose_log_was_lost_begins_anew(patient: Patient) -> None:
    await replace(patient, patient.keys.log("chat"))

    report = await examine(patient.store, mend=True)
    assert report.kinds["name_without_log"].mended == 1

    await patient.store.append("flow", session_id="chat", text="new", sender="U", sender_name="A")
    assert await texts(patient.store) == ["new"]
    assert counts(await examine(patient.store)) == {}


async def test_a_flow_has_its_owner_again_when_its_id_map_was_lost(patient: Patient) -> None:
    await wrong_ids(patient)

    await examine(patient.store, mend=True)

    assert await patient.store.owner("flow") == "ann"
    assert await patient.store.flows(owner="ann") == ["flow"]


async def test_a_flow_that_two_owners_claim_gets_neither_when_its_id_map_was_lost(patient: Patient) -> None:
    await register_with_another(patient)
    await wrong_ids(patient)

    await examine(patient.store, mend=True)

    assert await patient.store.owner("flow") is None


async def test_restored_sessions_still_expire_from_the_list(make_store: MakeStore) -> None:
    store = await make_store(ttl=timedelta(seconds=60))
    await store.append("flow", session_id="one", text="x", sender="U", sender_name="A")
    raw: Any = store.connection.client
    await raw.delete(keys_of(store).ids)
    assert (await examine(store, mend=True)).kinds["log_without_name"].mended == 1

    await raw.delete(keys_of(store).log("one"))

    assert await store.sessions("flow") == []


async def test_everything_at_once(patient: Patient) -> None:
    for make in BREAKS:
        if make not in {drop_record, drop_number_of_record, spoil_record}:
            await make(patient)

    await examine(patient.store, mend=True)

    assert counts(await examine(patient.store, mend=True)) == {}
    assert sorted(await texts(patient.store)) == sorted(CHAT)


async def test_a_healthy_store_stays_as_it_is(patient: Patient) -> None:
    before = await dump(patient.store)
    serialized_before = await serialized(patient)

    report = await examine(patient.store, mend=True)

    assert counts(report) == {}
    assert report.healthy
    assert report.flows == 4
    assert await dump(patient.store) == before
    assert await serialized(patient) == serialized_before


async def serialized(patient: Patient) -> dict[bytes, bytes]:
    """DUMP of all keys but sets: Redis 7.0 writes them in another order from one time to the next."""
    types = await dump(patient.store)
    return {key: await patient.raw.dump(key) for key, (kind, *_) in types.items() if kind != "set"}


async def test_a_store_of_another_prefix_is_left_alone(patient: Patient, make_store: MakeStore) -> None:
    stranger = await make_store(prefix=f"{patient.prefix}x")
    await stranger.append("flow", session_id="chat", text="x", sender="U", sender_name="A")
    await patient.raw.delete(keys_of(stranger).ids)
    before = await dump(stranger)

    assert counts(await examine(patient.store, mend=True)) == {}

    assert await dump(stranger) == before


def test_every_kind_of_key_is_known() -> None:
    fixed = {name for name in FlowKeys.__slots__ if isinstance(getattr(FlowKeys("rs", "f"), name), bytes)}
    assert fixed - {"_base", "merge"} | {"log", "edits", "adopted", "converted"} == set(TYPES)
