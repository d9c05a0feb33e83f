"""Chat memory does what Langflow's own does: each scenario runs on SQL and on Redis, with one outcome."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from langflow import memory as langflow_memory
from lfx.memory import flow_context
from lfx.schema.content_block import ContentBlock
from lfx.schema.content_types import TextContent, ToolContent
from lfx.schema.message import ErrorMessage, Message
from lfx.schema.properties import Properties, Source, Usage

from redis_sessions.langflow import functions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FLOW, OTHER_FLOW = uuid.UUID(int=1), uuid.UUID(int=2)
ANN, BOB = uuid.UUID(int=11), uuid.UUID(int=12)
START = datetime(2026, 1, 1, 12, tzinfo=UTC)

Scenario = Callable[[ModuleType], Awaitable[Any]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


async def outcome(memory: ModuleType, run: Scenario) -> Any:
    """What a scenario returned or raised, with ids told apart but not compared."""
    ids: dict[str, int] = {}
    try:
        result = await run(memory)
    except ValueError as error:
        return "ValueError", _without_ids(str(error), ids)
    return _shown(result, ids)


def _shown(value: Any, ids: dict[str, int]) -> Any:
    if hasattr(value, "model_dump"):
        return type(value).__name__, _shown(value.model_dump(), ids)
    if isinstance(value, dict):
        return {name: _shown(item, ids) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item, ids) for item in value]
    if isinstance(value, uuid.UUID) and value.int > 100:
        return f"id {ids.setdefault(str(value), len(ids))}"
    return _without_ids(value, ids) if isinstance(value, str) else value


def _without_ids(text: str, ids: dict[str, int]) -> str:
    for made, number in ids.items():
        text = text.replace(made, f"id {number}")
    return text


def say(text: str, *, at: int = 0, session: str = "s", **fields: Any) -> Message:
    given = {"sender": "User", "sender_name": "Ann", "session_id": session, "timestamp": stamp(at)} | fields
    return Message(text=text, **given)


def stamp(at: int) -> str:
    return (START + timedelta(microseconds=at)).strftime("%Y-%m-%d %H:%M:%S.%f %Z")


@contextlib.contextmanager
def graph(
    flow: uuid.UUID | str | None,
    owner: uuid.UUID | None,
    *,
    executor: uuid.UUID | None = None,
    persist: bool = True,
) -> Iterator[None]:
    """A component of a graph is running."""
    tokens = (
        flow_context.set_current_flow_id(flow),
        flow_context.set_current_message_owner_id(owner),
        flow_context.set_current_message_executor_id(executor),
        flow_context.set_messages_persist(persist),
    )
    try:
        yield
    finally:
        flow_context.reset_current_flow_id(tokens[0])
        flow_context.reset_current_message_owner_id(tokens[1])
        flow_context.reset_current_message_executor_id(tokens[2])
        flow_context.reset_messages_persist(tokens[3])


async def fill(memory: ModuleType, count: int = 5, **scope: Any) -> None:
    for number in range(count):
        speaker = {"sender": "Machine", "sender_name": "AI"} if number % 2 else {}
        message = say(f"text {9 - number}", at=number, **speaker)
        await memory.astore_message(message, **({"flow_id": FLOW, "user_id": ANN} | scope))


async def texts(memory: ModuleType, **filters: Any) -> list[str]:
    found = await memory.aget_messages(**({"session_id": "s", "flow_id": FLOW, "user_id": ANN} | filters))
    return [message.text for message in found]


RICH: dict[str, Any] = {
    "context_id": "c",
    "files": ["a/b.txt"],
    "edit": True,
    "category": "info",
    "duration": 5,
    "session_metadata": {"tenant_id": "t", "n": [1, None, float("nan")]},
    "properties": Properties(
        source=Source(id="x", display_name="y", source="z"),
        state="partial",
        targets=["t"],
        usage=Usage(input_tokens=1, output_tokens=2, total_tokens=3),
        build_duration=1.5,
    ),
}


@scenario
async def a_stored_message_comes_back(memory: ModuleType) -> Any:
    run = uuid.UUID(int=21)
    stored = await memory.astore_message(say("hello"), flow_id=str(FLOW), run_id=run, user_id=str(ANN))
    return stored, await memory.aget_messages(session_id="s", flow_id=FLOW, user_id=ANN)


@scenario
async def every_field_comes_back(memory: ModuleType) -> Any:
    blocks = [
        ContentBlock(title="Agent Steps", contents=[ToolContent(name="t", tool_input={"a": 1}, output="o")])
    ]
    message = say("hello", **RICH, content_blocks=blocks)
    stored = await memory.astore_message(message, flow_id=FLOW, user_id=ANN)
    return _known(stored), _known(await memory.aget_messages(session_id="s", flow_id=FLOW, user_id=ANN))


@scenario
async def a_message_of_blocks_only_comes_back(memory: ModuleType) -> Any:
    message = say("", content_blocks=[ToolContent(name="t", tool_input={}), TextContent(text="said")])
    stored = await memory.astore_message(message, flow_id=FLOW, user_id=ANN)
    return _known(stored), _known(await memory.aget_messages(session_id="s", flow_id=FLOW, user_id=ANN))


def _known(messages: list[Any]) -> list[Any]:
    """Without the ids of blocks, which are made anew with them, and without what is null."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            shown = {name: bare(item) for name, item in value.items() if item is not None}
            return {name: item for name, item in shown.items() if name != "id" or "type" not in shown}
        if hasattr(value, "model_dump"):
            return bare(value.model_dump())
        return [bare(item) for item in value] if isinstance(value, list) else value

    return [bare(message) for message in messages]


