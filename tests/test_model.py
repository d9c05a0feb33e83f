"""The store against a model: random interleavings of every operation, and after each step all reads agree.

``make test`` runs a small number of fixed examples. A long search with new ones::

    MODEL_EXAMPLES=300 MODEL_STEPS=60 python -m pytest tests/test_model.py --timeout 0
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from redis_sessions.errors import (
    BatchError,
    InvalidTimestampError,
    MergeTooLargeError,
    MessageExistsError,
    MessageNotFoundError,
    OwnerMismatchError,
    RedisSessionsError,
    SessionNotFoundError,
)
from redis_sessions.ids import EntryId, flow_hash, from_cursor, hash_of, to_cursor
from redis_sessions.keys import Keys
from redis_sessions.models import Message, MessageUpdate, NewMessage, Properties
from redis_sessions.store import SessionStore
from tests.support.model import Block, Flow, Seen, Stored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence

    from redis_sessions.models import Event
    from tests.conftest import Backend, MakeStore

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
STEPS = int(os.environ.get("MODEL_STEPS", "30"))
ON_BACKENDS = pytest.mark.backends("memory", "valkey", "redis7")

FLOWS = ("flow-1", "flow-2")
SESSIONS = ("user1", "user10", "x}:log:y", "é\n*?", None)  # None: the flow's own id
OWNERS = (None, None, None, "ann", "bob")
ELSEWHERE = [str(uuid.UUID(int=number << 64 | 1 << 63, version=4)) for number in range(1, 6)]
MAX_MERGE = 9
BASE = 1_700_000_000_000_000
HOUR = 3_600_000_000
LIMITS = (1, 2, 5, 100)

steps_run: Counter[str] = Counter()

times = st.one_of(
    st.tuples(st.just("at"), st.integers(0, 4)),
    st.tuples(st.just("equal"), st.just(0)),
    st.tuples(st.just("late"), st.sampled_from((1, 2, 1_000_000))),
    st.tuples(st.just("later"), st.sampled_from((1, 2, 1_000_000))),
    st.tuples(st.just("now"), st.just(0)),
    st.tuples(st.just("epoch"), st.just(0)),
    st.tuples(st.just("ahead"), st.sampled_from((1, 23))),
    st.tuples(st.just("too far ahead"), st.just(25)),
)
ids = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.tuples(st.just("elsewhere"), st.integers(0, len(ELSEWHERE) - 1)),
    st.tuples(st.just("seen"), st.integers(0, 10_000)),
)
texts = st.sampled_from(("", "hello", "NUL \x00 stays", 'quote " and \\', "день 🌒", "line\nbreak"))
changes = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "sender_name": st.sampled_from(("Ann", "Bot")),
        "edit": st.booleans(),
        "error": st.booleans(),
        "files": st.lists(st.sampled_from(("a.txt", "ä/b.png")), max_size=2),
        "context_id": st.sampled_from(("c1", "c2")),
        "session_metadata": st.just({"k": [1, {"n": None}]}),
        "properties": st.builds(lambda icon: Properties(icon=icon).model_dump(), st.sampled_from("xy")),
    },
)
flows = st.sampled_from((0, 0, 0, 1))
sessions = st.sampled_from(SESSIONS)
items = st.tuples(times, ids, texts)
picks = st.integers(0, 10_000)

DEFAULTS: dict[str, Any] = {
    "sender": "User",
    "sender_name": "User",
    "context_id": None,
    "files": [],
    "error": False,
    "edit": False,
    "properties": Properties().model_dump(),
    "category": "message",
    "content_blocks": [],
    "session_metadata": None,
    "run_id": None,
    "user_id": None,
    "duration": None,
}


class Machine(RuleBasedStateMachine):
    """Two flows, some sessions each; every rule is one call, compared with the model in every respect."""

    backend: Backend
    options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.prefix = f"{self.backend.prefix}.{uuid.uuid4().hex[:8]}"
        self.flows = [Flow(name) for name in FLOWS]
        self.seen: list[tuple[Flow, str]] = []
        self.cursors: list[tuple[int, EntryId]] = []
        self.removals: dict[tuple[str, str], tuple[bytes, frozenset[bytes]]] = {}
        self.replayed: list[dict[str, str]] = [{}, {}]
        self.keep: int | None = self.options.get("max_messages")
        self.store = self.run(self.open())
        self.watching = [self.watch(flow) for flow in self.flows]

    async def open(self) -> SessionStore:
        # No deadline of a slow machine is a finding here.
        store = SessionStore.from_url(
            self.backend.url,
            prefix=self.prefix,
            max_merge=MAX_MERGE,
            deadline=timedelta(seconds=60),
            **self.options,
        )
        await store.open()
        return store

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def watch(self, flow: Flow) -> AsyncGenerator[Event, None]:
        store: SessionStore = self.store
        return store.watch(flow.id, after="0-0")

    def teardown(self) -> None:
        try:
            self.run(self.close())
        finally:
            self.runner.close()

    async def close(self) -> None:
        for watching in self.watching:
            await watching.aclose()
        for flow in self.flows:
            await self.store.delete_flow(flow.id)
        left = await self.backend.raw(self.store).keys(f"{self.prefix}:*")
        await self.store.aclose()
        assert left == []

    # --- what is drawn, made concrete ------------------------------------------------------------

    def time_of(self, flow: Flow, name: str, drawn: tuple[str, int]) -> int | None:
        """µs since 1970; None: the store's own now."""
        kind, number = drawn
        session = flow.sessions.get(name)
        clock = session.clock.us if session else BASE
        now = time.time_ns() // 1000
        match kind:
            case "at":
                return BASE + number
            case "equal":
                return clock
            case "late":
                return max(0, clock - number)
            case "later":
                return min(clock + number, now + 23 * HOUR)
            case "now":
                return None
            case "epoch":
                return 0
        return now + number * HOUR

    def id_of(self, drawn: tuple[str, int] | None) -> str | None:
        if drawn is None:
            return None
        kind, number = drawn
        if kind == "elsewhere":
            return ELSEWHERE[number]
        return self.pick(number)

    def pick(self, number: int) -> str:
        """An id that was seen, dead or alive, in any flow."""
        return self.seen[number % len(self.seen)][1] if self.seen else ELSEWHERE[0]

    def present(self, flow: Flow, number: int) -> str:
        """A message of the flow, or an id that is not there."""
        there = [entry.id for session in flow.sessions.values() for entry in session.entries]
        return there[number % len(there)] if there and number % 7 else self.pick(number)

    def where(self, flow: Flow, message_ids: Sequence[str], number: int) -> dict[str, Any]:
        """Candidates that lead to this flow: only its id says so when an id is in both."""
        elsewhere = [other for other in self.flows if other is not flow]
        if number % 2 or any(other.find(message_id) for other in elsewhere for message_id in message_ids):
            return {"flow_id": flow.id}
        return {"flows": [FLOWS[0], FLOWS[1]]} if number % 4 else {}

    def learn(self, flow: Flow, message: Message) -> int:
        """The session number that a message was given; a new one must be this flow's and unused."""
        number = from_cursor(message.cursor)[1].number
        used = {used for session in flow.sessions.values() for used in session.numbers}
        assert hash_of(number) == flow_hash(flow.id)
        assert message.session_id in flow.sessions or number not in used
        return number

    def note(self, flow: Flow, entry: Stored) -> None:
        if (flow, entry.id) not in self.seen:
            self.seen.append((flow, entry.id))
        self.cursors.append(entry.order)

    def expect(self, flow: Flow, *blocks: Block) -> None:
        """Exactly these events come next; a block is one write, the order of blocks is not given."""
        wanted = sorted(block for block in blocks if block)
        self.run(self._expect(flow, wanted))

    async def _expect(self, flow: Flow, wanted: list[Block]) -> None:
        by_id: dict[str, Block] = {}
        watching = self.watching[self.flows.index(flow)]
        for _ in range(sum(len(block) for block in wanted)):
            event = await anext(watching)
            assert event.flow_id == flow.id
            found = flow.find(event.message_id) if event.message_id else None
            if event.type in ("created", "updated") and found is not None:
                assert event.message is not None
                assert dump(event.message) == expected(flow, *found)
            else:
                assert event.message is None
            by_id.setdefault(event.id, []).append(
                Seen(event.type, event.session_id, event.message_id, event.old_session_id)
            )
            self.replay(flow, event)
        assert sorted(map(normal, by_id.values())) == sorted(map(normal, wanted))
        (last,) = await self.raw_feed(flow)
        assert not by_id or list(by_id)[-1] == last

    async def raw_feed(self, flow: Flow) -> list[str]:
        keys = Keys(self.prefix).flow(flow.id)
        entries = await self.backend.raw(self.store).xrevrange(keys.feed, count=1)
        return [entries[0][0].decode()] if entries else [""]

    def replay(self, flow: Flow, event: Event) -> None:
        """Keep where each message is, by the events alone."""
        places = self.replayed[self.flows.index(flow)]
        if event.message_id and event.type == "deleted":
            places.pop(event.message_id, None)
        elif event.message_id:
            places[event.message_id] = event.session_id
        elif event.type == "deleted":
            for message_id in [key for key, name in places.items() if name == event.session_id]:
                del places[message_id]
        else:
            for message_id in [key for key, name in places.items() if name == event.old_session_id]:
                places[message_id] = event.session_id

    def refused(self, errors: set[type[RedisSessionsError]], call: Coroutine[Any, Any, Any]) -> None:
        with pytest.raises(tuple(errors)):
            self.run(call)

    # --- the operations --------------------------------------------------------------------------

    @initialize()
    def count(self) -> None:
        steps_run["examples"] += 1

    @rule(which=flows, session=sessions, item=items, owner=st.sampled_from(OWNERS), rest=changes)
    def append(
        self,
        which: int,
        session: str | None,
        item: tuple[tuple[str, int], tuple[str, int] | None, str],
        owner: str | None,
        rest: dict[str, Any],
    ) -> None:
        flow = self.flows[which]
        name = session or flow.id
        drawn, id_drawn, text = item
        at, alias = self.time_of(flow, name, drawn), self.id_of(id_drawn)
        content = DEFAULTS | {"user_id": "u1"} | rest | {"text": text}
        call = self.store.append(
            flow.id,
            session_id=session,
            owner=owner,
            timestamp=moment(at),
            id=alias,
            **{name: content[name] for name in content if name not in ("run_id", "duration")},
        )
        errors = self.append_errors(flow, drawn, [alias], owner)
        if errors:
            self.refused(errors, call)
            return
        before = time.time_ns() // 1000
        message = self.run(call)
        if at is None:
            at = from_cursor(message.cursor)[0]
            assert before <= at <= time.time_ns() // 1000
        self.stored(flow, name, [(at, content, alias)], [message], owner)

    @rule(
        which=flows,
        placed=st.lists(st.tuples(sessions, items), min_size=1, max_size=5),
        owner=st.sampled_from(OWNERS),
    )
    def append_many(self, which: int, placed: list[tuple[str | None, Any]], owner: str | None) -> None:
        flow = self.flows[which]
        groups: dict[str, list[tuple[int, dict[str, Any], str | None]]] = {}
        errors: dict[str, set[type[RedisSessionsError]]] = {}
        messages, positions, used = [], [], set()
        for session, (drawn, id_drawn, text) in placed:
            name, alias = session or flow.id, self.id_of(id_drawn)
            holder = flow.find(alias) if alias else None
            if alias in used or (holder and holder[0] != name):
                # Sessions are stored side by side: one may trim what another finds in its way.
                alias = None
            used.add(alias)
            at = self.time_of(flow, name, drawn)
            at = time.time_ns() // 1000 if at is None else at
            positions.append((name, len(groups.setdefault(name, []))))
            groups[name].append((at, DEFAULTS | {"text": text}, alias))
            errors.setdefault(name, set()).update(self.append_errors(flow, drawn, [alias], owner))
            messages.append(
                NewMessage(
                    text=text,
                    sender="User",
                    sender_name="User",
                    session_id=session,
                    timestamp=moment(at),
                    id=alias,
                )
            )
        call = self.store.append_many(flow.id, messages, owner=owner)
        failing = {name for name in groups if errors[name]}
        if not failing:
            self.stored_batch(flow, groups, positions, self.run(call), owner)
            return
        if failing == set(groups):
            self.refused(set.union(*errors.values()) | {BatchError}, call)
            return
        with pytest.raises(BatchError) as caught:
            self.run(call)
        assert set(caught.value.failed) == failing
        for name, error in caught.value.failed.items():
            assert isinstance(error, tuple(errors[name]))
        positions = [(name, place) for name, place in positions if name not in failing]
        groups = {name: group for name, group in groups.items() if name not in failing}
        self.stored_batch(flow, groups, positions, caught.value.stored, owner)

    def append_errors(
        self, flow: Flow, drawn: tuple[str, int], aliases: list[str | None], owner: str | None
    ) -> set[type[RedisSessionsError]]:
        errors: set[type[RedisSessionsError]] = set()
        if owner and flow.owner and flow.owner != owner:
            errors.add(OwnerMismatchError)
        if drawn[0] == "too far ahead":
            errors.add(InvalidTimestampError)
        if any(alias and flow.find(alias) for alias in aliases):
            errors.add(MessageExistsError)
        return errors

    def stored_batch(
        self,
        flow: Flow,
        groups: dict[str, list[tuple[int, dict[str, Any], str | None]]],
        positions: list[tuple[str, int]],
        messages: list[Message],
        owner: str | None,
    ) -> None:
        assert [message.session_id for message in messages] == [name for name, _ in positions]
        blocks = []
        for name, group in groups.items():
            mine = [message for message in messages if message.session_id == name]
            blocks.append(self.record(flow, name, group, mine, owner))
        self.expect(flow, *blocks)

    def stored(self, flow: Flow, name: str, group: Any, messages: list[Message], owner: str | None) -> None:
        self.expect(flow, self.record(flow, name, group, messages, owner))

    def record(self, flow: Flow, name: str, group: Any, messages: list[Message], owner: str | None) -> Block:
        number = self.learn(flow, messages[0])
        added, block = flow.append(name, group, number=number, owner=owner, keep=self.keep)
        assert [dump(message) for message in messages] == [expected(flow, name, entry) for entry in added]
        assert [from_cursor(message.cursor) for message in messages] == [entry.order for entry in added]
        for entry in added:
            self.note(flow, entry)
        return block

    @rule(which=flows, number=picks, change=changes)
    def update(self, which: int, number: int, change: dict[str, Any]) -> None:
        flow = self.flows[which]
        message_id = self.present(flow, number)
        call = self.store.update(
            message_id, MessageUpdate(**change), **self.where(flow, [message_id], number)
        )
        found = flow.find(message_id)
        if found is None:
            self.refused({MessageNotFoundError}, call)
            return
        message = self.run(call)
        block = flow.update(message_id, change)
        assert dump(message) == expected(flow, *found)
        self.expect(flow, block)

    @rule(which=flows, number=picks, change=changes, to=sessions)
    def move(self, which: int, number: int, change: dict[str, Any], to: str | None) -> None:
        flow = self.flows[which]
        message_id, name = self.present(flow, number), to or flow.id
        call = self.store.update(
            message_id,
            MessageUpdate(session_id=name, **change),
            **self.where(flow, [message_id], number),
        )
        found = flow.find(message_id)
        if found is None:
            self.refused({MessageNotFoundError}, call)
            return
        message = self.run(call)
        if found[0] == name:
            block = flow.update(message_id, change)
        else:
            block = flow.move(message_id, change, name, self.learn(flow, message))
        found = flow.find(message_id)
        assert found is not None
        assert dump(message) == expected(flow, *found)
        assert from_cursor(message.cursor) == found[1].order
        self.note(flow, found[1])
        self.expect(flow, block)

    @rule(which=flows, numbers=st.lists(picks, min_size=1, max_size=4))
    def delete_messages(self, which: int, numbers: list[int]) -> None:
        flow = self.flows[which]
        wanted = list(dict.fromkeys(self.present(flow, number) for number in numbers))
        there = [message_id for message_id in wanted if flow.find(message_id)]
        deleted = self.run(self.store.delete_messages(wanted, **self.where(flow, wanted, numbers[0])))
        assert deleted == there
        self.expect(flow, *flow.delete(there))

    @rule(which=flows, session=sessions)
    def delete_session(self, which: int, session: str | None) -> None:
        flow = self.flows[which]
        count = self.run(self.store.delete_session(flow.id, session or flow.id))
        messages, block = flow.delete_session(session or flow.id)
        assert count == messages
        self.expect(flow, block)

    @rule(which=flows, number=picks, to=sessions)
    def rename(self, which: int, number: int, to: str | None) -> None:
        flow = self.flows[which]
        new = to or flow.id
        names = [*flow.names, "not there"] if number % 9 == 0 else flow.names or ["not there"]
        old = names[number % len(names)]
        call = self.store.rename_session(flow.id, old, new)
        source, there = flow.sessions.get(old), flow.sessions.get(new)
        if source is None:
            self.refused({SessionNotFoundError}, call)
            return
        if there and old != new and len(source.entries) + len(there.entries) > MAX_MERGE:
            self.refused({MergeTooLargeError}, call)
            return
        result = self.run(call)
        moved = frozenset(source.numbers)
        block = flow.rename(old, new)
        outcome = "unchanged" if old == new else "merged" if there else "renamed"
        length = len(flow.sessions[new].entries)
        assert (result.outcome, result.messages, result.session_id) == (outcome, length, new)
        assert result.numbers == moved
        self.expect(flow, block)

    @rule(which=flows, owner=st.sampled_from((None, "ann", "bob")))
    def set_owner(self, which: int, owner: str | None) -> None:
        flow = self.flows[which]
        self.run(self.store.set_owner(flow.id, owner))
        flow.owner, flow.registered = owner, True

    @rule(number=st.integers(0, 7))
    def delete_flow(self, number: int) -> None:
        if number > 1:  # seldom
            return
        flow = self.flows[number]
        count = self.run(self.store.delete_flow(flow.id))
        assert count == len(flow.sessions)
        flow.drop()
        self.run(self.watching[number].aclose())
        self.watching[number] = self.watch(flow)
        self.replayed[number].clear()

    # --- what must hold after every step ---------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        steps_run["steps"] += 1
        self.run(self.check())

    async def check(self) -> None:
        for flow, places in zip(self.flows, self.replayed, strict=True):
            here = {entry.id: name for name, entry in flow.recent}
            assert places == here
            await self.check_flow(flow)
        await self.check_ids()
        assert await self.store.flows() == [flow.id for flow in self.flows if flow.registered]
        for owner in ("ann", "bob"):
            owned = [flow.id for flow in self.flows if flow.owner == owner]
            assert await self.store.flows(owner=owner) == owned
        await self.check_keys()

    async def check_flow(self, flow: Flow) -> None:
        store = self.store
        assert await store.owner(flow.id) == flow.owner
        names = flow.names
        assert await store.sessions(flow.id) == names
        assert await store.sessions(flow.id, limit=2, offset=1) == names[1:3]
        newest = [expected(flow, *pair) for pair in flow.recent]
        for limit, offset in ((100, 0), (2, 0), (1, 2), (3, len(newest))):
            found = await store.recent(flow.id, limit=limit, offset=offset)
            assert [dump(message) for message in found] == newest[offset : offset + limit]
        await asyncio.gather(*(self.check_session(flow, session or flow.id) for session in SESSIONS))

    async def check_session(self, flow: Flow, name: str) -> None:
        store = self.store
        session = flow.sessions.get(name)
        entries = session.messages if session else []
        wanted = [expected(flow, name, entry) for entry in entries]
        whole: list[Message] = []
        for limit in LIMITS:
            whole = await store.history(flow.id, name, limit=limit)
            assert [dump(message) for message in whole] == wanted[-limit:]
        for limit in (2, 100):
            shown = await store.history_json(flow.id, name, limit=limit)
            assert [json.loads(text) for text in shown] == [rendered(message) for message in whole[-limit:]]
        errors = await store.history(flow.id, name, limit=2, include_errors=False, sender_name="User")
        wanted_errors = [item for item in wanted if not item["error"] and item["sender_name"] == "User"]
        assert [dump(message) for message in errors] == wanted_errors[-2:]

        pages: list[Message] = []
        before: Message | None = None
        while page := await store.history(flow.id, name, limit=2, before=before):
            pages = page + pages
            before = page[0]
        assert [dump(message) for message in pages] == wanted
        for order in self.some_cursors():
            page = await store.history(flow.id, name, limit=3, before=to_cursor(*order))
            older = [item for item, entry in zip(wanted, entries, strict=True) if entry.order < order]
            assert [dump(message) for message in page] == older[-3:]

    def some_cursors(self) -> list[tuple[int, EntryId]]:
        """Places, also of messages that are gone or in other sessions: the first, the last, one of all."""
        if not self.cursors:
            return []
        return [self.cursors[0], self.cursors[-1], self.cursors[steps_run["steps"] % len(self.cursors)]]

    async def check_ids(self) -> None:
        wanted = list(dict.fromkeys([message_id for _, message_id in self.seen] + ELSEWHERE))
        everywhere = await self.store.get_many(wanted)
        some = await self.store.get(wanted[steps_run["steps"] % len(wanted)])
        assert some == everywhere[steps_run["steps"] % len(wanted)]
        possible: list[list[Any]] = [[] for _ in wanted]
        for flow in self.flows:
            found = await self.store.get_many(wanted, flow_id=flow.id)
            for place, (message_id, message) in enumerate(zip(wanted, found, strict=True)):
                there = flow.find(message_id)
                assert (dump(message) if message else None) == (expected(flow, *there) if there else None)
                if message is not None:
                    possible[place].append(message)
        for message, options in zip(everywhere, possible, strict=True):
            assert message in options if options else message is None

    # --- what is in Redis: all of it, and nothing else -------------------------------------------

    async def check_keys(self) -> None:
        raw = self.backend.raw(self.store)
        keys = Keys(self.prefix)
        wanted = {keys.flows} if any(flow.registered for flow in self.flows) else set()
        for flow in self.flows:
            wanted |= await self.check_shard(flow)
            if flow.owner:
                wanted.add(keys.owner(flow.owner))
                assert flow.id.encode() in await raw.smembers(keys.owner(flow.owner))
        for owner in {flow.owner for flow in self.flows if flow.owner}:
            members = {flow.id.encode() for flow in self.flows if flow.owner == owner}
            assert await raw.smembers(keys.owner(owner)) == members
        present = await raw.keys(f"{self.prefix}:*")
        assert set(present) == wanted
        pipeline = raw.pipeline(transaction=False)
        for key in present:
            pipeline.pttl(key)
        for key, ttl in zip(present, await pipeline.execute(), strict=True):
            of_session = any(part in key for part in (b"}:log:", b"}:edits:", b"}:adopted:"))
            expires = key.endswith(b"}:feed") or ("ttl" in self.options and of_session)
            assert (ttl > 0) == expires, key

    async def check_shard(self, flow: Flow) -> set[bytes]:
        """The flow's keys hold what the model says; their names."""
        raw = self.backend.raw(self.store)
        keys = Keys(self.prefix).flow(flow.id)
        sessions = list(flow.sessions.items())
        pipeline = raw.pipeline(transaction=False)
        pipeline.hgetall(keys.ids).hgetall(keys.aliases).zrange(keys.sessions, 0, -1, withscores=True)
        for name, _ in sessions:
            pipeline.xrange(keys.log(name)).xinfo_stream(keys.log(name)).hgetall(keys.edits(name))
        maps, aliases, scores, *rest = await pipeline.execute()

        names = {keys.feed} if flow.has_feed else set()
        maps_wanted = {} if flow.owner is None else {b"owner": flow.owner.encode()}
        aliases_wanted: dict[bytes, bytes] = {}
        adopted: dict[int, set[bytes]] = {}
        scores_wanted = {}
        for place, (name, session) in enumerate(sessions):
            log, info, edits = rest[3 * place : 3 * place + 3]
            names.add(keys.log(name))
            assert [(entry, set(fields)) for entry, fields in log] == [
                (str(entry.place).encode(), fields_of(entry)) for entry in session.entries
            ]
            assert info["last-generated-id"] == str(session.clock).encode()
            edited = {str(entry.place).encode() for entry in session.entries if entry.edited}
            assert set(edits) == edited
            if edited:
                names.add(keys.edits(name))
            scores_wanted[name.encode()] = float(session.entries[-1].place.us)
            self.check_record(flow, name, maps.pop(b"s" + name.encode()), log)
            if "ttl" in self.options:
                maps_wanted[b"ttl"] = b"1"
            for number in session.numbers:
                maps_wanted[b"n%d" % number] = name.encode()
            for entry in session.entries:
                if entry.alias:
                    alias = uuid.UUID(entry.alias).bytes
                    aliases_wanted[alias] = str(entry.place).encode()
                    adopted.setdefault(entry.place.number, set()).add(alias)
        if not sessions:
            maps.pop(b"ttl", None)
        assert maps == maps_wanted
        assert aliases == aliases_wanted
        assert dict(scores) == scores_wanted
        for number, members in adopted.items():
            names.add(keys.adopted(number))
            assert await raw.smembers(keys.adopted(number)) == members
        names |= {keys.sessions} if sessions else set()
        names |= {keys.aliases} if aliases else set()
        names |= {keys.ids} if maps_wanted else set()
        return names

    def check_record(self, flow: Flow, name: str, record: bytes, log: list[Any]) -> None:
        session = flow.sessions[name]
        numbers, lateness, generation = record.split(b"|")
        assert [int(number) for number in numbers.split(b",")] == session.numbers
        assert int(lateness) == session.lateness
        assert int(lateness) >= max(entry.place.us - entry.at for entry in session.entries)
        # A reader takes equal numbers and generation to mean that nothing was removed.
        here = frozenset(entry for entry, _ in log)
        same, before = self.removals.get((flow.id, name), (b"", frozenset()))
        assert same != numbers + b"|" + generation or before <= here
        self.removals[flow.id, name] = (numbers + b"|" + generation, here)


