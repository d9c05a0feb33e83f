"""From a Langflow database into a store."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from redis_sessions import MessageUpdate
from redis_sessions.changes import Change, changes_of
from redis_sessions.errors import ConfigurationError
from redis_sessions.transfer import Scope
from redis_sessions.transfer.errors import TransferError
from redis_sessions.transfer.records import NO_FLOW
from redis_sessions.transfer.sql import source as sql_source
from redis_sessions.transfer.sql.database import Database
from tests.support.talk import nothing_changes
from tests.transfer.conftest import Steps, bring
from tests.transfer.databases import ANN, FLOW, OTHER, START

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import MakeStore
    from tests.transfer.databases import LangflowDatabase

pytestmark = pytest.mark.backends("valkey")


def insert(database: LangflowDatabase, count: int, **changes: Any) -> list[dict[str, Any]]:
    rows = [database.message(number, **changes) for number in range(count)]
    database.insert("message", rows)
    return rows


def text_id(row: dict[str, Any]) -> str:
    return str(UUID(row["id"]))


async def texts(store: SessionStore, session: str = "chat", flow: str = FLOW) -> list[str]:
    return [message.text for message in await store.history(flow, session, limit=10_000)]


async def test_messages_come_with_all_their_fields(store: SessionStore, database: LangflowDatabase) -> None:
    run = str(uuid4())
    row = database.message(
        session_id="support: {7}",
        files='["a/b.png"]',
        error=database.flag(True),
        edit=database.flag(True),
        category="error",
        properties=json.dumps({"state": "partial", "icon": "x", "mood": "good"}),
        content_blocks='[{"type": "group", "title": "Steps", "contents": [{"type": "text", "text": "é"}]}]',
        context_id="c-1",
        session_metadata='{"tenant_id": "t"}',
        run_id=database.uuid(run),
    )
    database.insert("message", [row])
    result = await bring(store, database)
    assert result.counts == {"messages added": 1}
    [message] = await store.history(FLOW, "support: {7}")
    assert message.model_dump() | {"properties": None} == {
        "id": text_id(row),
        "flow_id": FLOW,
        "session_id": "support: {7}",
        "timestamp": START,
        "sender": "User",
        "sender_name": "Ann",
        "context_id": "c-1",
        "text": row["text"],
        "files": ["a/b.png"],
        "error": True,
        "edit": True,
        "properties": None,
        "category": "error",
        "content_blocks": [{"type": "group", "title": "Steps", "contents": [{"type": "text", "text": "é"}]}],
        "session_metadata": {"tenant_id": "t"},
        "run_id": run,
        "user_id": ANN,
        "duration": None,
    }
    assert message.properties.state == "partial"
    assert message.properties.model_extra == {"mood": "good"}
    assert (await store.get(text_id(row))) == message


async def test_the_owner_of_a_flow_comes_with_it(store: SessionStore, database: LangflowDatabase) -> None:
    database.add_flow(OTHER, owner=None)
    insert(database, 1)
    insert(database, 1, flow_id=database.uuid(OTHER))
    await bring(store, database)
    assert await store.owner(FLOW) == ANN
    assert await store.owner(OTHER) is None
    assert await store.flows(owner=ANN) == [FLOW]


async def test_transactions_and_builds_come_too(store: SessionStore, database: LangflowDatabase) -> None:
    database.insert("transaction", [database.transaction(number) for number in range(3)])
    build = database.build()
    database.insert("vertex_build", [build])
    result = await bring(store, database)
    assert result.counts == {"transactions added": 3, "builds added": 1}
    assert [one.vertex_id for one in await store.transactions(FLOW)] == ["Chat-2", "Chat-1", "Chat-0"]
    newest = (await store.transactions(FLOW))[0]
    assert (newest.inputs, newest.outputs, newest.user_id) == ({"é": 1.5}, None, ANN)
    [stored] = await store.builds(FLOW)
    assert stored.build_id == str(UUID(build["build_id"]))
    assert stored.data == {"results": {"a": [1, None, 2.0]}}
    assert json.loads((await store.builds_json(FLOW))[0][1])["params"] == "p"
    assert await store.owner(FLOW) == ANN


async def test_run_twice_it_changes_nothing(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 20)
    insert(database, 5, flow_id=None)
    database.insert("transaction", [database.transaction(number) for number in range(3)])
    database.insert("vertex_build", [database.build(number) for number in range(3)])
    await bring(store, database)
    async with nothing_changes(store):
        again = await bring(store, database)
    assert again.counts == {
        "messages there already": 25,
        "transactions there already": 3,
        "builds there already": 3,
    }
    assert again.report.equal


async def test_messages_are_in_the_order_of_their_times(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = [database.message(number, text=str(number)) for number in (3, 1, 2, 0)]
    database.insert("message", rows)
    await bring(store, database)
    assert await texts(store) == ["0", "1", "2", "3"]


async def test_equal_times_come_over(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 700, timestamp=database.time(START), session_id="same")
    result = await bring(store, database)
    assert result.report.equal
    assert len(await texts(store, "same")) == 700


async def test_messages_of_no_flow_are_in_a_flow_of_their_own(
    store: SessionStore, database: LangflowDatabase
) -> None:
    insert(database, 2, flow_id=None)
    assert (await bring(store, database)).report.equal
    assert len(await texts(store, flow=NO_FLOW)) == 2
    assert await store.owner(NO_FLOW) is None


async def test_messages_of_no_session_are_in_that_of_the_flows_id(
    store: SessionStore, database: LangflowDatabase
) -> None:
    insert(database, 2, session_id="")
    assert (await bring(store, database)).report.equal
    assert len(await texts(store, FLOW)) == 2


REFUSED: list[Any] = [
    pytest.param({"timestamp": "1969-12-31 23:59:59.000000"}, "before 1970", id="before 1970"),
    pytest.param({"timestamp": "2240-01-01 00:00:00.000000"}, "ahead", id="far ahead"),
    pytest.param({"session_id": "x" * 2049}, "2,048 bytes", id="session id too long"),
]
REFUSED_BY_SQLITE = [
    pytest.param({"id": "not-a-uuid"}, "id is not a UUID", id="no UUID"),
    pytest.param({"timestamp": "yesterday"}, "timestamp is not a time", id="no time"),
    pytest.param({"text": b"\xff\xfe"}, "text is a BLOB", id="BLOB"),
    pytest.param({"files": "1e400"}, "files is no finite number", id="infinity"),
    pytest.param({"run_id": "zzz"}, "run_id is not a UUID", id="no run id"),
]


@pytest.mark.parametrize(("changes", "why"), REFUSED)
async def test_what_cannot_come_is_told_and_keeps_nothing_else_out(
    store: SessionStore, database: LangflowDatabase, changes: dict[str, Any], why: str
) -> None:
    insert(database, 3)
    database.insert("message", [database.message(1, **changes)])
    for _ in range(2):
        result = await bring(store, database)
        [finding] = result.findings
        assert finding.what == "refused"
        assert why in finding.detail
        assert len(await texts(store)) == 3


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("changes", "why"), REFUSED_BY_SQLITE)
async def test_what_only_sqlite_holds_is_told(
    store: SessionStore, database: LangflowDatabase, changes: dict[str, Any], why: str
) -> None:
    insert(database, 3)
    database.insert("message", [database.message(1, **changes)])
    result = await bring(store, database)
    assert [finding.detail for finding in result.findings] == [why]
    assert len(await texts(store)) == 3


@pytest.mark.databases("sqlite")
async def test_text_that_is_not_utf_8_is_told(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 3)
    database.execute("UPDATE message SET text = CAST(x'6162ff' AS TEXT) WHERE text LIKE 'Hello 1 %'")
    result = await bring(store, database)
    assert [finding.detail for finding in result.findings] == ["text is not a text"]
    assert len(await texts(store)) == 2


@pytest.mark.store_options(max_text_bytes=100)
async def test_a_text_over_the_limit_is_told(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 3)
    row = database.message(9, text="x" * 101)
    database.insert("message", [row])
    result = await bring(store, database)
    [finding] = result.findings
    assert finding.where == f"message {text_id(row)}"
    assert "max_text_bytes is 100" in finding.detail
    dry = await bring(store, database, dry_run=True)
    assert dry.whats == ["refused"]


async def test_a_second_pass_brings_what_came_and_what_changed(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = insert(database, 4)
    await bring(store, database)
    insert(database, 2, session_id="new")
    key = "id = " + (":id" if database.is_sqlite else "CAST(:id AS UUID)")
    database.execute(f"UPDATE message SET text = 'changed', context_id = NULL WHERE {key}", id=rows[0]["id"])
    database.execute(f"UPDATE message SET session_id = 'moved' WHERE {key}", id=rows[1]["id"])
    when = "'2026-01-02 03:00:00.000000'" if database.is_sqlite else "TIMESTAMPTZ '2026-01-02 03:00:00Z'"
    database.execute(f"UPDATE message SET timestamp = {when} WHERE {key}", id=rows[2]["id"])
    result = await bring(store, database)
    assert result.findings == []
    assert result.counts == {"messages added": 2, "messages changed": 3, "messages there already": 1}
    assert await texts(store) == [rows[2]["text"], "changed", rows[3]["text"]]
    assert await texts(store, "moved") == [rows[1]["text"]]
    changed = await store.get(text_id(rows[0]))
    assert changed is not None
    assert changed.context_id is None
    async with nothing_changes(store):
        await bring(store, database)


def give_time(database: LangflowDatabase, row: dict[str, Any], when: datetime) -> None:
    place, value = (":at", ":text") if database.is_sqlite else ("CAST(:at AS TIMESTAMPTZ)", ":text")
    database.execute(
        f"UPDATE message SET timestamp = {place} WHERE text = {value}",
        at=database.time(when),
        text=row["text"],
    )


async def test_a_row_with_another_time_moves_its_message_in_one_step(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = insert(database, 3)
    await bring(store, database)
    feed = store._parts.keys.flow(FLOW).feed
    [[[before, _]]] = await store._parts.transport.run(feed, ("XREVRANGE", feed, "+", "-", "COUNT", "1"))
    give_time(database, rows[0], START + timedelta(hours=1))
    await bring(store, database)
    [events] = await store._parts.transport.run(feed, ("XRANGE", feed, b"(" + before, "+"))
    [change] = [change for raw_id, flat in events for change in changes_of(FLOW, raw_id, flat)]
    assert isinstance(change, Change)
    assert (change.type, change.session, change.old_session) == ("updated", "chat", None)
    assert await texts(store) == [rows[1]["text"], rows[2]["text"], rows[0]["text"]]


async def test_a_row_that_gets_a_time_too_far_ahead_leaves_its_message_as_it_is(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = insert(database, 2)
    await bring(store, database)
    give_time(database, rows[0], START.replace(year=2240))
    result = await bring(store, database)
    assert result.whats == ["refused"]
    assert await texts(store) == [row["text"] for row in rows]


async def test_what_was_changed_in_the_store_stays_and_is_told(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = insert(database, 2)
    await bring(store, database)
    await store.update(text_id(rows[0]), MessageUpdate(text="mine"), flow_id=FLOW)
    for _ in range(2):
        result = await bring(store, database)
        assert result.whats == ["different"]
        assert result.counts == {"messages left as they are": 1, "messages there already": 1}
        assert [total.session_id for total in result.sessions] == ["chat"]
        assert await texts(store) == ["mine", rows[1]["text"]]
        database.execute("UPDATE message SET sender_name = 'both' WHERE text LIKE 'Hello 0%'")
    assert (await bring(store, database, overwrite=True)).report.equal
    assert await texts(store) == [row["text"] for row in rows]


async def test_what_is_gone_from_the_database_is_told_and_removed_on_request(
    store: SessionStore, database: LangflowDatabase
) -> None:
    rows = insert(database, 3)
    await bring(store, database)
    own = await store.append(FLOW, session_id="chat", text="since", sender="User", sender_name="Ann")
    database.execute("DELETE FROM message WHERE text LIKE 'Hello 1%'")
    result = await bring(store, database)
    [finding] = result.findings
    assert (finding.what, finding.where) == ("deleted", f"message {text_id(rows[1])}")
    assert len(await texts(store)) == 4
    result = await bring(store, database, delete=True)
    assert result.report.equal
    assert result.counts["messages deleted"] == 1
    assert await store.get(text_id(rows[1])) is None
    assert await store.get(own.id) == own


async def test_messages_made_in_the_store_are_no_difference(
    store: SessionStore, database: LangflowDatabase
) -> None:
    insert(database, 2)
    await bring(store, database)
    await store.append(FLOW, session_id="chat", text="since", sender="User", sender_name="Ann")
    result = await bring(store, database)
    assert result.report.equal
    assert result.counts["messages only in the store"] == 1


async def test_an_edit_after_the_import_keeps_the_rest_of_the_row(
    store: SessionStore, database: LangflowDatabase
) -> None:
    [row] = insert(database, 1, is_output=database.flag(True))
    await bring(store, database)
    edited = await store.update(text_id(row), MessageUpdate(text="mine"), flow_id=FLOW)
    assert edited.origin is not None
    assert edited.origin["is_output"] == row["is_output"]
    assert "origin" not in edited.model_dump()
    shown = json.loads((await store.history_json(FLOW, "chat"))[0])
    assert "origin" not in shown


async def test_flow_and_since_choose(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 3)
    database.insert("transaction", [database.transaction(number) for number in range(3)])
    insert(database, 3, flow_id=database.uuid(OTHER))
    since = START + timedelta(seconds=1)
    result = await bring(store, database, Scope(frozenset([FLOW]), since))
    assert result.counts == {"messages added": 2, "transactions added": 2}
    assert result.report.equal
    assert await store.flows() == [FLOW]
    assert (await bring(store, database)).counts["messages added"] == 4


async def test_a_dry_run_changes_nothing_and_tells_all(
    store: SessionStore, database: LangflowDatabase
) -> None:
    insert(database, 3)
    await bring(store, database)
    insert(database, 2, session_id="new")
    database.execute(
        "UPDATE message SET sender_name = 'Bob' WHERE text LIKE 'Hello 0%' AND session_id = 'chat'"
    )
    database.insert("message", [database.message(1, session_id="x" * 3_000)])
    async with nothing_changes(store):
        result = await bring(store, database, dry_run=True)
    assert result.counts == {"messages added": 2, "messages changed": 1, "messages there already": 2}
    assert result.whats == ["refused"]


async def test_a_flow_of_somebody_else_is_left_alone(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 2)
    await store.append(FLOW, session_id="chat", text="theirs", sender="User", sender_name="Bob", owner="bob")
    async with nothing_changes(store):
        result = await bring(store, database)
    [finding] = result.findings
    assert "belongs to bob" in finding.detail
    assert result.counts["messages refused"] == 2


async def test_a_flow_without_owner_gets_its_own(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 2)
    await bring(store, database)
    await store.set_owner(FLOW, None)
    await bring(store, database)
    assert await store.owner(FLOW) == ANN


@pytest.mark.store_options(max_transactions=4)
async def test_the_newest_transactions_come_and_push_no_newer_ones_out(
    store: SessionStore, database: LangflowDatabase
) -> None:
    database.insert("transaction", [database.transaction(number) for number in range(6)])
    result = await bring(store, database)
    assert result.report.equal
    assert [one.vertex_id for one in await store.transactions(FLOW)] == [f"Chat-{n}" for n in (5, 4, 3, 2)]
    later = [database.transaction(number, timestamp=database.time(START - timedelta(1))) for number in (7, 8)]
    database.insert("transaction", later)
    async with nothing_changes(store):
        assert (await bring(store, database)).report.equal


async def test_an_older_build_of_a_vertex_may_stay_behind(
    store: SessionStore, database: LangflowDatabase
) -> None:
    older = database.build(0, id="Chat", job_id=None)
    newer = database.build(5, id="Chat", job_id=None)
    database.insert("vertex_build", [older, newer])
    result = await bring(store, database)
    assert result.report.equal
    assert [one.build_id for one in await store.builds(FLOW)] == [str(UUID(newer["build_id"]))]
    assert result.counts["builds replaced by later ones"] == 1


async def test_builds_of_earlier_jobs_come_too(store: SessionStore, database: LangflowDatabase) -> None:
    older, newer = database.build(0, id="Chat"), database.build(5, id="Chat")
    database.insert("vertex_build", [older, newer])
    result = await bring(store, database)
    assert result.report.counts["builds equal"] == 2
    [build] = await store.job_builds(FLOW, str(UUID(older["job_id"])))
    assert build.build_id == str(UUID(older["build_id"]))


class StopError(Exception):
    """Stands for whatever ends an import in the middle."""


async def test_an_import_that_was_stopped_goes_on_where_it_was(
    store: SessionStore, database: LangflowDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_source, "_BATCH", 10)
    monkeypatch.setattr(sql_source, "_PAGE", 15)
    insert(database, 25)
    insert(database, 25, flow_id=database.uuid(OTHER))
    database.insert("transaction", [database.transaction(number) for number in range(12)])
    stop = Steps()

    def stop_late() -> None:
        if stop.done >= 50:
            raise StopError

    stop.at["step"] = stop_late
    with pytest.raises(StopError):
        await bring(store, database, steps=stop)
    rest = Steps()
    first: list[int] = []
    rest.at["reading"] = lambda: first.append(rest.done)
    read: list[int] = []
    rest.at["step"] = lambda: read.append(rest.done) if rest.parts == ["Importing"] else None
    result = await bring(store, database, steps=rest)
    assert result.counts["resumed"] == 1
    assert read[-1] < 30, "what was brought over is not read again"
    assert result.report.equal
    assert len(await texts(store)) == len(await texts(store, flow=OTHER)) == 25
    again = await bring(store, database)
    assert "resumed" not in again.counts
    assert again.counts["messages there already"] == 50


async def test_restart_begins_again(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 5)
    stop = Steps(reading=_stop)
    with pytest.raises(StopError):
        await bring(store, database, steps=stop)
    result = await bring(store, database, restart=True)
    assert result.counts == {"messages there already": 5}


def _stop() -> None:
    raise StopError


async def test_two_imports_at_once_bring_everything_once(
    make_store: MakeStore, database: LangflowDatabase
) -> None:
    insert(database, 400)
    database.insert("transaction", [database.transaction(number) for number in range(3)])
    one, other = await make_store(), await make_store()
    results = await asyncio.gather(bring(one, database), bring(other, database))
    assert [result.findings for result in results] == [[], []]
    assert sum(result.counts.get("messages added", 0) for result in results) == 400
    assert len(await texts(one)) == 400


async def test_while_langflow_writes_a_second_pass_brings_the_rest(
    store: SessionStore, database: LangflowDatabase
) -> None:
    insert(database, 100)
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            database.insert("message", [database.message(200 + number, session_id=f"live-{number % 3}")])
            database.execute(f"UPDATE message SET text = 'edited' WHERE text LIKE 'Hello {number} %'")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            await bring(store, database)
    finally:
        writer.join()
    result = await bring(store, database)
    assert result.findings == []
    assert result.report.counts["messages compared"] == 160
    stored = [text for name in ("chat", "live-0", "live-1", "live-2") for text in await texts(store, name)]
    assert sorted(stored) == sorted(row["text"] for row in database.rows("message"))


async def test_the_comparison_finds_what_was_lost_or_altered_meanwhile(
    store: SessionStore, database: LangflowDatabase, backend: Any
) -> None:
    insert(database, 2, session_id="lost")
    insert(database, 2, session_id="altered")
    insert(database, 2, session_id="fine")
    keys = store._parts.keys.flow(FLOW)

    def harm() -> None:
        backend.redis.delete(keys.log("lost"))
        [(place, fields), *_] = backend.redis.xrange(keys.log("altered"), count=1)
        body = fields[b"b"].replace(b"Hello", b"Hallo")
        backend.redis.hset(keys.edits("altered"), place, body)

    steps = Steps()
    steps.at["reading"] = lambda: harm() if len(steps.parts) == 2 else None
    result = await bring(store, database, steps=steps)
    assert result.whats == ["different", "missing", "missing"]
    totals = {total.session_id: total for total in result.sessions}
    assert sorted(totals) == ["altered", "lost"]
    assert (totals["lost"].outside_messages, totals["lost"].inside_messages) == (2, 0)
    assert totals["altered"].outside_digest != totals["altered"].inside_digest
    assert result.report.counts["sessions equal"] == 1


@pytest.mark.store_options(max_messages=10)
async def test_a_store_that_trims_is_refused(store: SessionStore, database: LangflowDatabase) -> None:
    with pytest.raises(ConfigurationError, match="max_messages"):
        await bring(store, database)


async def test_a_database_of_an_older_langflow_can_be_read(
    store: SessionStore, database: LangflowDatabase
) -> None:
    for column in ("run_id", "is_output", "user_id", "session_metadata", "context_id"):
        for index in ("run_id", "user_id", "session_metadata_tenant", "session_metadata_user"):
            database.execute(f"DROP INDEX IF EXISTS ix_message_{index}")
        database.execute(f"ALTER TABLE message DROP COLUMN {column}")
    database.execute('DROP TABLE "transaction"')
    row = database.message()
    kept = {column: value for column, value in row.items() if column in database.types("message")}
    database.insert("message", [kept])
    assert (await bring(store, database)).report.equal
    [message] = await store.history(FLOW, "chat")
    assert (message.user_id, message.context_id) == (None, None)


async def test_a_database_without_the_tables_is_told(make_database: Any) -> None:
    database = make_database()
    database.execute("DROP TABLE message")
    with pytest.raises(TransferError, match="no table 'message'"):
        await bring(None, database)  # type: ignore[arg-type]


@pytest.mark.databases("sqlite")
async def test_the_source_is_never_changed(store: SessionStore, database: LangflowDatabase) -> None:
    insert(database, 3)
    before = database.rows("message")
    await bring(store, database)
    assert database.rows("message") == before
    opened = Database(database.url)
    with pytest.raises(TransferError, match="readonly"), opened.connected() as connection:
        connection.execute(sa.text("DELETE FROM message"))


@pytest.mark.databases("sqlite")
async def test_memory_does_not_grow_with_the_table(store: SessionStore, database: LangflowDatabase) -> None:
    big = "x" * 60_000
    insert(database, 500, text=big)
    tracemalloc.start()
    try:
        assert (await bring(store, database)).report.equal
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 30 MB of texts; a batch is some 2 MiB, one is used while one is read, and each is there as row and body.
    assert peak < 26_000_000
