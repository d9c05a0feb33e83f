"""One store for each event loop, and one loop for all synchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lfx.schema.message import Message

from redis_sessions import StoreUnavailableError
from redis_sessions.langflow import functions, runtime
from tests.support.servers import valkey_server
from tests.support.waiting import poll, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Server

FLOW, ANN = uuid.UUID(int=1), uuid.UUID(int=11)


def say(text: str = "hello") -> Message:
    return Message(text=text, sender="User", sender_name="Ann", session_id="s")


def connections(server: Server) -> int:
    return sum(client["name"] == "redis-sessions" for client in server.client().client_list())


def test_threads_and_loops_share_one_loop(redis: None) -> None:
    def store(number: int) -> None:
        functions.store_message(say(str(number)), flow_id=FLOW, user_id=ANN)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store, range(40)))
    found = functions.get_messages(session_id="s", flow_id=FLOW, user_id=ANN)
    assert sorted(int(message.text) for message in found) == list(range(40))


async def test_a_synchronous_call_inside_the_loop_does_not_wait_for_it(redis: None) -> None:
    await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)
    assert len(functions.get_messages(session_id="s", flow_id=FLOW, user_id=ANN)) == 1


async def test_the_first_calls_open_one_store(redis: None) -> None:
    assert len({id(store) for store in await asyncio.gather(*(runtime.store() for _ in range(20)))}) == 1


def test_a_loop_that_ends_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with valkey_server() as server:
        monkeypatch.setenv("REDIS_SESSIONS_URL", server.url)
        runtime.reset()

        async def read() -> int:
            await functions.aget_messages(session_id="s", flow_id=FLOW, user_id=ANN)
            return connections(server)

        assert asyncio.run(read()) > 0
        poll(lambda: connections(server) == 0)
        runtime.reset()


def test_a_forked_child_has_a_store_of_its_own(redis: None) -> None:
    functions.store_message(say("parent"), flow_id=FLOW, user_id=ANN)
    child = os.fork()
    if child == 0:
        try:
            functions.store_message(say("child"), flow_id=FLOW, user_id=ANN)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found = functions.get_messages(session_id="s", order="ASC", flow_id=FLOW, user_id=ANN)
    assert [message.text for message in found] == ["parent", "child"]


@pytest.fixture
async def gone(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that was killed, and one call waited for it in vain."""
    with valkey_server() as server:
        monkeypatch.setenv("REDIS_SESSIONS_URL", server.url)
        monkeypatch.setenv("REDIS_SESSIONS_DEADLINE", "2")
        runtime.reset()
        await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)
        server.kill()
        assert await seconds_to_fail() > 1
        yield server
        await runtime.aclose()
        runtime.reset()


async def seconds_to_fail() -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)
    return time.monotonic() - began


async def answers() -> bool:
    with contextlib.suppress(StoreUnavailableError):
        await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)
        return True
    return False


async def test_only_the_first_call_waits_for_a_redis_that_is_gone(gone: Server) -> None:
    assert await seconds_to_fail() < 1 + runtime.LOOK
    assert sum([await seconds_to_fail() for _ in range(20)]) < 20 * runtime.LOOK / 2


async def test_calls_at_once_all_fail_and_leave_one_watch(gone: Server) -> None:
    await asyncio.gather(*(seconds_to_fail() for _ in range(8)))
    watching = [task for task in asyncio.all_tasks() if "_until_back" in repr(task.get_coro())]
    assert len(watching) == 1


async def test_a_redis_that_is_back_is_seen_without_a_call(gone: Server) -> None:
    await seconds_to_fail()
    (held,) = runtime._state.stores.values()
    assert held.store.counters.unreachable
    gone.restart()
    await wait_until(lambda: not held.store.counters.unreachable)
    await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)


async def test_one_that_is_back_before_anybody_looked_is_used_at_once(gone: Server) -> None:
    gone.restart()
    await functions.astore_message(say(), flow_id=FLOW, user_id=ANN)


async def test_a_watch_ends_with_the_store(gone: Server) -> None:
    await seconds_to_fail()
    (held,) = runtime._state.stores.values()
    watch = held._watch
    assert watch is not None
    await runtime.aclose()
    await wait_until(watch.done)


async def test_one_that_is_gone_again_is_waited_for_again(gone: Server) -> None:
    await seconds_to_fail()
    gone.restart()
    await wait_until(answers)
    gone.kill()
    assert await seconds_to_fail() > 1
    assert await seconds_to_fail() < 1 + runtime.LOOK
