"""The component next to Langflow's present one (``langchain_community.RedisChatMessageHistory``).

Connections for twenty builds are in ``test_flow.py``; how long things take is what ``python -m
benchmarks.component`` measures.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from langchain_community.chat_message_histories.redis import RedisChatMessageHistory
from langchain_core.messages import HumanMessage

from redis_sessions.langchain import RedisSessionHistory
from tests.langflow.component import flows
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.support.servers import Server

    Run = Callable[..., Awaitable[str]]

PASSWORD = "p@ss/w#rd"


@pytest.fixture
def valkey() -> Iterator[Server]:
    """One of the test's own: its counters are looked at."""
    with valkey_server() as server:
        yield server


def traffic(valkey: Server) -> tuple[set[str], int]:
    """Commands that read messages, and bytes sent to clients, since the counters were reset."""
    info = valkey.client().info
    commands = {name.removeprefix("cmdstat_") for name in info("commandstats")}
    return commands & {"lrange", "xrange", "xrevrange"}, info("stats")["total_net_output_bytes"]


async def test_ours_reads_what_is_asked_and_theirs_all(
    run: Run, valkey: Server, flow_id: str, user_id: str
) -> None:
    messages = [HumanMessage("x" * 100)] * 5_000
    RedisSessionHistory("monday", flow_id=flow_id, user_id=user_id, url=valkey.url).add_messages(messages)
    RedisChatMessageHistory("monday", url=valkey.url).add_messages(messages)

    sent = {}
    for kind in (flows.RedisSessionsComponent, flows.TodaysComponent):
        valkey.client().config_resetstat()
        shown = await run(flows.retrieving(valkey.url, kind, messages=10), "{text}")
        assert len(shown.split()) == 10
        commands, sent[kind] = traffic(valkey)
        assert commands == ({"lrange"} if kind is flows.TodaysComponent else {"xrevrange"})

    assert sent[flows.RedisSessionsComponent] * 100 < sent[flows.TodaysComponent]


async def test_ours_takes_any_password_and_theirs_breaks_its_url(run: Run) -> None:
    with valkey_server(requirepass=PASSWORD) as server:
        ours = f"redis://127.0.0.1:{server.port}/0"
        assert await run(flows.storing(ours, password=PASSWORD), "Hello!") == "Hello!"

        theirs = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"  # as it is put together there
        with pytest.raises(Exception, match=r"(?i)port|resolve|name or service"):
            await run(flows.storing(theirs, flows.TodaysComponent), "Hello!")


async def test_ours_ends_and_theirs_stays(run: Run, valkey: Server) -> None:
    await run(flows.storing(valkey.url, ttl=3600), "Hello!")
    await run(flows.storing(valkey.url, flows.TodaysComponent), "Hello!")

    [ours] = valkey.client().keys("rs:*:log:*")
    assert valkey.client().ttl(ours) > 0
    assert valkey.client().ttl("message_store:monday") == -1


async def test_ours_is_apart_for_flows_and_people_and_theirs_is_not(run: Run, valkey: Server) -> None:
    shown = {}
    for kind in (flows.RedisSessionsComponent, flows.TodaysComponent):
        await run(flows.storing(valkey.url, kind), "a secret")
        shown[kind] = [
            await run(flows.retrieving(valkey.url, kind), "{text}", flow_id=str(uuid4())),
            await run(flows.retrieving(valkey.url, kind), "{text}", user_id=str(uuid4())),
        ]

    assert shown[flows.RedisSessionsComponent] == ["", ""]
    assert shown[flows.TodaysComponent] == ["a secret", "a secret"]


def test_ours_keeps_ids_and_times_and_theirs_does_not(valkey: Server) -> None:
    ours = RedisSessionHistory("monday", url=valkey.url)
    theirs = RedisChatMessageHistory("monday", url=valkey.url)
    for history in (ours, theirs):
        history.add_messages([HumanMessage("Hello!")])

    [message] = ours.stored_messages()
    assert [one.id for one in ours.messages] == [message.id]
    assert abs((datetime.now(UTC) - message.timestamp).total_seconds()) < 60
    [message] = theirs.messages
    assert message.id is None
    assert b"time" not in valkey.client().lindex("message_store:monday", 0)
