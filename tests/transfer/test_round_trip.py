"""Out again as it came in: every column, byte for byte."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from redis_sessions import MessageUpdate, SessionStore
from redis_sessions.transfer import Scope
from tests.transfer.conftest import Steps, bring, take
from tests.transfer.databases import FLOW, OTHER, PROPERTIES, LangflowDatabase

if TYPE_CHECKING:
    from tests.conftest import Backend
    from tests.transfer.conftest import MakeDatabase

pytestmark = pytest.mark.backends("valkey")

TABLES = ("message", "transaction", "vertex_build")
ODD: dict[str, Any] = {
    "no text": {"text": None},
    "empty text": {"text": ""},
    "no flow": {"flow_id": None},
    "no session": {"session_id": ""},
    "no category": {"category": None},
    "no context": {"context_id": None},
    "no JSON at all": dict.fromkeys(("files", "properties", "content_blocks", "session_metadata")),
    "JSON null": dict.fromkeys(("files", "properties", "content_blocks"), "null"),
    "JSON of other types": {"files": '{"a": 1}', "properties": "[1]", "content_blocks": '"x"'},
    "spaced JSON": {"files": '[ "a" ]', "properties": '{ "state":"partial" }', "session_metadata": "{}"},
    "keys twice": {"session_metadata": '{"a": 1, "a": 2}', "properties": '{"icon": "a", "icon": "b"}'},
    "properties of an older Langflow": {
        "properties": '{"text_color": "", "source": "Chat", "state": "complete"}'
    },
    "unknown state": {"properties": json.dumps(PROPERTIES | {"state": "odd"})},
    "unknown properties": {"properties": json.dumps(PROPERTIES | {"mood": {"é": [1.0, 1e100]}})},
    "blocks as text": {"content_blocks": json.dumps([json.dumps({"type": "text", "text": "x"}), "{"])},
    "blocks of types": {
        "content_blocks": '[{"type": "text", "text": "x", "n": 18446744073709551617}, 1, null]'
    },
    "escaped and plain": {"session_metadata": '{"\\u00e9": "é", "s": "\\ud83d\\ude00"}'},
    "numbers": {"session_metadata": '{"a": 1.50, "b": 1e2, "c": -0.0, "d": 9007199254740993}'},
    "names": {"sender": "", "sender_name": "\t\u202e"},
}
ODD_TO_SQLITE: dict[str, Any] = {
    "numbers for JSON": {"files": "5", "properties": "1.50", "session_metadata": "-7.0"},
    "NaN": {"session_metadata": '{"a": NaN, "b": -Infinity}', "content_blocks": '[{"x": NaN}]'},
    "lone surrogate": {"session_metadata": '{"a": "\\ud800"}'},
    "not JSON": {"properties": "{", "files": "", "content_blocks": "{NaN", "session_metadata": "["},
    "deep JSON": {"session_metadata": "[" * 5_000 + "]" * 5_000},
    "no fraction": {"timestamp": "2026-01-02 03:04:05"},
    "other zone": {"timestamp": "2026-01-02T03:04:05.5+02:00"},
    "dashed ids": {"id": "0d6c8d1e-44f6-4f0a-8a37-8a2d0b1a2c3d", "flow_id": FLOW, "user_id": FLOW},
    "upper-case id": {"id": "0D6C8D1E44F64F0A8A378A2D0B1A2C3E"},
    "NUL": {"text": "a\x00b"},
    "flags": {"error": 2, "edit": 1, "is_output": 1},
}  # fmt: skip


async def there_and_back(
    store: SessionStore, source: LangflowDatabase, target: LangflowDatabase
) -> dict[str, Any]:
    """What the target has after everything was imported from one and exported to the other."""
    brought = await bring(store, source)
    assert brought.findings == []
    taken = await take(store, target)
    assert taken.findings == []
    return {table: target.rows(table) for table in TABLES}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD.keys())
async def test_an_odd_row_comes_back_byte_for_byte(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase, changes: dict[str, Any]
) -> None:
    database.insert("message", [database.message(1)])
    database.insert("message", [database.message(2, **changes)])
    found = await there_and_back(store, database, make_database())
    assert found["message"] == database.rows("message")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("changes", ODD_TO_SQLITE.values(), ids=ODD_TO_SQLITE.keys())
async def test_what_only_sqlite_holds_comes_back_byte_for_byte(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase, changes: dict[str, Any]
) -> None:
    database.insert("message", [database.message(2, **changes)])
    found = await there_and_back(store, database, make_database())
    assert found["message"] == database.rows("message")


async def test_transactions_and_builds_come_back_byte_for_byte(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase
) -> None:
    odd: list[dict[str, Any]] = [
        {},
        {
            "target_id": None,
            "inputs": None,
            "outputs": "[1]",
            "error": "",
            "user_id": None,
            "session_id": None,
        },
        {"inputs": '{ "a":1 }', "outputs": '{"a": 1, "a": 2}', "error": "é", "flow_id": database.uuid(OTHER)},
    ]
    for number, changes in enumerate(odd):
        database.insert("transaction", [database.transaction(number, **changes)])
    builds: list[dict[str, Any]] = [
        {},
        {"data": None, "artifacts": "{}", "params": None, "valid": database.flag(False), "job_id": None},
        {"data": '{ "a":1.50 }', "artifacts": "[]", "params": "", "flow_id": database.uuid(OTHER)},
    ]
    for number, changes in enumerate(builds):
        database.insert("vertex_build", [database.build(number, **changes)])
    found = await there_and_back(store, database, make_database())
    for table in TABLES:
        assert found[table] == database.rows(table)


async def test_columns_of_a_newer_langflow_come_back(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase
) -> None:
    target = make_database()
    for one in (database, target):
        one.execute("ALTER TABLE message ADD COLUMN mood VARCHAR")
        one.execute("ALTER TABLE message ADD COLUMN stars INTEGER DEFAULT 3")
        one.execute("ALTER TABLE vertex_build ADD COLUMN mood VARCHAR")
    database.insert("message", [database.message(1, mood="good", stars=5)])
    database.insert("message", [database.message(2)])
    database.insert("vertex_build", [database.build(1, mood="bad")])
    found = await there_and_back(store, database, target)
    assert found["message"] == database.rows("message")
    assert found["vertex_build"] == database.rows("vertex_build")


@pytest.mark.databases("sqlite")
async def test_from_sqlite_to_postgresql_values_stay(
    store: SessionStore, database: LangflowDatabase, request: pytest.FixtureRequest
) -> None:
    postgres = request.getfixturevalue("postgres")
    target = LangflowDatabase(postgres.new_database(postgres.template))
    odd = [{}, *ODD.values(), *(changes for name, changes in ODD_TO_SQLITE.items() if name != "NUL")]
    for number, changes in enumerate(odd):
        database.insert("message", [database.message(number, **changes)])
    database.insert("transaction", [database.transaction(1, inputs='{"a": NaN}')])
    database.insert("vertex_build", [database.build(1, data=None)])
    found = await there_and_back(store, database, target)
    assert len(found["message"]) == len(odd)
    await store.delete_flow(FLOW)
    await store.delete_flow("00000000-0000-0000-0000-000000000000")
    assert (await bring(store, target)).report.equal


async def test_an_edit_changes_only_its_columns(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase
) -> None:
    row = database.message(1, context_id=None, session_metadata=None, is_output=database.flag(True))
    database.insert("message", [row])
    await bring(store, database)
    [message] = await store.history(FLOW, "chat")
    await store.update(message.id, MessageUpdate(text="new"), flow_id=FLOW)
    target = make_database()
    assert (await take(store, target)).report.equal
    [before], [after] = database.rows("message"), target.rows("message")
    assert {name for name in before if before[name] != after[name]} == {"text", "edit"}
    back = await take(store, database)
    assert back.counts["messages changed"] == 1
    assert database.rows("message") == target.rows("message")


async def test_an_export_run_twice_changes_nothing(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase
) -> None:
    database.insert("message", [database.message(number) for number in range(30)])
    database.insert("transaction", [database.transaction()])
    database.insert("vertex_build", [database.build()])
    await bring(store, database)
    target = make_database()
    dry = await take(store, target, dry_run=True)
    assert dry.counts == {"messages added": 30, "transactions added": 1, "builds added": 1}
    assert target.rows("message") == []
    assert (await take(store, target)).counts == dry.counts
    assert (await take(store, target)).counts == {
        "messages there already": 30,
        "transactions there already": 1,
        "builds there already": 1,
    }


async def test_messages_made_in_the_store_go_into_a_database(
    store: SessionStore, database: LangflowDatabase
) -> None:
    made = await store.append(
        FLOW, session_id="own", text="Hi", sender="User", sender_name="Ann", files=["a"]
    )
    result = await take(store, database)
    assert result.report.equal
    [row] = database.rows("message")
    assert row["id"] == database.uuid(made.id)
    assert (row["text"], row["session_id"], row["files"]) == ("Hi", "own", '["a"]')
    assert json.loads(row["properties"]) == PROPERTIES
    again = await bring(store, database)
    assert again.report.equal
    assert again.counts == {"messages there already": 1}


async def test_what_the_database_cannot_hold_is_told_and_keeps_nothing_else_out(
    store: SessionStore, database: LangflowDatabase
) -> None:
    said: dict[str, Any] = {"sender": "User", "sender_name": "Ann", "session_id": "s"}
    await store.append("flow-1", text="no UUID", **said)
    await store.append(FLOW, text="duration", duration=1.5, **said)
    await store.append(FLOW, text="fine", **said)
    if not database.is_sqlite:
        await store.append(FLOW, text="a\x00b", **said)
    result = await take(store, database)
    assert set(result.whats) == {"refused"}
    assert len(result.findings) == (2 if database.is_sqlite else 3)
    assert [row["text"] for row in database.rows("message")] == ["fine"]


async def test_flow_and_since_choose_what_goes(store: SessionStore, database: LangflowDatabase) -> None:
    rows = [database.message(number, text=str(number)) for number in range(3)]
    database.insert("message", [*rows, database.message(1, flow_id=database.uuid(OTHER))])
    await bring(store, database)
    [_, second, _] = await store.history(FLOW, "chat")
    database.execute("DELETE FROM message")
    result = await take(store, database, Scope(frozenset([FLOW]), second.timestamp))
    assert result.report.equal
    assert sorted(row["text"] for row in database.rows("message")) == ["1", "2"]


async def test_the_comparison_finds_what_did_not_arrive(
    store: SessionStore, database: LangflowDatabase, make_database: MakeDatabase
) -> None:
    database.insert("message", [database.message(number) for number in range(4)])
    database.insert("transaction", [database.transaction()])
    await bring(store, database)
    target = make_database()

    def harm() -> None:
        if steps.parts[-1] == "Reading what was written":
            target.execute("DELETE FROM message WHERE text LIKE 'Hello 1%'")
            target.execute("UPDATE message SET sender_name = 'Eve' WHERE text LIKE 'Hello 2%'")
            target.execute('DELETE FROM "transaction"')

    steps = Steps(reading=harm)
    result = await take(store, target, steps=steps)
    assert result.whats == ["different", "missing", "missing"]
    assert [total.session_id for total in result.sessions] == ["chat"]


raw_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
raw_json = st.none() | raw_text | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
).map(json.dumps)  # fmt: skip
rows = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | raw_text,
        "sender": raw_text,
        "sender_name": raw_text,
        "session_id": st.sampled_from(["", "chat", "a b", FLOW])
        | raw_text.filter(lambda text: "\0" not in text),
        "category": st.none() | raw_text,
        "context_id": st.none() | raw_text,
        "files": raw_json,
        "properties": raw_json,
        "content_blocks": raw_json,
        "session_metadata": raw_json,
        "is_output": st.sampled_from([0, 1]),
        "flow_id": st.sampled_from([None, FLOW.replace("-", ""), OTHER]),
    },
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Langflow's tables and nothing in them."""
    path: Path = tmp_path_factory.mktemp("empty") / "langflow.db"
    LangflowDatabase(f"sqlite:///{path}").create()
    return path


@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller example costs seconds to try
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(drawn=st.lists(rows, min_size=1, max_size=12))
def test_any_row_comes_back_byte_for_byte(backend: Backend, empty: Path, drawn: list[dict[str, Any]]) -> None:
    async def run(folder: Path) -> None:
        async with SessionStore.from_url(backend.url, prefix=f"t{uuid4().hex}") as store:
            paths = [shutil.copy(empty, folder / name) for name in ("a", "b")]
            source, target = (LangflowDatabase(f"sqlite:///{path}") for path in paths)
            source.insert("message", [source.message(number, **row) for number, row in enumerate(drawn)])
            found = await there_and_back(store, source, target)
            assert found["message"] == source.rows("message")

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
