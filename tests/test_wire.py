"""What a server is sent is what ``lua/README.md`` says."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

import redis_sessions
from redis_sessions import MessageUpdate, NewMessage, RenameResult, SessionStore, Transaction, VertexBuild
from redis_sessions.scripting import NAMES, source
from tests.support import Proxy, Server
from tests.support.talk import FLOW, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis_sessions import Message
    from tests.conftest import Backend, MakeStore

README = (Path(redis_sessions.__file__).parent / "lua" / "README.md").read_text()
TABLE = {
    row[0]: (int(row[1]), re.split(r"[,;] ", row[2]))
    for row in re.findall(r"^\| ([\w, ']+?) \| (\d+) \| ([A-Z].*?) \|$", README, re.MULTILINE)
}
BATCH = [NewMessage(text="x", sender="U", sender_name="A", session_id="chat")] * 3
BUILD = VertexBuild(id="ChatInput-1", flow_id=FLOW, valid=True)
RUN = Transaction(flow_id=FLOW, vertex_id="ChatInput-1", status="success")


async def everything(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


def renamed(message: Message) -> RenameResult:
    """What a rename answered that moved the message's session to where it is now."""
    return RenameResult("renamed", 2, message.session_id, frozenset())


OPERATIONS: dict[str, Callable[[SessionStore, Message], Awaitable[object]]] = {
    "append": lambda store, _: say(store),
    "append, to a session not met lately": lambda store, _: say(store),
    "append_many": lambda store, _: store.append_many(FLOW, BATCH),
    "append, with an id made elsewhere": lambda store, _: say(store, id=uuid4()),
    "append, to a new flow": lambda store, _: say(store, flow="new", owner="ann"),
    "history": lambda store, _: store.history(FLOW, "chat"),
    "history, with changed messages": lambda store, _: store.history(FLOW, "edited"),
    "history_json": lambda store, _: store.history_json(FLOW, "chat"),
    "export_json": lambda store, _: everything(store.export_json(FLOW, "chat")),
    "length": lambda store, _: store.length(FLOW, "chat"),
    "recent": lambda store, _: store.recent("single"),
    "recent_json": lambda store, _: store.recent_json(["single"]),
    "moved_json": lambda store, message: store.moved_json(FLOW, renamed(message)),
    "sessions_of": lambda store, _: store.sessions_of(["single"]),
    "sessions": lambda store, _: store.sessions(FLOW),
    "get, with the flow": lambda store, message: store.get(message.id, flow_id=FLOW),
    "get": lambda store, message: store.get(message.id),
    "get, of a session not met lately": lambda store, message: store.get(message.id),
    "get_many, with the flow": lambda store, message: store.get_many([message.id], flow_id=FLOW),
    "update, of a message last written here": lambda store, message: store.update(
        message.id, MessageUpdate(text="new"), flow_id=FLOW
    ),
    "update, of a session not met lately": lambda store, message: store.update(
        message.id, MessageUpdate(text="new"), flow_id=FLOW
    ),
    "update, to another session": lambda store, message: store.update(
        message.id, MessageUpdate(session_id="other"), flow_id=FLOW
    ),
    "delete_messages, last written here": lambda store, message: store.delete_messages(
        [message.id], flow_id=FLOW
    ),
    "delete_messages, of a session not met lately": lambda store, message: store.delete_messages(
        [message.id], flow_id=FLOW
    ),
    "delete_session": lambda store, _: store.delete_session(FLOW, "chat"),
    "delete_session, of one not met lately": lambda store, _: store.delete_session(FLOW, "chat"),
    "delete_session, the flow's last": lambda store, _: store.delete_session("single", "chat"),
    "delete_flow, of one session": lambda store, _: store.delete_flow("single"),
    "rename_session": lambda store, _: store.rename_session(FLOW, "chat", "other"),
    "rename_session, of one not met lately": lambda store, _: store.rename_session(FLOW, "chat", "other"),
    "set_owner": lambda store, _: store.set_owner(FLOW, "bob"),
    "owner": lambda store, _: store.owner(FLOW),
    "flows": lambda store, _: store.flows(),
    "flows, of an owner": lambda store, _: store.flows(owner="ann"),
    "find_sessions": lambda store, _: store.find_sessions(["chat", "other"], [FLOW]),
    "version": lambda store, _: store.version(FLOW, "chat"),
    "has_flow": lambda store, _: store.has_flow(FLOW),
    "put_build": lambda store, _: store.put_build(BUILD),
    "builds": lambda store, _: store.builds(FLOW),
    "builds_json": lambda store, _: store.builds_json(FLOW),
    "job_builds": lambda store, _: store.job_builds(FLOW, "earlier"),
    "delete_builds": lambda store, _: store.delete_builds(FLOW),
    "delete_job_builds": lambda store, _: store.delete_job_builds(FLOW, ["earlier"]),
    "trim_builds": lambda store, _: store.trim_builds(1_000),
    "add_transaction": lambda store, _: store.add_transaction(RUN),
    "transactions": lambda store, _: store.transactions(FLOW),
    "transactions_json": lambda store, _: store.transactions_json(FLOW),
    "delete_transactions": lambda store, _: store.delete_transactions(FLOW, lambda one: True),
    "begin_deletion": lambda store, _: store.begin_deletion(FLOW),
    "end_deletion": lambda store, _: store.end_deletion(FLOW),
    "deletions": lambda store, _: store.deletions(),
    "count": lambda store, _: store.count("calls", window=timedelta(minutes=1)),
    "counted": lambda store, _: store.counted("calls"),
    "ping": lambda store, _: store.ping(),
}
SCRIPTS = {source(name).sha: name for name in NAMES}


def test_the_table_has_a_row_for_each_operation() -> None:
    assert sorted(TABLE) == sorted(OPERATIONS)


# How these are done is told below the table: how much they send depends on what is there, or on the clock.
TOLD = {"watch"}
LOCAL = {"open", "aclose", "from_url"}


def test_every_method_of_the_store_is_an_operation_of_the_table() -> None:
    methods = {
        name
        for name in dir(SessionStore)
        if not name.startswith("_") and callable(getattr(SessionStore, name)) and name not in LOCAL
    }

    assert {operation.partition(",")[0] for operation in OPERATIONS} | TOLD == methods
    assert all(f"`{name}` is " in README for name in TOLD)


@pytest.mark.backends("valkey", "redis7")
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_sends_what_is_documented(
    make_store: MakeStore, backend: Backend, operation: str
) -> None:
    assert isinstance(backend.server, Server)
    for name in NAMES:
        backend.server.client().script_load(source(name).text)
    async with Proxy(backend.server) as proxy:
        store = await make_store(url=proxy.url)
        message = await say(store, owner="ann")
        await say(store)
        await say(store, flow="single", owner="ann")
        edited = await say(store, session="edited")
        await store.update(edited.id, MessageUpdate(text="new"))
        await store.put_build(BUILD)
        await store.add_transaction(RUN)
        if "not met" in operation:
            store = await make_store(url=proxy.url)
            await say(store, session="elsewhere")
        proxy.forget()
        await OPERATIONS[operation](store, message)

        sent = [
            f"EVALSHA {SCRIPTS[request.args[1]]}" if request.name == b"EVALSHA" else request.name.decode()
            for request in proxy.requests
        ]
        assert (proxy.round_trips, sent) == TABLE[operation]


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_knows_every_script(name: str) -> None:
    assert name in README
