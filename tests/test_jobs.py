"""Builds by their job, what is removed of builds and transactions, and deletions that are under way."""

from __future__ import annotations

import random
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import InvalidInputError, InvalidTimestampError, Transaction, VertexBuild
from tests.support.talk import keys_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore

FLOW = "a-flow"
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def build(vertex: str, second: int, job: str | None = None, **fields: Any) -> VertexBuild:
    values = {"id": vertex, "valid": True, "flow_id": FLOW, "job_id": job, **fields}
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{vertex} {job} {second}")
    return VertexBuild(timestamp=BEGIN + timedelta(seconds=second), build_id=str(name), **values)


def run(second: int, **fields: Any) -> Transaction:
    values = {"vertex_id": "v", "status": "success", "flow_id": FLOW, **fields}
    return Transaction(timestamp=BEGIN + timedelta(seconds=second), **values)


async def test_builds_of_earlier_jobs_are_found_by_their_job(store: SessionStore) -> None:
    one = [build("a", 1, "job-1"), build("b", 2, "job-1")]
    two = [build("a", 3, "job-2"), build("b\x01 7", 4, "job-2")]
    for each in [*one, *two]:
        assert await store.put_build(each)

    assert await store.builds(FLOW) == [one[1], *two]
    assert await store.job_builds(FLOW, "job-1") == one
    assert await store.job_builds(FLOW, "job-2") == two
    assert await store.job_builds(FLOW, "job") == []
    assert await store.job_builds("another", "job-1") == []


async def test_of_a_vertex_a_job_has_its_latest_build(store: SessionStore) -> None:
    for each in [build("a", 1, "j"), build("a", 2, "j"), build("a", 3, "k"), build("a", 4, "j")]:
        await store.put_build(each)

    assert await store.job_builds(FLOW, "j") == [build("a", 4, "j")]
    assert await store.job_builds(FLOW, "k") == [build("a", 3, "k")]


async def test_a_build_that_comes_late_is_kept_for_its_job_only(store: SessionStore) -> None:
    await store.put_build(build("a", 5, "new"))

    assert not await store.put_build(build("a", 3, "old"))
    assert not await store.put_build(build("a", 3, "old"))
    assert not await store.put_build(build("a", 2, "old"))
    assert not await store.put_build(build("a", 4))
    assert await store.builds(FLOW) == [build("a", 5, "new")]
    assert await store.job_builds(FLOW, "old") == [build("a", 3, "old")]


async def test_what_no_job_built_is_not_kept_when_the_next_build_comes(store: SessionStore) -> None:
    await store.put_build(build("a", 1, "j"))
    await store.put_build(build("a", 2))
    await store.put_build(build("a", 3, "k"))

    assert await store.job_builds(FLOW, "j") == [build("a", 1, "j")]
    assert await store.delete_job_builds(FLOW, ["j", "k"]) == 2
    assert await store.builds(FLOW) == []


async def test_a_vertex_keeps_no_more_builds_than_it_may(store: SessionStore) -> None:
    for second in [1, 3, 2, 5, 4]:
        await store.put_build(build("a", second, f"job-{second}"), per_vertex=3)

    kept = [bool(await store.job_builds(FLOW, f"job-{second}")) for second in range(1, 6)]
    assert kept == [False, False, True, True, True]


