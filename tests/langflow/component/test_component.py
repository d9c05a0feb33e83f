"""What the component does inside a run: scope, what is asked for, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import HumanMessage
from lfx.memory.flow_context import set_current_flow_id, set_current_message_owner_id

from redis_sessions import InvalidInputError, Settings
from redis_sessions.blocking import SessionStore
from redis_sessions.langflow.extension.history import FlowHistory, Scope
from tests.langflow.component import flows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server

    Run = Callable[..., Awaitable[str]]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "050001a5f645400000000049454e44ae426082"
)


@pytest.fixture
def store(valkey: Server) -> Iterator[SessionStore]:
    with SessionStore.from_url(valkey.url) as store:
        yield store


async def test_what_is_stored_is_the_running_persons(
    run: Run, valkey: Server, store: SessionStore, flow_id: str, user_id: str
) -> None:
    await run(flows.storing(valkey.url), "Hello!")

    [message] = store.history(flow_id, "monday")
    assert (message.text, message.sender, message.user_id) == ("Hello!", "User", user_id)


async def test_people_of_one_flow_do_not_see_each_other(run: Run, valkey: Server) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    await run(flows.storing(valkey.url), "from Ada", user_id=ada)
    await run(flows.storing(valkey.url), "from Bob", user_id=bob)

    assert await run(flows.retrieving(valkey.url), "{text}", user_id=ada) == "from Ada"


async def test_end_users_of_a_service_account_do_not_see_each_other(run: Run, valkey: Server) -> None:
    for person in ("ada", "bob"):
        await run(flows.storing(valkey.url), f"from {person}", end_user_id=person)

    assert await run(flows.retrieving(valkey.url), "{text}", end_user_id="bob") == "from bob"
    assert await run(flows.retrieving(valkey.url), "{text}") == ""


async def test_flows_with_one_session_id_do_not_see_each_other(run: Run, valkey: Server) -> None:
    await run(flows.storing(valkey.url), "elsewhere", flow_id=str(uuid4()))

    assert await run(flows.retrieving(valkey.url), "{text}") == ""


@pytest.mark.parametrize("nobody", [{"flow_id": None}, {"user_id": None}, {"persist_messages": False}])
async def test_a_run_that_may_keep_nothing_keeps_nothing(run: Run, nobody: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("redis_sessions.langchain.history.shared_store", lambda settings: 1 / 0)

        assert await run(flows.storing("redis://127.0.0.1:1/0"), "Hello!", **nobody) == "Hello!"


async def test_the_history_of_one_flow_is_refused_in_another(valkey: Server) -> None:
    user = uuid4()
    history = FlowHistory(Scope(uuid4(), user), "monday", limit=10, settings=Settings.load(valkey.url))
    set_current_flow_id(str(uuid4()))
    set_current_message_owner_id(user)

    with pytest.raises(InvalidInputError, match="handed to another"):
        await history.aget_messages()
    with pytest.raises(InvalidInputError, match="handed to another"):
        history.add_messages([HumanMessage("x")])


async def test_whoever_runs_a_shared_history_gets_their_own(valkey: Server, flow_id: str) -> None:
    ada, bob = uuid4(), uuid4()
    settings = Settings.load(valkey.url, prefix=flow_id)
    history = FlowHistory(Scope(UUID(flow_id), ada), "monday", limit=10, settings=settings)

    async def talk(person: UUID) -> list[str]:
        set_current_flow_id(flow_id)
        set_current_message_owner_id(person)
        for number in range(20):
            await history.aadd_messages([HumanMessage(f"{person} {number}")])
        return [str(message.content) for message in await history.aget_messages()]

    for person, read in zip((ada, bob), await asyncio.gather(talk(ada), talk(bob)), strict=True):
        assert read == [f"{person} {number}" for number in range(10, 20)]


async def test_store_answers_with_what_it_stored_and_reads_nothing(run: Run, valkey: Server) -> None:
    await run(flows.storing(valkey.url), "one")
    valkey.client().config_resetstat()

    assert await run(flows.storing(valkey.url), "two") == "two"

    assert "cmdstat_xrevrange" not in valkey.client().info("commandstats")


async def test_stores_at_once_answer_with_their_own(run: Run, valkey: Server) -> None:
    flow = flows.storing(valkey.url)
    texts = [f"text {number}" for number in range(5)]

    assert await asyncio.gather(*(run(flow, text) for text in texts)) == texts


@pytest.mark.parametrize(
    ("messages", "inputs", "read"), [(2, {}, 2), (100, {"n_messages": 3}, 3), (0, {}, 0)]
)
async def test_only_what_is_asked_for_comes_back(
    run: Run, valkey: Server, messages: int, inputs: dict[str, Any], read: int
) -> None:
    for number in range(5):
        await run(flows.storing(valkey.url), str(number))

    shown = await run(flows.retrieving(valkey.url, messages=messages, **inputs), "{text}")

    assert shown.split() == ["0", "1", "2", "3", "4"][5 - read :]


async def test_the_table_has_ids_times_and_metadata(
    run: Run, valkey: Server, store: SessionStore, flow_id: str, user_id: str
) -> None:
    message = store.append(
        flow_id,
        session_id="monday",
        text="Hello!",
        sender="User",
        sender_name="Ada",
        user_id=user_id,
        session_metadata={"langfuse_trace_id": "t1"},
        properties={"positive_feedback": True},
        files=["a.txt"],
    )

    shown = await run(flows.table(valkey.url))

    for value in (message.id, "Ada", "t1", "a.txt", message.timestamp.isoformat().replace("+00:00", "Z")):
        assert value in shown
    assert "positive_feedback': True" in shown


async def test_attachments_of_langflows_messages_come_back_as_langflow_reads_them(
    run: Run,
    valkey: Server,
    store: SessionStore,
    flow_id: str,
    user_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(PNG)
    monkeypatch.setattr("lfx.utils.file_path_security.is_local_file_access_restricted", lambda: False)
    store.append(
        flow_id,
        session_id="monday",
        text="A cat?",
        sender="User",
        sender_name="Ada",
        user_id=user_id,
        files=[str(picture)],
    )
    history = FlowHistory(
        Scope(UUID(flow_id), UUID(user_id)), "monday", limit=10, settings=Settings.load(valkey.url)
    )

    [message] = await history.aget_messages()

    assert isinstance(message, HumanMessage)
    assert message.content[0] == {"type": "text", "text": "A cat?"}
    assert "image" in json.dumps(message.content[1])


async def test_the_session_ends_after_its_time_to_live(run: Run, valkey: Server, flow_id: str) -> None:
    await run(flows.storing(valkey.url, ttl=3600), "Hello!")

    [log] = valkey.client().keys(f"rs:{{{flow_id}}}:log:*")
    assert 3500 < valkey.client().ttl(log) <= 3600
