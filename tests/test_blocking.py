from __future__ import annotations

import contextlib
import gc
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import MaxConnectionsError

import redis_sessions
from redis_sessions import (
    InvalidInputError,
    MessageUpdate,
    NewMessage,
    SessionNotFoundError,
    StoreClosedError,
    StoreUnavailableError,
)
from redis_sessions.blocking import SessionStore
from redis_sessions.faults import classify
from tests.support import Server, generate_blocking, poll, valkey_server
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_sessions.blocking.sockets import Sockets
    from tests.conftest import Backend

FLOW = "flow"
SLACK = 3.0  # seconds that a busy machine may be late
ONLY_ASYNC = {"aclose", "connection"}
ONLY_BLOCKING = {"close"}


def public(kind: type) -> dict[str, object]:
    return {
        name: member
        for name, member in inspect.getmembers(kind)
        if not name.startswith("_") and name != "settings"
    }


def say(store: SessionStore, text: str = "hello", session: str = "chat") -> None:
    store.append(FLOW, session_id=session, text=text, sender="User", sender_name="Ann")


def texts(store: SessionStore, session: str = "chat") -> list[str]:
    return [message.text for message in store.history(FLOW, session)]


def threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("redis-sessions-blocking")
    ]


@pytest.fixture
def blocking(backend: Backend) -> Iterator[SessionStore]:
    with SessionStore.from_url(backend.url, prefix=backend.prefix) as store:
        yield store


# --- the same as the asynchronous store -------------------------------------------------------------


def test_the_module_is_what_the_tool_makes_of_the_asynchronous_store() -> None:
    assert generate_blocking.TARGET.read_text("utf-8") == generate_blocking.generate()


def test_the_blocking_store_has_the_same_members() -> None:
    assert set(public(redis_sessions.SessionStore)) - ONLY_ASYNC == set(public(SessionStore)) - ONLY_BLOCKING


@pytest.mark.parametrize("name", sorted(set(public(redis_sessions.SessionStore)) - ONLY_ASYNC))
def test_a_member_has_the_signature_and_the_docstring_of_its_model(name: str) -> None:
    model, member = getattr(redis_sessions.SessionStore, name), getattr(SessionStore, name)
    assert inspect.getdoc(member) == (inspect.getdoc(model) or "").replace("async with", "with")
    if isinstance(model, property):
        return
    wanted, found = inspect.signature(model), inspect.signature(member)
    assert list(found.parameters.values()) == list(wanted.parameters.values())
    returns = re.sub(r"AsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]", wanted.return_annotation)
    assert found.return_annotation == returns
    assert not inspect.iscoroutinefunction(member)


# --- at work ----------------------------------------------------------------------------------------


def test_a_blocking_store_writes_and_reads(blocking: SessionStore) -> None:
    say(blocking, "one")
    stored = blocking.append_many(
        FLOW, [NewMessage(text="two", sender="User", sender_name="Ann", session_id="chat")]
    )
    blocking.update(stored[0].id, MessageUpdate(text="zwei"), flow_id=FLOW)
    assert texts(blocking) == ["one", "zwei"]
    assert blocking.rename_session(FLOW, "chat", "talk").outcome == "renamed"
    assert blocking.sessions(FLOW) == ["talk"]
    assert blocking.delete_session(FLOW, "talk") == 2
    assert blocking.counters.calls > 0
    assert blocking.round_trips > 0


def test_errors_are_those_of_the_asynchronous_store(blocking: SessionStore) -> None:
    with pytest.raises(SessionNotFoundError, match="has no session 'nothing'"):
        blocking.rename_session(FLOW, "nothing", "new")
    with pytest.raises(InvalidInputError):
        blocking.history(FLOW, "chat", limit=0)


def test_an_iterator_gives_everything(blocking: SessionStore) -> None:
    blocking.append_many(
        FLOW,
        [NewMessage(text=str(n), sender="User", sender_name="Ann", session_id="chat") for n in range(250)],
    )
    assert len(list(blocking.export_json(FLOW, "chat"))) == 250
    assert list(blocking.export_json(FLOW, "empty")) == []