@scenario
async def the_default_order_descends(memory: ModuleType) -> Any:
    await fill(memory)
    return await texts(memory)


@scenario
async def only_exactly_desc_descends(memory: ModuleType) -> Any:
    await fill(memory)
    return [await texts(memory, order=order, limit=2) for order in ("DESC", "desc", "ASC", "", None)]


@scenario
async def no_order_and_other_fields_to_order_by(memory: ModuleType) -> Any:
    await fill(memory)
    fields = (None, "text", "sender_name", "session_id", "sender", "timestamp")
    return [await texts(memory, order_by=field, order="ASC", limit=3) for field in fields], [
        await texts(memory, order_by="text", order="DESC", limit=limit) for limit in (None, 0, 2)
    ]


@scenario
async def an_unknown_field_to_order_by(memory: ModuleType) -> Any:
    return await texts(memory, order_by="id")


@scenario
async def limits(memory: ModuleType) -> Any:
    await fill(memory)
    return [
        await texts(memory, limit=limit, order=order)
        for limit in (None, 0, 1, 3, 99)
        for order in ("DESC", "ASC")
    ]


@scenario
async def filters(memory: ModuleType) -> Any:
    await fill(memory)
    await memory.astore_message(say("in c", at=9, context_id="c"), flow_id=FLOW, user_id=ANN)
    await memory.astore_message(say("elsewhere", at=10, session="s2"), flow_id=FLOW, user_id=ANN)
    return [
        await texts(memory, **chosen)
        for chosen in (
            {"sender": "Machine"},
            {"sender_name": "Ann"},
            {"sender": "User", "sender_name": "AI"},
            {"sender": "", "context_id": ""},
            {"context_id": "c"},
            {"session_id": None},
            {"session_id": None, "limit": 2},
            {"session_id": "", "order": "ASC", "limit": 2},
            {"session_id": "s2"},
            {"session_id": "none"},
        )
    ]


@scenario
async def errors_are_hidden(memory: ModuleType) -> Any:
    await fill(memory, 2)
    message = ErrorMessage(
        exception=RuntimeError("no"), session_id="s", source=Source(id="x"), trace_name="n"
    )
    (stored,) = await memory.astore_message(message, flow_id=FLOW, user_id=ANN)
    before = await texts(memory, order="ASC")  # Langflow stores errors as none, until they are updated
    stored.error = True
    await memory.astore_message(stored, flow_id=FLOW, user_id=ANN)
    return before, await texts(memory), await texts(memory, limit=1), await texts(memory, session_id=None)


@scenario
async def other_flows_and_owners_are_hidden(memory: ModuleType) -> Any:
    await fill(memory, 2)
    await fill(memory, 3, flow_id=OTHER_FLOW)
    await fill(memory, 4, user_id=BOB)
    return [
        len(await texts(memory, **scope))
        for scope in (
            {},
            {"flow_id": OTHER_FLOW},
            {"user_id": BOB},
            {"flow_id": None},
            {"user_id": None},
            {"flow_id": "x"},
            {"user_id": "x"},
        )
    ]


@scenario
async def a_graph_reads_its_own(memory: ModuleType) -> Any:
    await fill(memory, 2)
    await fill(memory, 3, flow_id=OTHER_FLOW)
    with graph(str(FLOW), ANN, executor=BOB):
        return [
            len(await texts(memory, **scope))
            for scope in (
                {},
                {"flow_id": None, "user_id": None},
                {"flow_id": OTHER_FLOW},
                {"user_id": BOB},
                {"user_id": OTHER_FLOW},
                {"user_id": "nobody"},
            )
        ]


@scenario
async def a_graph_stores_its_own(memory: ModuleType) -> Any:
    with graph(str(FLOW), ANN, executor=BOB):
        stored = await memory.astore_message(say("hello"), user_id=BOB)
    return stored, await texts(memory)


