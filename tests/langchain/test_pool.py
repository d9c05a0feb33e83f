from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING

import pytest

from redis_sessions import Settings, StoreClosedError
from redis_sessions.langchain import RedisSessionHistory, pool
from redis_sessions.langchain.pool import close_shared_stores, load_settings, shared_store
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support import Server

    MakeHistory = Callable[..., RedisSessionHistory]


def connections(valkey: Server) -> int:
    """Of this package; each test has the server to itself."""
    return sum(client["name"] == "redis-sessions" for client in valkey.client().client_list())


@pytest.fixture(autouse=True)
def _nobody_else_is_connected(valkey: Server) -> None:
    close_shared_stores()
    gc.collect()
    poll(lambda: connections(valkey) == 0)


def test_twenty_histories_make_one_connection(history: MakeHistory, valkey: Server) -> None:
    for number in range(20):
        history().add_user_message(str(number))
        assert len(history().messages) == number + 1

    assert connections(valkey) == 1


def test_twenty_event_loops_make_one_connection_and_their_thread_another(
    history: MakeHistory, valkey: Server
) -> None:
    for number in range(20):
        assert len(asyncio.run(history().aget_messages())) == number
        history().add_user_message(str(number))

    assert connections(valkey) == 2


def test_making_a_history_connects_to_nothing(history: MakeHistory, valkey: Server) -> None:
    history()

    assert connections(valkey) == 0


def test_other_settings_are_another_store(settings: Settings, valkey: Server) -> None:
    same = Settings.load(valkey.url, prefix=settings.prefix)
    other = Settings.load(valkey.url, prefix=f"{settings.prefix}-other")

    assert shared_store(settings) is shared_store(same)
    assert shared_store(settings) is not shared_store(other)


def test_stores_that_were_unused_for_longest_are_closed(
    settings: Settings, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_STORES", 2)
    for number in range(5):
        RedisSessionHistory("monday", url=valkey.url, prefix=f"{settings.prefix}-{number}").add_user_message(
            "x"
        )
        gc.collect()

    poll(lambda: connections(valkey) == 2)


def test_the_one_used_last_is_kept(
    settings: Settings, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_STORES", 2)
    first, second, third = (Settings.load(valkey.url, prefix=f"{settings.prefix}-{name}") for name in "abc")
    kept = shared_store(first)
    shared_store(second)

    shared_store(first)
    shared_store(third)

    assert shared_store(first) is kept


def test_a_store_in_use_stays_open(
    settings: Settings, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_STORES", 1)
    used = RedisSessionHistory("monday", settings=settings)
    used.add_user_message("x")

    shared_store(Settings.load("memory://"))
    gc.collect()
    used.add_user_message("y")

    assert len(used.messages) == 2
    assert connections(valkey) == 1


async def test_a_cancelled_call_does_not_go_on(history: MakeHistory, valkey: Server) -> None:
    await history().aadd_messages([])
    await history().aget_messages()
    valkey.pause()
    try:
        call = asyncio.create_task(history().aget_messages())
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    finally:
        valkey.resume()

    assert await history().aget_messages() == []


async def test_a_call_during_which_the_store_is_closed_says_so(history: MakeHistory, valkey: Server) -> None:
    await history().aget_messages()
    mine = history()
    valkey.pause()
    try:
        call = asyncio.create_task(mine.aget_messages())
        await asyncio.sleep(0)
        await asyncio.to_thread(close_shared_stores)
        with pytest.raises(StoreClosedError):
            await call
    finally:
        valkey.resume()

    assert await mine.aget_messages() == []  # and it connects anew


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_connects_anew(history: MakeHistory, valkey: Server) -> None:
    history().add_user_message("parent")

    child = os.fork()
    if child == 0:
        status = 1
        try:
            history().add_user_message("child")
            asyncio.run(history().aget_messages())
            status = 0
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    history().add_user_message("parent again")
    assert [message.content for message in history().messages] == ["parent", "child", "parent again"]


def test_settings_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_URL", "memory://one")
    one = load_settings(prefix="p")
    monkeypatch.setenv("REDIS_SESSIONS_URL", "memory://two")
    two = load_settings(prefix="p")

    assert [settings.url.get_secret_value() for settings in (one, two) if settings.url] == [
        "memory://one",
        "memory://two",
    ]
    assert load_settings(prefix="p") is two