def test_an_iterator_may_be_left(blocking: SessionStore) -> None:
    blocking.append_many(
        FLOW,
        [NewMessage(text=str(n), sender="User", sender_name="Ann", session_id="chat") for n in range(250)],
    )
    with contextlib.closing(blocking.export_json(FLOW, "chat")) as exported:
        assert b'"text":"0"' in next(exported)
    assert list(exported) == []


def test_a_watch_sees_what_other_threads_write(blocking: SessionStore) -> None:
    say(blocking, "before")
    with ThreadPoolExecutor(1) as pool, contextlib.closing(blocking.watch(FLOW, after="0-0")) as events:
        first = next(events)
        pool.submit(say, blocking, "after")
        second = next(events)
    assert [event.message.text for event in (first, second) if event.message] == ["before", "after"]


def test_threads_share_a_store(blocking: SessionStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: say(blocking, str(number)), range(200)))
    assert sorted(map(int, (message.text for message in blocking.history(FLOW, "chat", limit=300)))) == list(
        range(200)
    )


async def test_a_blocking_store_works_where_an_event_loop_runs(backend: Backend) -> None:
    with SessionStore.from_url(backend.url, prefix=backend.prefix) as store:
        say(store)
        assert texts(store) == ["hello"]


@pytest.mark.backends("memory", "cluster")
def test_a_call_from_the_stores_own_thread_is_refused(blocking: SessionStore) -> None:
    say(blocking)

    def hidden(session: str) -> bool:
        return bool(texts(blocking, session))

    with pytest.raises(RuntimeError, match="own event loop"):
        blocking.sessions_of([FLOW], hidden=hidden)
    assert texts(blocking) == ["hello"]


@pytest.mark.backends("valkey", "redis7")
def test_a_callback_may_call_the_store_of_one_server(blocking: SessionStore) -> None:
    say(blocking)
    say(blocking, session="other")
    hidden = blocking.sessions_of([FLOW], hidden=lambda session: texts(blocking, session) == ["hello"])
    assert hidden == []


@pytest.mark.backends("valkey", "redis7")
def test_one_server_is_talked_to_without_a_thread_of_the_stores(blocking: SessionStore) -> None:
    say(blocking)
    assert texts(blocking) == ["hello"]
    assert threads() == []


@pytest.mark.backends("valkey")
def test_calls_and_round_trips_are_counted_over_both_ways(blocking: SessionStore) -> None:
    say(blocking)
    calls, trips = blocking.counters.calls, blocking.round_trips
    next(blocking.watch(FLOW, after="0-0"))
    assert blocking.counters.calls > calls
    assert blocking.round_trips > trips


@pytest.mark.backends("valkey")
def test_threads_wait_for_a_connection_when_there_are_few(backend: Backend) -> None:
    with (
        SessionStore.from_url(backend.url, prefix=backend.prefix, max_connections=2) as store,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda number: say(store, str(number)), range(400)))
        assert store.length(FLOW, "chat") == 400
        assert len(clients(backend)) <= 2


@pytest.mark.backends("valkey")
def test_a_connection_that_was_cut_while_it_was_idle_is_no_fault(
    blocking: SessionStore, backend: Backend
) -> None:
    say(blocking)
    for client in clients(backend):
        backend.redis.client_kill_filter(_id=client["id"])
    say(blocking, "again")
    assert texts(blocking) == ["hello", "again"]
    assert blocking.counters.faults == {}


def test_a_server_that_hangs_ends_a_call_at_its_deadline_and_nothing_is_left_over() -> None:
    with valkey_server() as server, SessionStore.from_url(server.url, deadline=timedelta(seconds=1)) as store:
        say(store)
        server.pause()
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError) as raised:
            say(store, "into the void")
        server.resume()
        assert time.monotonic() - started < 1 + SLACK
        assert raised.value.write_may_have_happened
        say(store, "after")
        assert [text for text in texts(store) if text != "into the void"] == ["hello", "after"]


