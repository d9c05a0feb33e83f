"""Every write may be tried again: a lost reply, a refused connection, a busy server, real servers.

The proxy lets the server carry a script out and keeps the reply; the test then does something to the
same session, and cuts the connection. The store's second attempt must find out what the first one did.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from redis_sessions import (
    MessageNotFoundError,
    MessageUpdate,
    NewMessage,
    ReadOnlyError,
    RenameResult,
    SessionNotFoundError,
    SessionStore,
    StoreUnavailableError,
)
from redis_sessions.scripting import NAMES, source
from tests.support import Hold, Proxy, Server, redis_server, valkey_server, wait_until
from tests.support.talk import FLOW, dump, events_of, keys_of, say, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from redis_sessions import Message
    from tests.conftest import Backend, MakeStore

pytestmark = pytest.mark.backends("valkey", "redis7")

SLACK = 3.0  # seconds that a busy machine may be late
STARTERS = {"valkey": valkey_server, "redis7": redis_server}


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[Proxy]:
    assert isinstance(backend.server, Server)
    for name in NAMES:  # so that each write is one EVALSHA
        backend.server.client().script_load(source(name).text)
    async with Proxy(backend.server) as proxy:
        yield proxy


def script(name: str) -> Callable[[bytes], bool]:
    sha = source(name).sha
    return lambda raw: sha in raw


def cut_all(proxy: Proxy) -> None:
    for connection in list(proxy.connections):
        connection.cut()


@contextlib.asynccontextmanager
async def reply_lost(
    proxy: Proxy, name: str, call: Coroutine[Any, Any, Any], *, after: int = 0
) -> AsyncIterator[asyncio.Task[Any]]:
    """Inside, the first attempt is carried out and the store does not know; then its connection breaks.

    ``after``: how often the script answers before that it needs something first.
    """
    hold: Hold = proxy.hold_reply(script(name), after=after)
    task = asyncio.create_task(call)
    await hold.reached()
    yield task
    cut_all(proxy)
    await asyncio.wait([task])


def verb_reply_lost(
    proxy: Proxy, verb: Verb, store: SessionStore, talk: Talk
) -> contextlib.AbstractAsyncContextManager[asyncio.Task[Any]]:
    return reply_lost(proxy, verb.script, verb.call(store, talk), after=verb.refusals)


@dataclass
class Talk:
    """What there is before each write: two sessions and an edited message."""

    first: Message
    second: Message
    third: Message
    other: Message


async def begin(store: SessionStore) -> Talk:
    talk = Talk(
        await say(store, "1", "chat"),
        await say(store, "2", "chat", id=uuid4()),
        await say(store, "3", "chat"),
        await say(store, "other", "other"),
    )
    await store.update(talk.first.id, MessageUpdate(text="1!"))
    return talk


@dataclass(frozen=True)
class Verb:
    """A write: the script behind it, where its session is afterwards, and what it answers."""

    name: str
    script: str
    session: str
    call: Callable[[SessionStore, Talk], Coroutine[Any, Any, Any]]
    answer: Callable[[Any], Any]
    expected: Any
    refusals: int = 0
    """Runs of the script that change nothing and come first."""

    def __str__(self) -> str:
        return self.name


def _new(text: str, **fields: Any) -> NewMessage:
    return NewMessage(text=text, sender="User", sender_name="Ann", session_id="chat", **fields)


async def say_again(store: SessionStore, text: str, session: str) -> Message:
    """Append as a process does that has appended to the session before."""
    store._parts.appender._meet(FLOW, session)
    return await say(store, text, session)


def _outcome(result: RenameResult) -> tuple[str, int, str, int]:
    return result.outcome, result.messages, result.session_id, len(result.numbers)


ELSEWHERE = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"
VERBS = [
    Verb(
        "append",
        "append",
        "chat",
        lambda store, _: say(store, "new", "chat"),
        lambda message: (message.text, message.session_id),
        ("new", "chat"),
    ),
    Verb(
        "append to a session that was met",
        "append_known",
        "chat",
        lambda store, _: say_again(store, "new", "chat"),
        lambda message: (message.text, message.session_id),
        ("new", "chat"),
    ),
    Verb(
        "append with an id",
        "append",
        "chat",
        lambda store, _: store.append_many(FLOW, [_new("0"), _new("1", id=ELSEWHERE)]),
        lambda messages: [message.text for message in messages] + [messages[1].id],
        ["0", "1", ELSEWHERE],
        refusals=1,
    ),
    Verb(
        "append to a new session",
        "append",
        "new",
        lambda store, _: say(store, "new", "new"),
        lambda message: (message.text, message.session_id),
        ("new", "new"),
    ),
    Verb(
        "append a batch",
        "append",
        "chat",
        lambda store, _: store.append_many(FLOW, [_new(f"{number}") for number in range(120)]),
        lambda messages: [message.text for message in messages],
        [f"{number}" for number in range(120)],
    ),
    Verb(
        "update",
        "update",
        "chat",
        lambda store, talk: store.update(talk.second.id, MessageUpdate(text="2!")),
        lambda message: (message.text, message.edit, message.session_id),
        ("2!", True, "chat"),
    ),
    Verb(
        "move",
        "move_message",
        "other",
        lambda store, talk: store.update(talk.third.id, MessageUpdate(session_id="other", text="3!")),
        lambda message: (message.text, message.session_id),
        ("3!", "other"),
    ),
    Verb(
        "move to a new session",
        "move_message",
        "new",
        lambda store, talk: store.update(talk.first.id, MessageUpdate(session_id="new")),
        lambda message: (message.text, message.session_id),
        ("1!", "new"),
    ),
    Verb(
        "delete messages",
        "delete_messages",
        "chat",
        lambda store, talk: store.delete_messages([str(uuid4()), talk.second.id, talk.first.id]),
        len,
        2,
    ),
    Verb(
        "delete the last message",
        "delete_messages",
        "other",
        lambda store, talk: store.delete_messages([talk.other.id]),
        len,
        1,
    ),
    Verb(
        "delete session",
        "delete_session",
        "chat",
        lambda store, _: store.delete_session(FLOW, "chat"),
        lambda count: count,
        3,
    ),
    Verb(
        "rename",
        "rename_session",
        "renamed",
        lambda store, _: store.rename_session(FLOW, "chat", "renamed"),
        _outcome,
        ("renamed", 3, "renamed", 1),
    ),
    Verb(
        "merge",
        "rename_session",
        "other",
        lambda store, _: store.rename_session(FLOW, "chat", "other"),
        _outcome,
        ("merged", 4, "other", 1),
    ),
]
every_verb = pytest.mark.parametrize("verb", VERBS, ids=str)


async def rename(store: SessionStore, verb: Verb) -> None:
    with contextlib.suppress(SessionNotFoundError):  # deleted by the first attempt
        await store.rename_session(FLOW, verb.session, "taken away")


async def delete(store: SessionStore, verb: Verb) -> None:
    await store.delete_session(FLOW, verb.session)


async def delete_and_start_anew(store: SessionStore, verb: Verb) -> None:
    await store.delete_session(FLOW, verb.session)
    for session in {verb.session, "chat", "other"}:
        await say(store, "somebody else's", session)


async def rename_back(store: SessionStore, verb: Verb) -> None:
    with contextlib.suppress(SessionNotFoundError):
        await store.rename_session(FLOW, verb.session, "taken away")
        await store.rename_session(FLOW, "taken away", "chat")


@every_verb
async def test_a_write_whose_reply_is_lost_takes_effect_once_and_gives_the_first_answer(
    near: SessionStore, far: SessionStore, proxy: Proxy, verb: Verb
) -> None:
    talk = await begin(near)

    async with verb_reply_lost(proxy, verb, far, talk) as task:
        state = await dump(near)
        stored = {message.id: message for message in await near.recent(FLOW, limit=1000)}

    answer = task.result()
    assert verb.answer(answer) == verb.expected
    assert far.counters.retries
    assert await dump(near) == state
    for message in answer if isinstance(answer, list) else [answer]:
        if hasattr(message, "cursor"):
            assert stored[message.id] == message
            assert stored[message.id].cursor == message.cursor


@every_verb
@pytest.mark.parametrize("meanwhile", [rename, rename_back, delete, delete_and_start_anew])
@pytest.mark.backends("valkey")
async def test_what_others_do_before_the_retry_stays_as_they_left_it(
    near: SessionStore,
    far: SessionStore,
    proxy: Proxy,
    verb: Verb,
    meanwhile: Callable[[SessionStore, Verb], Awaitable[None]],
) -> None:
    talk = await begin(near)

    async with verb_reply_lost(proxy, verb, far, talk) as task:
        await meanwhile(near, verb)
        state = await dump(near)

    assert verb.answer(task.result()) == verb.expected
    assert far.counters.retries
    assert await dump(near) == state


@every_verb
@pytest.mark.backends("valkey")
async def test_a_request_that_is_lost_is_sent_again(
    near: SessionStore, far: SessionStore, proxy: Proxy, verb: Verb
) -> None:
    talk = await begin(near)
    fault = proxy.drop_request(script(verb.script))

    assert verb.answer(await verb.call(far, talk)) == verb.expected
    assert fault.hits == 1


@every_verb
@pytest.mark.backends("valkey")
async def test_a_reply_that_breaks_off_counts_as_lost(
    near: SessionStore, far: SessionStore, proxy: Proxy, backend: Backend, verb: Verb
) -> None:
    talk = await begin(near)
    fault = proxy.reset_mid_reply(script(verb.script), after=verb.refusals)

    assert verb.answer(await verb.call(far, talk)) == verb.expected
    assert fault.hits == 1
    assert await backend.raw(near).xlen(keys_of(near).feed) == 6  # five of them to begin with


@every_verb
async def test_a_feed_that_was_trimmed_past_the_call_leaves_its_outcome_open(
    near: SessionStore, far: SessionStore, proxy: Proxy, backend: Backend, verb: Verb
) -> None:
    talk = await begin(near)

    async with verb_reply_lost(proxy, verb, far, talk) as task:
        await say(near, session="unrelated")
        await backend.raw(near).xtrim(keys_of(near).feed, maxlen=1, approximate=False)
        state = await dump(near)

    error = task.exception()
    assert isinstance(error, StoreUnavailableError)
    assert error.write_may_have_happened
    assert await dump(near) == state


async def test_a_small_feed_under_many_writes_does_not_make_a_write_happen_twice(
    make_store: MakeStore, near: SessionStore, proxy: Proxy
) -> None:
    small = await make_store(proxy.url, feed_max_events=10, deadline=timedelta(seconds=20))
    await say(small, "before")

    async with reply_lost(proxy, "append_known", say(small, "once")) as task:
        other = await make_store(feed_max_events=10)
        for number in range(300):
            await say(other, f"{number}", "other")

    assert isinstance(task.exception(), StoreUnavailableError)
    assert await texts(near) == ["before", "once"]


@pytest.mark.parametrize("between", [0, 1, 98, 99, 100, 101, 199, 200, 250])
async def test_a_write_is_found_in_the_feed_behind_any_number_of_others(
    near: SessionStore, far: SessionStore, proxy: Proxy, between: int
) -> None:
    async with reply_lost(proxy, "append", say(far, "once"), after=1) as task:
        await asyncio.gather(*(say(near, f"{number}", "other") for number in range(between)))

    assert task.exception() is None
    assert await near.history(FLOW, "chat") == [task.result()]


async def test_a_feed_lives_longer_than_a_call_may_take(
    make_store: MakeStore, near: SessionStore, backend: Backend
) -> None:
    store = await make_store(feed_ttl=timedelta(minutes=1), deadline=timedelta(minutes=5))
    await say(store)

    assert await backend.raw(near).pttl(keys_of(near).feed) > 300_000


async def test_a_retry_after_the_session_has_expired_revives_nothing(
    make_store: MakeStore, near: SessionStore, proxy: Proxy, backend: Backend
) -> None:
    far = await make_store(proxy.url, ttl=timedelta(hours=1))
    async with reply_lost(proxy, "append", say(far, "once"), after=1) as task:
        await backend.raw(near).delete(keys_of(near).log("chat"))
        assert await near.sessions(FLOW) == []

    assert task.result().text == "once"
    assert await near.history(FLOW, "chat") == []
    assert await near.sessions(FLOW) == []


async def test_a_registration_that_is_retried_does_not_make_the_append_doubtful(
    make_store: MakeStore, near: SessionStore, proxy: Proxy, backend: Backend
) -> None:
    far = await make_store(proxy.url, deadline=timedelta(seconds=20))
    proxy.drop_reply(b"SADD")
    hold = proxy.hold_reply(b"SADD", after=1)
    task = asyncio.create_task(say(far, "mine"))
    await hold.reached()
    # Others have been fast: the flow has a feed by now, and it does not reach back to the call.
    await say(near, session="other")
    await say(near, session="other")
    await backend.raw(near).xtrim(keys_of(near).feed, maxlen=1, approximate=False)
    hold.release()

    assert (await task).text == "mine"
    assert await texts(near) == ["mine"]


NOT_READY = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY You can't write against a read only replica.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Redis is configured to save RDB snapshots",
]


class TestRefusal:
    @every_verb
    async def test_a_refused_connection_means_that_nothing_happened(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy, verb: Verb
    ) -> None:
        talk = await begin(near)
        far = await make_store(proxy.url, deadline=timedelta(seconds=0.4))
        state = await dump(near)
        async with proxy.refuse_connections():
            await wait_until(lambda: not proxy.connections)
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError) as caught:
                await verb.call(far, talk)
            assert time.monotonic() - started < 0.4 + SLACK

        assert not caught.value.write_may_have_happened
        assert await dump(near) == state
        assert verb.answer(await verb.call(far, talk)) == verb.expected

    @pytest.mark.parametrize("answer", NOT_READY, ids=lambda answer: answer.split()[0])
    async def test_a_server_that_refuses_until_the_deadline_has_done_nothing(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy, answer: str
    ) -> None:
        far = await make_store(proxy.url, deadline=timedelta(seconds=0.6))
        await say(near, "before")
        proxy.answer(answer, script("append"), times=None)
        while True:
            with pytest.raises(StoreUnavailableError) as caught:
                await say(far, "refused")
            if not isinstance(caught.value.__cause__, TimeoutError):
                break  # else the deadline has cut off an attempt on this slow machine, and that is open

        assert not caught.value.write_may_have_happened
        expected = ReadOnlyError if answer.startswith(("READONLY", "NOREPLICAS", "MISCONF")) else None
        assert type(caught.value) is (expected or StoreUnavailableError)
        assert await texts(near) == ["before"]

    async def test_a_lost_reply_is_told_also_when_later_attempts_are_refused(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy
    ) -> None:
        far = await make_store(proxy.url, deadline=timedelta(seconds=0.4))
        proxy.drop_reply(script("append"), after=1)
        proxy.answer("LOADING Redis is loading", script("append"), after=2, times=None)

        with pytest.raises(StoreUnavailableError) as caught:
            await say(far, "once")

        assert caught.value.write_may_have_happened
        assert await texts(near) == ["once"]

    @pytest.mark.parametrize(
        ("verb", "answer"),
        [(verb, NOT_READY[0]) for verb in VERBS] + [(VERBS[0], answer) for answer in NOT_READY[1:]],
        ids=lambda value: str(value).split()[0],
    )
    async def test_a_server_that_is_not_ready_is_asked_again(
        self, near: SessionStore, far: SessionStore, proxy: Proxy, verb: Verb, answer: str
    ) -> None:
        talk = await begin(near)
        fault = proxy.answer(answer, script(verb.script), times=3)

        assert verb.answer(await verb.call(far, talk)) == verb.expected
        assert fault.hits == 3


class TestDeadline:
    DEADLINE = 0.6

    @every_verb
    async def test_a_network_that_swallows_everything_ends_the_call_at_its_deadline(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy, verb: Verb
    ) -> None:
        talk = await begin(near)
        far = await make_store(proxy.url, deadline=timedelta(seconds=self.DEADLINE))
        state = await dump(near)
        with proxy.black_hole():
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError) as caught:
                await verb.call(far, talk)
            assert time.monotonic() - started < self.DEADLINE + SLACK

        # Only an append writes first; the others did not get beyond reading.
        assert caught.value.write_may_have_happened == verb.script.startswith("append")
        assert await dump(near) == state

    @pytest.mark.parametrize(
        "read", ["history", "history_json", "get", "sessions", "recent", "flows", "ping"]
    )
    async def test_reads_keep_the_deadline_too(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy, read: str
    ) -> None:
        talk = await begin(near)
        far = await make_store(proxy.url, deadline=timedelta(seconds=self.DEADLINE))
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "history": lambda: far.history(FLOW, "chat"),
            "history_json": lambda: far.history_json(FLOW, "chat"),
            "get": lambda: far.get(talk.second.id),
            "sessions": lambda: far.sessions(FLOW),
            "recent": lambda: far.recent(FLOW),
            "flows": lambda: far.flows(owner="ann"),
            "ping": far.ping,
        }
        with proxy.black_hole():
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError) as caught:
                await calls[read]()
            assert time.monotonic() - started < self.DEADLINE + SLACK
        assert not caught.value.write_may_have_happened

    @pytest.mark.parametrize("write", ["first append", "last delete", "last delete_messages"])
    async def test_what_a_write_does_after_its_script_ends_at_the_deadline(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy, write: str
    ) -> None:
        """The registry is tended when the write is done: that it cannot be is no error of the write."""
        deadline = 2.0
        far = await make_store(proxy.url, deadline=timedelta(seconds=deadline))
        if write == "first append":
            name, call = "append", say(far, "once", owner="ann")
        else:
            message = await say(near, "once", owner="ann")
            if write == "last delete":
                name, call = "delete_session", far.delete_session(FLOW, "chat")  # type: ignore[assignment]
            else:
                name, call = "delete_messages", far.delete_messages([message.id])  # type: ignore[assignment]
        hold = proxy.hold_reply(script(name), after=1 if name == "append" else 0)
        started = time.monotonic()
        task = asyncio.create_task(call)
        await hold.reached()
        with proxy.black_hole():
            hold.release()
            await task
        assert time.monotonic() - started < deadline + SLACK

    async def test_a_delete_in_several_sessions_that_fails_half_way_says_so(
        self, near: SessionStore, make_store: MakeStore, proxy: Proxy
    ) -> None:
        messages = [await say(near, session=session) for session in ("a", "b")]
        far = await make_store(proxy.url, deadline=timedelta(seconds=self.DEADLINE))
        proxy.answer("LOADING Redis is loading", script("delete_messages"), after=1, times=None)

        with pytest.raises(StoreUnavailableError) as caught:
            await far.delete_messages([message.id for message in messages])

        assert caught.value.write_may_have_happened
        assert len(await near.sessions(FLOW)) == 1


class TestServer:
    """What needs a server of its own: it is made busy, or a replica."""

    @pytest.fixture
    def server(self, backend: Backend) -> Iterator[Server]:
        with STARTERS[backend.kind]() as server:
            yield server

    async def test_scripts_that_the_server_forgot_are_sent_again(
        self, near: SessionStore, backend: Backend
    ) -> None:
        for verb in VERBS:
            flow = str(verb)
            talk = await begin(near)
            await backend.raw(near).script_flush()
            assert verb.answer(await verb.call(near, talk)) == verb.expected, flow
            await near.delete_flow(FLOW)

    async def test_a_server_that_runs_a_long_script_is_waited_for(self, server: Server) -> None:
        server.client().config_set("lua-time-limit", 10)
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=30)) as store:
            await say(store, "before")
            stuck = asyncio.create_task(asyncio.to_thread(server.client().eval, "while true do end", 0))
            await wait_until(lambda: _is_busy(server))
            task = asyncio.create_task(say(store, "after"))
            await wait_until(lambda: store.counters.retries >= 2)
            server.client().script_kill()
            await asyncio.wait([stuck])
            assert stuck.exception() is not None

            await task
            assert await texts(store) == ["before", "after"]

    async def test_a_replica_is_waited_for_until_it_is_a_primary(self, server: Server) -> None:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=30)) as store:
            message = await say(store, "before")
            server.client().replicaof("127.0.0.1", "1")  # nobody is there
            task = asyncio.create_task(say(store, "after"))
            update = asyncio.create_task(store.update(message.id, MessageUpdate(text="changed")))
            await wait_until(lambda: store.counters.retries >= 4)
            assert not task.done()
            server.client().replicaof("NO", "ONE")

            await asyncio.gather(task, update)
            assert await texts(store) == ["changed", "after"]

    async def test_a_server_that_hangs_and_comes_back_has_the_message_once(self, server: Server) -> None:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=30)) as store:
            await say(store, "before")
            server.pause()
            task = asyncio.create_task(say(store, "after"))
            await wait_until(lambda: store.counters.retries >= 1)
            server.resume()

            await task
            assert await texts(store) == ["before", "after"]


def _is_busy(server: Server) -> bool:
    try:
        server.client().ping()
    except Exception as error:  # noqa: BLE001 - the class differs between versions of redis-py
        return "BUSY" in str(error)
    return False


class TestCancellation:
    async def test_a_cancelled_call_leaves_no_reply_for_the_next(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        for number in range(5):
            await say(near, f"{number}", f"chat {number}")
        for number in range(5):
            hold = proxy.hold_reply(b"XREVRANGE")
            task = asyncio.create_task(far.history(FLOW, f"chat {number}"))
            await hold.reached()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            hold.release()
            other = (number + 1) % 5
            assert await texts(far, f"chat {other}") == [f"{other}"]

    async def test_calls_cancelled_at_any_moment_do_not_mix_up_answers(
        self, near: SessionStore, far: SessionStore
    ) -> None:
        for number in range(10):
            await say(near, f"{number}", f"chat {number}")
        for moment in range(12):
            tasks = [asyncio.create_task(texts(far, f"chat {number}")) for number in range(10)]
            for _ in range(moment):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            for number, answer in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                assert answer == [f"{number}"] or isinstance(answer, asyncio.CancelledError)

    async def test_a_cancelled_write_has_happened_or_not(
        self, near: SessionStore, far: SessionStore, proxy: Proxy
    ) -> None:
        await say(far, "first")
        hold = proxy.hold_reply(script("append_known"))
        task = asyncio.create_task(say(far, "cancelled"))
        await hold.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.release()

        message = await say(far, "next")
        assert message.text == "next"
        assert await texts(near) == ["first", "cancelled", "next"]
        assert await near.get(message.id) == message


async def test_an_update_that_is_retried_against_a_deleted_message_does_not_revive_it(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    message = await say(near)
    proxy.drop_request(script("update"))
    hold = proxy.hold_reply(b"HMGET")
    task = asyncio.create_task(far.update(message.id, MessageUpdate(text="new")))
    await hold.reached()
    await near.delete_messages([message.id])
    hold.release()

    with pytest.raises(MessageNotFoundError):
        await task
    assert await near.get(message.id) is None


async def test_an_update_that_is_retried_does_not_undo_what_others_changed_since(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    message = await say(near)
    async with reply_lost(proxy, "update", far.update(message.id, MessageUpdate(text="mine"))):
        await near.update(message.id, MessageUpdate(text="theirs"))

    assert await texts(near) == ["theirs"]


async def test_watchers_see_a_retried_write_once(near: SessionStore, far: SessionStore, proxy: Proxy) -> None:
    async with reply_lost(proxy, "append", say(far, "once"), after=1):
        pass
    await say(near, "next")

    events = await events_of(near, 2)
    assert [event.message.text for event in events if event.message] == ["once", "next"]
