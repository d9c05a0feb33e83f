from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from redis_sessions import (
    ConfigurationError,
    InvalidInputError,
    MessageUpdate,
    OutOfMemoryError,
    SessionStore,
    Settings,
    StoreUnavailableError,
)
from redis_sessions.langchain import RedisSessionHistory
from tests.support import valkey_server
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Backend
    from tests.support import Server

    MakeHistory = Callable[..., RedisSessionHistory]

CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "call_1", "type": "tool_call"}
TALK: list[BaseMessage] = [
    SystemMessage("Be brief.", id="1"),
    HumanMessage(
        [
            {"type": "text", "text": "And here?"},
            {"type": "image", "base64": "iVBORw0=", "mime_type": "image/png"},
        ],
        id="2",
    ),
    AIMessage("", tool_calls=[CALL], id="3", response_metadata={"model_name": "m"}),  # type: ignore[list-item]
    ToolMessage("sunny", tool_call_id="call_1", name="weather", artifact={"degrees": 24}, id="4"),
    AIMessage("Sunny.", id="5", usage_metadata={"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}),
]


def test_a_talk_comes_back_as_it_was(backend: Backend) -> None:
    history = RedisSessionHistory("monday", url=backend.url, prefix=backend.prefix)

    history.add_messages(TALK)

    assert history.messages == TALK


async def test_and_asynchronously(backend: Backend) -> None:
    history = RedisSessionHistory("monday", url=backend.url, prefix=backend.prefix)

    await history.aadd_messages(TALK)

    assert await history.aget_messages() == TALK


async def test_both_ways_of_calling_see_the_same(history: MakeHistory) -> None:
    history().add_user_message("Hello!")
    await history().aadd_messages([AIMessage("Hi.")])

    assert [message.content for message in history().messages] == ["Hello!", "Hi."]
    assert await history().aget_messages() == history().messages


def test_a_limit_gives_the_newest(history: MakeHistory) -> None:
    history().add_messages(TALK)

    assert history(limit=2).messages == TALK[-2:]


def test_without_a_limit_all_are_read(history: MakeHistory) -> None:
    many: list[BaseMessage] = [HumanMessage(str(number), id=str(number)) for number in range(2_345)]

    history().add_messages(many)

    assert history().messages == many
    assert history(user_id=None, context_id="").messages == many


def test_a_limit_reads_no_more_than_that(history: MakeHistory, valkey: Server) -> None:
    history(user_id="ada").add_messages([HumanMessage("x" * 1_000)] * 200)
    valkey.client().config_resetstat()

    assert len(history(user_id="ada", limit=3).messages) == 3

    assert valkey.client().info("stats")["total_net_output_bytes"] < 10_000


def test_a_limit_counts_what_is_in_scope(history: MakeHistory, settings: Settings) -> None:
    for number in range(300):
        history(user_id="ada" if number % 100 == 0 else "bob").add_user_message(str(number))

    assert [message.content for message in history(user_id="ada", limit=2).messages] == ["100", "200"]


def test_times_and_ids_are_kept(history: MakeHistory) -> None:
    history().add_messages([HumanMessage("Hello!"), AIMessage("Hi.")])

    first, second = history().stored_messages()
    assert first.timestamp < second.timestamp
    assert [message.id for message in history().messages] == [first.id, second.id]


async def test_a_text_edited_in_the_store_is_what_langchain_gets(
    history: MakeHistory, settings: Settings
) -> None:
    await history().aadd_messages(TALK)
    *_, last = await history().astored_messages()

    async with SessionStore(settings) as store:
        await store.update(last.id, MessageUpdate(text="It rains."), flow_id="langchain")

    *_, edited = await history().aget_messages()
    assert edited == TALK[-1].model_copy(update={"content": "It rains."})


async def test_errors_are_left_out(history: MakeHistory, settings: Settings) -> None:
    async with SessionStore(settings) as store:
        for text, error in (("Hello!", False), ("Traceback …", True)):
            await store.append(
                "langchain", session_id="monday", text=text, sender="User", sender_name="Ada", error=error
            )

    for limit in (None, 1, 10):
        assert [message.content for message in await history(limit=limit).aget_messages()] == ["Hello!"]


def test_flows_users_sessions_and_contexts_are_apart(history: MakeHistory) -> None:
    places: list[dict[str, Any]] = [
        {"flow_id": "a", "user_id": "ada"},
        {"flow_id": "b", "user_id": "ada"},
        {"flow_id": "a", "user_id": "bob"},
        {"flow_id": "a", "user_id": "ada", "context_id": "work"},
    ]
    for place in places:
        history(**place).add_user_message(str(place))
    history(flow_id="b").session_id = "tuesday"

    assert [message.content for message in history(**places[1]).messages] == [str(places[1])]
    assert [message.content for message in history(**places[2]).messages] == [str(places[2])]
    assert [message.content for message in history(**places[3]).messages] == [str(places[3])]
    assert [message.content for message in history(flow_id="a").messages] == [
        str(places[0]),
        str(places[2]),
        str(places[3]),
    ]


def test_the_session_can_be_changed_and_changed_back(history: MakeHistory) -> None:
    mine = history()
    mine.add_user_message("on monday")
    mine.session_id = "tuesday"
    mine.add_user_message("on tuesday")

    assert [message.content for message in mine.messages] == ["on tuesday"]
    mine.session_id = ""
    assert [message.content for message in mine.messages] == ["on monday"]


def test_clear_deletes_the_session(history: MakeHistory, valkey: Server, settings: Settings) -> None:
    history().add_messages(TALK)

    history().clear()

    assert history().messages == []
    assert not valkey.client().keys(f"{settings.prefix}:*:log:*")
    history().clear()  # again: nothing to do


async def test_clear_deletes_only_what_is_in_scope(history: MakeHistory) -> None:
    await history(user_id="bob").aadd_messages([HumanMessage("Hello!")])
    await history(user_id="ada", context_id="work").aadd_messages([HumanMessage("Hello!")])
    await history(user_id="ada", context_id="home").aadd_messages([HumanMessage("Hello!")] * 1_050)

    await history(user_id="ada", context_id="home").aclear()

    assert [message.context_id for message in await history(user_id="ada").astored_messages()] == ["work"]
    await history(user_id="ada").aclear()
    assert [message.user_id for message in await history().astored_messages()] == ["bob"]


def test_a_time_to_live_is_set(history: MakeHistory, settings: Settings, valkey: Server) -> None:
    weekly = RedisSessionHistory("monday", url=valkey.url, prefix=settings.prefix, ttl=timedelta(days=7))

    weekly.add_user_message("Hello!")

    [log] = valkey.client().keys(f"{settings.prefix}:*:log:*")
    assert 604_000 < valkey.client().ttl(log) <= 604_800


def test_a_batch_is_stored_whole_or_not_at_all(history: MakeHistory) -> None:
    with pytest.raises(InvalidInputError):
        history().add_messages(
            [HumanMessage("Hello!"), ToolMessage("x", tool_call_id="1", artifact=object())]
        )

    assert history().messages == []


def test_an_error_tells_how_many_of_a_long_batch_were_stored() -> None:
    with valkey_server(maxmemory="3mb", maxmemory_policy="noeviction") as server:
        history = RedisSessionHistory("monday", url=server.url, max_batch=10)

        with pytest.raises(OutOfMemoryError) as caught:
            history.add_messages([HumanMessage("x" * 10_000)] * 1_000)

        stored = len(history.messages)
        assert stored % 10 == 0
        assert 0 < stored < 1_000
        assert caught.value.__notes__ == [f"{stored:,} of 1,000 messages had been stored before"]


def test_a_server_that_is_not_there_is_told_within_the_deadline() -> None:
    history = RedisSessionHistory(
        "monday", url=f"redis://127.0.0.1:{free_port()}", deadline=timedelta(milliseconds=300)
    )

    with pytest.raises(StoreUnavailableError):
        history.add_user_message("Hello!")
    with pytest.raises(StoreUnavailableError):
        asyncio.run(history.aget_messages())


def test_a_server_that_comes_later_is_found() -> None:
    with valkey_server() as server:
        server.kill()
        history = RedisSessionHistory("monday", url=server.url, deadline=timedelta(milliseconds=300))
        with pytest.raises(StoreUnavailableError):
            history.add_user_message("Hello!")

        server.restart()
        history.add_user_message("Hello again!")

        assert [message.content for message in history.messages] == ["Hello again!"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"limit": 0}, InvalidInputError),
        ({"flow_id": "{x}"}, InvalidInputError),
        ({"url": "http://localhost"}, ConfigurationError),
        ({"no_such_option": 1}, ConfigurationError),
        ({"ttl": ["1"]}, ConfigurationError),
        ({"settings": Settings(), "url": "memory://"}, InvalidInputError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_told_at_once(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        RedisSessionHistory("monday", **{"url": "memory://"} | wrong).add_user_message("Hello!")


def test_an_empty_session_id_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        RedisSessionHistory("", url="memory://")


def test_a_secret_is_not_shown(settings: Settings) -> None:
    history = RedisSessionHistory("monday", url="redis://ada:S3cret@localhost:1")

    assert "S3cret" not in repr(history) + str(vars(history))


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
def test_langchains_own_runnable_keeps_its_history_here(history: MakeHistory) -> None:
    def answer(given: dict[str, list[BaseMessage]]) -> AIMessage:
        return AIMessage(f"{len(given['past'])} before, and {given['now'][0].content}")

    chain = RunnableWithMessageHistory(
        RunnableLambda(answer),
        lambda session_id: history(),
        input_messages_key="now",
        history_messages_key="past",
    )
    config: Any = {"configurable": {"session_id": "monday"}}

    chain.invoke({"now": [HumanMessage("one")]}, config)
    asyncio.run(chain.ainvoke({"now": [HumanMessage("two")]}, config))

    assert [message.content for message in history().messages] == [
        "one",
        "0 before, and one",
        "two",
        "2 before, and two",
    ]


def test_threads_and_loops_may_share_a_history(history: MakeHistory) -> None:
    mine = history()

    def talk(number: int) -> None:
        if number % 2:
            mine.add_user_message(str(number))
        else:
            asyncio.run(mine.aadd_messages([HumanMessage(str(number))]))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(talk, range(40)))

    assert sorted(int(str(message.content)) for message in mine.messages) == list(range(40))