def test_a_thread_that_gets_no_connection_is_told_what_to_change() -> None:
    with (
        valkey_server() as server,
        SessionStore.from_url(server.url, max_connections=1, deadline=timedelta(seconds=20)) as store,
        ThreadPoolExecutor(1) as pool,
    ):
        say(store)
        server.pause()
        waiting = pool.submit(texts, store)
        poll(lambda: in_use(store))
        with pytest.raises(MaxConnectionsError) as raised:
            sockets_of(store).exchange(b"", 1, time.monotonic() + 0.2)
        server.resume()
        assert waiting.result(10) == ["hello"]
    fault = classify(raised.value)
    assert "raise max_connections" in str(fault.error(False))
    assert not fault.maybe_done


def test_a_store_goes_on_when_its_server_was_started_again() -> None:
    with valkey_server(appendonly=True) as server, SessionStore.from_url(server.url) as store:
        say(store)
        server.kill()
        server.restart()
        say(store, "again")
        assert texts(store) == ["hello", "again"]


# --- opening and closing ----------------------------------------------------------------------------


def test_a_store_that_is_not_open_says_so(backend: Backend) -> None:
    store = SessionStore.from_url(backend.url, prefix=backend.prefix)
    with pytest.raises(StoreClosedError, match="inside `with`"):
        texts(store)
    with store:
        store.open()
        assert texts(store) == []
        assert backend.prefix in repr(store)
    store.close()
    with pytest.raises(StoreClosedError):
        texts(store)
    with store:
        assert texts(store) == []
    assert "closed" in repr(store)
    assert threads() == []


@pytest.mark.backends("memory")
def test_a_store_that_cannot_be_opened_leaves_no_thread(backend: Backend) -> None:
    store = SessionStore.from_url(f"redis://127.0.0.1:{free_port()}/0", deadline=0.2)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailableError):
        store.open()
    assert threads() == []


@pytest.mark.backends("memory")
def test_a_store_that_is_collected_ends_its_thread(backend: Backend) -> None:
    store = SessionStore.from_url(backend.url, prefix=backend.prefix)
    store.open()
    say(store)
    assert threads()
    del store
    gc.collect()
    poll(lambda: not threads())


@pytest.mark.backends("valkey")
def test_a_store_that_is_collected_closes_its_connections(backend: Backend) -> None:
    store = SessionStore.from_url(backend.url, prefix=backend.prefix)
    store.open()
    say(store)
    assert clients(backend)
    del store
    gc.collect()
    poll(lambda: not clients(backend))


def test_closing_ends_a_call_that_waits_for_an_answer() -> None:
    with valkey_server() as server, ThreadPoolExecutor(1) as pool:
        store = SessionStore.from_url(server.url, deadline=timedelta(seconds=20))
        store.open()
        say(store)
        server.pause()
        waiting = pool.submit(say, store, "more")
        poll(lambda: in_use(store))
        store.close()
        with pytest.raises(StoreClosedError, match="it may have happened"):
            waiting.result(10)
        server.resume()


@pytest.mark.backends("valkey")
def test_closing_ends_the_calls_of_other_threads(backend: Backend) -> None:
    store = SessionStore.from_url(backend.url, prefix=backend.prefix)
    store.open()
    say(store)
    assert isinstance(backend.server, Server)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(store.watch(FLOW)))
        poll(lambda: waits_in_redis(backend.server))
        store.close()
        with pytest.raises(StoreClosedError, match="the store was closed"):
            waiting.result(10)
    assert threads() == []


@pytest.mark.backends("valkey")
def test_ctrl_c_ends_a_call_and_the_store_goes_on(blocking: SessionStore, backend: Backend) -> None:
    say(blocking)

    def interrupt() -> None:
        poll(lambda: waits_in_redis(backend.server))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                next(blocking.watch(FLOW))
    finally:
        signal.signal(signal.SIGINT, before)
    assert texts(blocking) == ["hello"]


def test_ctrl_c_ends_a_call_that_waits_for_an_answer() -> None:
    def interrupt() -> None:
        poll(lambda: in_use(store))
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            valkey_server() as server,
            SessionStore.from_url(server.url, deadline=timedelta(seconds=20)) as store,
            ThreadPoolExecutor(1) as pool,
        ):
            say(store)
            server.pause()
            pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.length(FLOW, "chat")
            server.resume()
            assert texts(store) == ["hello"]  # and not the answer to the call before
    finally:
        signal.signal(signal.SIGINT, before)