@scenario
async def a_graph_refuses_a_foreign_flow(memory: ModuleType) -> Any:
    with graph(FLOW, ANN):
        await memory.astore_message(say("hello"), flow_id=OTHER_FLOW)


@scenario
async def a_graph_refuses_a_foreign_owner(memory: ModuleType) -> Any:
    with graph(FLOW, ANN):
        await memory.aadd_messages(say("hello"), user_id=BOB)


@scenario
async def a_graph_without_a_flow_stores_nothing(memory: ModuleType) -> Any:
    with graph(None, ANN):
        await memory.astore_message(say("hello"))


@scenario
async def a_graph_without_an_owner_reads_nothing(memory: ModuleType) -> Any:
    await fill(memory, 2)
    with graph(FLOW, None):
        return await texts(memory)


@scenario
async def an_ephemeral_run_stores_nothing(memory: ModuleType) -> Any:
    with graph(FLOW, ANN, persist=False):
        message = say("hello")
        same = await memory.astore_message(message) == [message]
    return same, await texts(memory)


@scenario
async def nothing_to_store(memory: ModuleType) -> Any:
    return await memory.astore_message(None)


@scenario
async def no_session(memory: ModuleType) -> Any:
    await memory.astore_message(say("hello", session=""), flow_id=FLOW, user_id=ANN)


@scenario
async def no_sender(memory: ModuleType) -> Any:
    await memory.astore_message(say("hello", sender=None, sender_name=""), flow_id=FLOW, user_id=ANN)


@scenario
async def no_text(memory: ModuleType) -> Any:
    await memory.astore_message(say(None), flow_id=FLOW, user_id=ANN)  # type: ignore[arg-type]


@scenario
async def a_flow_that_is_no_uuid(memory: ModuleType) -> Any:
    await memory.aadd_messages(say("hello"), flow_id="x", user_id=ANN)


@scenario
async def something_else_than_a_message(memory: ModuleType) -> Any:
    await memory.aadd_messages(["text"], flow_id=FLOW, user_id=ANN)


@scenario
async def stored_again_is_an_update(memory: ModuleType) -> Any:
    (message,) = await memory.astore_message(say("hello", **RICH), flow_id=FLOW, user_id=ANN)
    message.text = "changed"
    message.properties.state = "complete"
    again = await memory.astore_message(message, flow_id=FLOW, user_id=ANN)
    return _known(again), _known(await memory.aget_messages(session_id="s", flow_id=FLOW, user_id=ANN))


@scenario
async def stored_again_in_a_graph(memory: ModuleType) -> Any:
    with graph(FLOW, ANN):
        (message,) = await memory.astore_message(say("hello"))
        for number in range(5):
            message.text = f"token {number}"
            (read,) = await memory.astore_message(message)
            message = await Message.create(**read.model_dump())
        return read, await texts(memory)


@scenario
async def an_unknown_id_outside_a_graph_is_stored(memory: ModuleType) -> Any:
    message = say("hello")
    message.id = uuid.uuid4()
    await memory.astore_message(message, flow_id=FLOW, user_id=ANN)
    return await texts(memory)


@scenario
async def an_unknown_id_in_a_graph_is_refused(memory: ModuleType) -> Any:
    message = say("hello")
    message.id = uuid.UUID(int=99)
    with graph(FLOW, ANN):
        await memory.astore_message(message)


@scenario
async def an_update_moves_a_message_to_another_session(memory: ModuleType) -> Any:
    (message,) = await memory.astore_message(say("hello"), flow_id=FLOW, user_id=ANN)
    message.session_id = "s2"
    await memory.aupdate_messages(message)
    return await texts(memory), await texts(memory, session_id="s2")


@scenario
async def an_update_of_what_is_not_there(memory: ModuleType) -> Any:
    (message,) = await memory.astore_message(say("hello"), flow_id=FLOW, user_id=ANN)
    missing = say("hello")
    missing.id = uuid.UUID(int=99)
    message.text = "changed"
    with contextlib.suppress(ValueError):
        await memory.aupdate_messages([message, missing])
    return await texts(memory)


@scenario
async def a_graph_updates_only_its_own(memory: ModuleType) -> Any:
    (message,) = await memory.astore_message(say("hello"), flow_id=FLOW, user_id=ANN)
    message.text = "changed"
    refused = []
    for flow, owner in ((OTHER_FLOW, ANN), (FLOW, BOB)):
        with graph(flow, owner):
            try:
                await memory.aupdate_messages([message])
            except ValueError:
                refused.append(True)
    return refused, await texts(memory)