def moment(us: int | None) -> datetime | None:
    return None if us is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def normal(block: Block) -> list[tuple[str, ...]]:
    return sorted(tuple(part or "" for part in seen) for seen in block)


def dump(message: Message) -> dict[str, Any]:
    return message.model_dump()


def expected(flow: Flow, name: str, entry: Stored) -> dict[str, Any]:
    return entry.content | {
        "id": entry.id,
        "flow_id": flow.id,
        "session_id": name,
        "timestamp": moment(entry.at),
    }


def rendered(message: Message) -> dict[str, Any]:
    """As Langflow's endpoint shows a message without content blocks."""
    return {
        "id": message.id,
        "flow_id": message.flow_id,
        "timestamp": message.timestamp.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": message.session_id,
        "context_id": message.context_id,
        "text": message.text,
        "files": json.dumps(message.files),
        "edit": message.edit,
        "duration": message.duration,
        "properties": message.properties.model_dump(),
        "category": message.category,
        "content_blocks": [],
        "session_metadata": message.session_metadata,
    }


def fields_of(entry: Stored) -> set[bytes]:
    fields = {b"b"}
    if entry.place.us != entry.at:
        fields.add(b"t")
    if entry.alias:
        fields.add(b"i")
    return fields


def check(backend: Backend, options: dict[str, Any], examples: int) -> None:
    machine = type("Machine", (Machine,), {"backend": backend, "options": options})
    logging.getLogger("redis_sessions").setLevel(logging.ERROR)  # memory:// says each time that it forgets
    before = steps_run["steps"]
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES or examples,
                stateful_step_count=STEPS,
                derandomize=not EXAMPLES,
                database=None,
                report_multiple_bugs=False,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        logging.getLogger("redis_sessions").setLevel(logging.NOTSET)
        print(f"{steps_run['steps'] - before:,} steps on {backend.kind} with {options}")