async def test_a_flow_keeps_no_more_builds_than_it_may_and_each_vertex_its_latest(
    store: SessionStore,
) -> None:
    for second in range(8):
        await store.put_build(build("ab"[second % 2], second, f"job-{second}"), max_builds=5)

    kept = [bool(await store.job_builds(FLOW, f"job-{second}")) for second in range(8)]
    assert kept == [False] * 3 + [True] * 5
    for number in range(6):
        await store.put_build(build(f"v{number}", 100 + number, "last"), max_builds=5)
    assert [one.id for one in await store.builds(FLOW)] == [f"v{number}" for number in range(1, 6)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.backends("memory", "valkey")
async def test_after_whatever_writes_the_lists_of_builds_say_what_is_there(
    store: SessionStore, backend: Backend, seed: int
) -> None:
    luck, raw, keys = random.Random(seed), backend.raw(store), keys_of(store, FLOW)
    most: dict[str, int] = {"max_builds": 9, "per_vertex": 1 + seed}
    for _ in range(120):
        vertex, job = luck.choice("abcd"), luck.choice(["j", "k", "l", "m", "n", None])
        if luck.random() < 0.1:
            await store.delete_job_builds(FLOW, [job or "j", "k"])
        else:
            await store.put_build(build(vertex, luck.randrange(40), job), **most)
        held = {name.decode(): value for name, value in (await raw.hgetall(keys.jobs)).items()}
        lists = {name[1:]: value.decode() for name, value in held.items() if name[0] == "l"}
        listed = {of: re.findall(r"(\d+) 1 (\w)", text) for of, text in lists.items()}
        assert all(times == sorted(times, key=lambda one: -int(one[0])) for times in listed.values())
        assert all(0 < len(times) < most["per_vertex"] for times in listed.values())
        fields = sorted(f"b1:{job}{of}" for of, times in listed.items() for _, job in times)
        assert fields == sorted(name for name in held if name[0] == "b")
        assert int(held.get("n", 0)) == len(fields)
        latest = await raw.hgetall(keys.builds)
        assert len(latest) / 2 + len(fields) <= most["max_builds"]
        assert {name[1:] for name in held if name[0] in "jl"} <= {name.decode()[1:] for name in latest}
        for of, times in listed.items():
            jobs = [job for _, job in times]
            if f"j{of}" in held:
                jobs.append(held[f"j{of}"].decode())
            assert len(set(jobs)) == len(jobs)
            assert int(times[0][0]) <= int(latest[f"t{of}".encode()])


@pytest.mark.parametrize("has", ["a message", "a build", "a transaction"])
@pytest.mark.parametrize("what", ["a build", "a transaction"])
async def test_to_a_flow_that_is_there_a_build_or_a_transaction_is_one_call(
    store: SessionStore, make_store: MakeStore, has: str, what: str
) -> None:
    match has:
        case "a message":
            await store.append(FLOW, text="x", sender="U", sender_name="A")
        case "a build":
            await store.put_build(build("a", 1))
        case _:
            await store.add_transaction(run(1))
    other = await make_store()  # does not know that the flow is there
    before = other.counters.calls
    await (other.put_build(build("b", 2)) if what == "a build" else other.add_transaction(run(2)))

    assert other.counters.calls - before == 1


@pytest.mark.parametrize("what", ["a build", "a transaction"])
async def test_a_flow_is_registered_with_its_first_build_or_transaction_and_when_it_gets_an_owner(
    store: SessionStore, make_store: MakeStore, what: str
) -> None:
    for number, owner in enumerate((None, "ann", "ann")):
        other = await make_store()
        before = other.counters.calls
        if what == "a build":
            await other.put_build(build("a", number), owner=owner)
        else:
            await other.add_transaction(run(number), owner=owner)
        assert await store.flows() == [FLOW]
        assert await store.flows(owner="ann") == ([FLOW] if owner else [])
    assert other.counters.calls - before == 1


@pytest.mark.store_options(max_ahead=timedelta(seconds=30))
@pytest.mark.parametrize("what", ["a build", "a transaction"])
async def test_how_far_ahead_a_build_or_a_transaction_may_be_is_settable(
    store: SessionStore, what: str
) -> None:
    for ahead, taken in ((10, True), (300, False)):
        at = datetime.now(UTC) + timedelta(seconds=ahead)
        if what == "a build":
            writing = store.put_build(build("a", 1).model_copy(update={"timestamp": at}))
        else:
            writing = store.add_transaction(run(1).model_copy(update={"timestamp": at}))  # type: ignore[assignment]
        if taken:
            await writing
        else:
            with pytest.raises(InvalidTimestampError):
                await writing


async def test_when_a_jobs_builds_go_those_before_them_are_the_latest_again(
    store: SessionStore, backend: Backend
) -> None:
    for job, second in (("j", 1), ("k", 2), ("l", 3)):
        await store.put_build(build("a", second, job), owner="me")
    await store.put_build(build("b", 4, "l"))

    assert await store.delete_job_builds(FLOW, ["l", "unknown"]) == 2
    assert await store.builds(FLOW) == [build("a", 2, "k")]
    assert await store.job_builds(FLOW, "j") == [build("a", 1, "j")]
    assert await store.delete_job_builds(FLOW, ["l"]) == 0
    assert await store.delete_job_builds(FLOW, ["j", "k"]) == 2
    assert await store.flows() == []
    assert await backend.keys(store) == []


async def test_deleting_builds_or_the_flow_takes_those_of_earlier_jobs_along(
    store: SessionStore, backend: Backend
) -> None:
    for delete in (store.delete_builds, store.delete_flow):
        await store.put_build(build("a", 1, "j"))
        await store.put_build(build("a", 2, "k"))
        await delete(FLOW)
        assert await backend.keys(store) == []


async def test_of_all_flows_together_the_ones_that_built_last_keep_their_builds(store: SessionStore) -> None:
    for flow, second in (("old", 1), ("new", 3), ("middle", 2)):
        for vertex in "abc":
            await store.put_build(build(vertex, second, flow, flow_id=flow))
    await store.put_build(build("a", 4, "again", flow_id="new"))

    assert await store.trim_builds(10) == 0
    assert await store.trim_builds(9) == 3
    assert [len(await store.builds(flow)) for flow in ("old", "middle", "new")] == [0, 3, 3]
    assert await store.trim_builds(1) == 3
    assert [len(await store.builds(flow)) for flow in ("old", "middle", "new")] == [0, 0, 3]


async def test_a_flow_keeps_as_many_transactions_as_the_call_says(store: SessionStore) -> None:
    for second in range(5):
        await store.add_transaction(run(second), max_transactions=3)

    assert [one.timestamp.second for one in await store.transactions(FLOW)] == [4, 3, 2]


async def test_chosen_transactions_are_deleted_and_with_the_last_one_the_flow(
    store: SessionStore, backend: Backend
) -> None:
    ann, bob = str(uuid.uuid4()), str(uuid.uuid4())
    for second in range(5):
        await store.add_transaction(run(second, user_id=ann if second % 2 else bob), owner="me")

    assert await store.delete_transactions(FLOW, lambda one: one.user_id == ann) == 2
    assert await store.delete_transactions(FLOW, lambda one: one.user_id == ann) == 0
    assert {one.user_id for one in await store.transactions(FLOW)} == {bob}
    assert await store.delete_transactions(FLOW, lambda one: True) == 3
    assert await store.flows() == await store.flows(owner="me") == []
    assert await backend.keys(store) == []


async def test_a_flow_with_sessions_stays_when_its_last_transaction_goes(store: SessionStore) -> None:
    await store.append(FLOW, text="x", sender="U", sender_name="A", owner="me")
    await store.add_transaction(run(1))
    await store.delete_transactions(FLOW, lambda one: True)

    assert await store.owner(FLOW) == "me"


REMOVALS: dict[str, Callable[[SessionStore], Awaitable[int]]] = {
    "builds": lambda store: store.delete_builds(FLOW),
    "builds of a job": lambda store: store.delete_job_builds(FLOW, ["j"]),
    "transactions": lambda store: store.delete_transactions(FLOW, lambda _: True),
}


@pytest.mark.parametrize("removed", REMOVALS)
@pytest.mark.parametrize("left", ["nothing", "a message", "the other"])
async def test_a_flow_and_its_owner_go_with_the_last_that_it_has(
    store: SessionStore, backend: Backend, removed: str, left: str
) -> None:
    if removed != "transactions" or left == "the other":
        await store.put_build(build("a", 1, "j"), owner="me")
    if removed == "transactions" or left == "the other":
        await store.add_transaction(run(1), owner="me")
    if left == "a message":
        await store.append(FLOW, text="x", sender="U", sender_name="A")
    await backend.raw(store).hset(keys_of(store, FLOW).aliases, uuid.uuid4().bytes, "1-1")

    assert await REMOVALS[removed](store) == 1
    assert await store.flows(owner="me") == ([] if left == "nothing" else [FLOW])
    assert await store.owner(FLOW) == (None if left == "nothing" else "me")
    assert bool(await backend.keys(store)) == (left != "nothing")


@pytest.mark.parametrize("removed", REMOVALS)
async def test_a_flow_that_has_only_an_owner_stays_when_nothing_is_removed(
    store: SessionStore, removed: str
) -> None:
    await store.set_owner(FLOW, "me")

    assert await REMOVALS[removed](store) == 0
    assert await store.flows(owner="me") == [FLOW]


async def test_deletions_under_way_are_noted_until_they_end(store: SessionStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await store.begin_deletion("one")
    await store.begin_deletion("two")
    await store.begin_deletion("two")

    noted = dict(await store.deletions())
    assert sorted(noted) == ["one", "two"]
    assert all(before < at <= datetime.now(UTC) + timedelta(seconds=1) for at in noted.values())
    await store.end_deletion("one")
    await store.end_deletion("one")
    assert [flow for flow, _ in await store.deletions()] == ["two"]
    assert await store.flows() == []


async def test_a_session_tells_how_many_messages_it_has(store: SessionStore) -> None:
    for _ in range(3):
        await store.append(FLOW, text="x", sender="U", sender_name="A", session_id="s")

    assert [await store.length(FLOW, name) for name in ("s", "other")] == [3, 0]


@pytest.mark.parametrize("job", ["", "a\x00b", "x" * 129])
async def test_a_job_id_that_cannot_be_is_refused(store: SessionStore, job: str) -> None:
    with pytest.raises(InvalidInputError):
        await store.put_build(build("a", 1, job))
    with pytest.raises(InvalidInputError):
        await store.job_builds(FLOW, job)