def in_use(store: SessionStore) -> bool:
    """Whether a call has sent something and waits."""
    sockets = sockets_of(store)
    return len(sockets._all) > len(sockets._idle)


def sockets_of(store: SessionStore) -> Sockets:
    link = store._link
    assert link is not None
    assert link._sockets is not None
    return link._sockets.sockets


def clients(backend: Backend) -> list[dict[str, str]]:
    """Connections of stores, as the server sees them."""
    found: list[dict[str, str]] = backend.redis.client_list()
    return [client for client in found if client["name"] == "redis-sessions"]


def waits_in_redis(server: object) -> bool:
    assert isinstance(server, Server)
    return any(client["cmd"] == "xread" for client in server.client().client_list())


# --- processes --------------------------------------------------------------------------------------

FORK = """
import os, sys, threading
from pathlib import Path
from redis_sessions import StoreClosedError
from redis_sessions.blocking import SessionStore
from redis_sessions.blocking.sockets import Sockets
from redis_sessions.faults import classify

def say(text):
    store.append("flow", session_id="chat", text=text, sender="User", sender_name="Ann")

store = SessionStore.from_url(sys.argv[1], prefix=sys.argv[2])
store.open()
say("parent")
events = store.watch("flow", after="0-0")
next(events)
store._lock.acquire()  # as another thread of the parent may have done
child = os.fork()
if not child:
    descriptors = Path("/proc/self/fd")
    if descriptors.exists():
        kept = [str(file.readlink()) for file in descriptors.iterdir() if file.is_symlink()]
        assert "anon_inode:[eventpoll]" not in kept, kept
        assert len([name for name in kept if name.startswith("socket:")]) <= 1, kept  # the loop's own
    say("child")
    try:
        next(events)
        sys.exit("the parent's iterator went on")
    except StoreClosedError:
        pass
    store.close()
    with store:
        say("child again")
        again = os.fork()
        if not again:
            say("grandchild")
            sys.exit(0)
        if os.waitpid(again, 0)[1]:
            sys.exit("the grandchild failed")
    sys.exit(0)
store._lock.release()
assert os.waitpid(child, 0)[1] == 0
seen = [next(events).message.text for _ in range(3)]
say("parent again")
print(seen, [message.text for message in store.history("flow", "chat")])
"""
UNCLOSED = """
import sys
from redis_sessions.blocking import SessionStore
from redis_sessions.blocking.sockets import Sockets
from redis_sessions.faults import classify
store = SessionStore.from_url(sys.argv[1], prefix=sys.argv[2])
store.open()
store.append("flow", session_id="chat", text="x", sender="User", sender_name="Ann")
events = store.watch("flow", after="0-0")
next(events)
print("stored")
"""


def run_strictly(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a new process, where every warning is an error, but the one that Python 3.12 has for each fork."""
    forks = "ignore:This process:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", forks, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.backends("valkey", "redis7", "cluster")
def test_a_fork_gets_connections_of_its_own(backend: Backend) -> None:
    done = run_strictly(FORK, backend.url, backend.prefix)
    everything = "['parent', 'child', 'child again', 'grandchild', 'parent again']"
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"['child', 'child again', 'grandchild'] {everything}\n"


def test_a_store_that_was_never_closed_ends_with_its_process(backend: Backend) -> None:
    done = run_strictly(UNCLOSED, backend.url, backend.prefix)
    warning = r"(memory://\w+ keeps sessions in this process only: they are gone when it ends\n)?"
    assert re.fullmatch(warning, done.stderr)
    assert (done.stdout, done.returncode) == ("stored\n", 0)


def test_an_embedded_store_that_was_never_closed_ends_with_its_process(tmp_path: object) -> None:
    done = run_strictly(UNCLOSED, f"embedded://{tmp_path}", "rs")
    assert (done.stdout, done.stderr, done.returncode) == ("stored\n", "", 0)