@scenario
async def a_nested_flows_message_is_copied(memory: ModuleType) -> Any:
    with graph(OTHER_FLOW, ANN):
        (message,) = await memory.astore_message(say("hello"))
    with graph(FLOW, ANN):
        (copy,) = await memory.astore_message(message)
    return str(copy.id) == str(message.id), await texts(memory), await texts(memory, flow_id=OTHER_FLOW)


@scenario
async def a_strangers_message_is_not_copied(memory: ModuleType) -> Any:
    with graph(OTHER_FLOW, BOB):
        (message,) = await memory.astore_message(say("hello"))
    refused = False
    with graph(FLOW, ANN):
        try:
            await memory.astore_message(message)
        except ValueError:
            refused = True
    return refused, await texts(memory), await texts(memory, flow_id=OTHER_FLOW, user_id=BOB)


@scenario
async def deletes_a_session(memory: ModuleType) -> Any:
    await fill(memory)
    await fill(memory, 2, user_id=BOB)
    await memory.adelete_messages("s", flow_id=FLOW, user_id=ANN)
    return await texts(memory), await texts(memory, user_id=BOB)


@scenario
async def context_beats_session_on_delete(memory: ModuleType) -> Any:
    await fill(memory)
    await memory.astore_message(say("in c", at=9, context_id="c"), flow_id=FLOW, user_id=ANN)
    await memory.astore_message(say("also", at=10, session="s2", context_id="c"), flow_id=FLOW, user_id=ANN)
    await memory.astore_message(say("Bob's", at=11, context_id="c"), flow_id=FLOW, user_id=BOB)
    await memory.adelete_messages("s", "c", flow_id=FLOW, user_id=ANN)
    return await texts(memory, session_id=None), await texts(memory, session_id=None, user_id=BOB)


@scenario
async def a_delete_of_nothing_named(memory: ModuleType) -> Any:
    await memory.adelete_messages(flow_id=FLOW, user_id=ANN)


@scenario
async def a_delete_without_an_owner(memory: ModuleType) -> Any:
    await memory.adelete_messages("s", flow_id=FLOW)


@scenario
async def a_graph_deletes_only_its_own(memory: ModuleType) -> Any:
    await fill(memory, 2)
    refused = False
    with graph(OTHER_FLOW, ANN):
        await memory.adelete_messages("s")
        try:
            await memory.adelete_messages("s", flow_id=FLOW)
        except ValueError:
            refused = True
    kept = await texts(memory)
    with graph(FLOW, ANN):
        await memory.adelete_messages("s")
    return refused, kept, await texts(memory)


@scenario
async def deletes_one_message(memory: ModuleType) -> Any:
    with graph(FLOW, ANN):
        (message,) = await memory.astore_message(say("hello"))
    await fill(memory, 2)
    for flow, owner, persist in ((OTHER_FLOW, ANN, True), (FLOW, BOB, True), (FLOW, ANN, False)):
        with graph(flow, owner, persist=persist):
            await memory.delete_message(str(message.id))
    before = await texts(memory)
    with graph(FLOW, ANN):
        await memory.delete_message(str(message.id))
        await memory.delete_message(str(message.id))
    return before, await texts(memory)


@scenario
async def the_synchronous_twins_in_a_running_loop(memory: ModuleType) -> Any:
    with graph(FLOW, ANN):
        (message,) = memory.store_message(say("hello"))
        memory.add_messages([say("two", at=1), say("three", at=2)])
        first = [one.text for one in memory.get_messages(session_id="s", limit=2)]
        message.text = "changed"
        memory.store_message(message)
        second = [one.text for one in memory.get_messages(session_id="s", order="ASC")]
        memory.delete_messages("s")
        return first, second, memory.get_messages(session_id="s")


@scenario
async def several_messages_at_once(memory: ModuleType) -> Any:
    many = [say(f"text {number}", at=number, session=f"s{number % 2}") for number in range(6)]
    added = await memory.aadd_messages(many, flow_id=FLOW, user_id=ANN)
    return added, await texts(memory, session_id=None)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_redis_and_sql_have_one_outcome(name: str, sql: None, redis: None) -> None:
    assert await outcome(functions, SCENARIOS[name]) == await outcome(langflow_memory, SCENARIOS[name])


@pytest.fixture
async def sql(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Langflow's tables, empty, in a database of this test."""
    from langflow.services.deps import get_db_service
    from lfx.services.deps import get_settings_service
    from lfx.services.manager import get_service_manager
    from sqlmodel import SQLModel

    monkeypatch.setenv("LANGFLOW_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("LANGFLOW_DATABASE_URL", f"sqlite:///{tmp_path / 'langflow.db'}")
    manager = get_service_manager()
    await manager.teardown()
    assert str(tmp_path) in get_settings_service().settings.database_url
    async with get_db_service().engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    yield
    await manager.teardown()