@ON_BACKENDS
def test_every_operation_does_what_the_model_does(backend: Backend) -> None:
    check(backend, {}, 12)


@ON_BACKENDS
def test_sessions_that_are_trimmed_and_expire_do_too(backend: Backend) -> None:
    check(backend, {"max_messages": 2, "ttl": timedelta(hours=1)}, 10)


class TestTheEdgesOfTheClock:
    """What random interleavings are unlikely to reach."""

    AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)

    def same_moment(self, count: int, session: str = "chat") -> list[NewMessage]:
        return [
            NewMessage(
                text=f"{session} {n}",
                sender="User",
                sender_name="Ann",
                session_id=session,
                timestamp=self.AT,
            )
            for n in range(count)
        ]

    @ON_BACKENDS
    async def test_more_messages_of_one_moment_than_the_counter_holds_keep_their_order(
        self, store: SessionStore
    ) -> None:
        stored: list[Message] = []
        for count in (500, 11, 1, 1, 500, 100):
            stored += await store.append_many("flow", self.same_moment(count))

        first = stored[0].entry.us
        assert [message.entry.us - first for message in stored] == [0] * 512 + [1] * 512 + [2] * 89
        assert len({message.id for message in stored}) == len(stored)
        assert [message.id for message in stored] == sorted(message.id for message in stored)
        assert {message.timestamp for message in stored} == {self.AT}
        assert await store.history("flow", "chat", limit=5000) == stored
        assert await store.get_many([message.id for message in stored]) == stored
        pages: list[Message] = []
        before: Message | None = None
        while page := await store.history("flow", "chat", limit=300, before=before):
            pages = page + pages
            before = page[0]
        assert pages == stored

    @ON_BACKENDS
    async def test_sessions_of_the_same_moment_that_merge_go_on_behind_the_later_one(
        self, store: SessionStore
    ) -> None:
        left = await store.append_many("flow", self.same_moment(400, "left"))
        right = await store.append_many("flow", self.same_moment(500, "right"))
        right += await store.append_many("flow", self.same_moment(11, "right"))
        await store.rename_session("flow", "left", "right")

        more = await store.append_many("flow", self.same_moment(3, "right"))

        merged = await store.history("flow", "right", limit=5000)
        assert [message.id for message in merged] == sorted(message.id for message in left + right + more)
        assert merged[-3:] == more
        assert len({message.id for message in merged}) == 914

    @ON_BACKENDS
    @pytest.mark.parametrize(("old", "new"), [("ahead", "behind"), ("behind", "ahead")])
    async def test_a_clock_outlives_the_message_that_set_it_and_a_merge(
        self, store: SessionStore, old: str, new: str
    ) -> None:
        await store.append_many("flow", self.same_moment(2, "behind"))
        await store.append_many("flow", self.same_moment(1, "ahead"))
        newest = await store.append("flow", text="x", sender="U", sender_name="U", session_id="ahead")
        await store.delete_messages([newest.id])
        await store.rename_session("flow", old, new)

        (late,) = await store.append_many("flow", self.same_moment(1, new))

        assert late.entry.us == newest.entry.us
        assert late.id > newest.id
        assert (await store.history("flow", new))[-1] == late
        assert await store.get(newest.id) is None

    @ON_BACKENDS
    async def test_no_timestamp_is_stored_that_lua_cannot_count_exactly(self, make_store: MakeStore) -> None:
        store = await make_store(max_ahead=timedelta(days=400_000))
        exact = datetime(2255, 6, 5, 23, 47, 34, 739999, tzinfo=UTC)
        message = await store.append("flow", text="x", sender="U", sender_name="U", timestamp=exact)
        assert message.timestamp == exact
        assert await store.history("flow", "flow") == [message]

        with pytest.raises(InvalidTimestampError):
            await store.append(
                "flow", text="x", sender="U", sender_name="U", timestamp=exact + timedelta(seconds=2)
            )
