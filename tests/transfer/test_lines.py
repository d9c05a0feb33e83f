"""JSON lines: out, in again, and whatever else a file may hold."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redis_sessions import SessionStore, Transaction, VertexBuild
from redis_sessions.errors import ConfigurationError
from redis_sessions.transfer import Scope, file
from redis_sessions.transfer.file import FileSource, FileTarget
from tests.support.talk import nothing_changes
from tests.transfer.conftest import Steps, bring, take
from tests.transfer.databases import FLOW, OTHER

if TYPE_CHECKING:
    from tests.conftest import MakeStore

pytestmark = pytest.mark.backends("valkey")

HEADER = {"type": "header", "format": "redis-sessions", "version": 1}
MESSAGE = {
    "type": "message",
    "id": "0d6c8d1e-44f6-4f0a-8a37-8a2d0b1a2c3d",
    "flow_id": FLOW,
    "session_id": "chat",
    "timestamp": "2026-01-02T03:04:05.678901Z",
    "sender": "User",
    "sender_name": "Ann",
    "text": "Hello",
}


def write(path: Path, *lines: Any) -> Path:
    """A file of objects, or of lines as they are."""
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    )
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def end(**counts: int) -> dict[str, Any]:
    return {"type": "end", "flows": 0, "messages": 0, "transactions": 0, "builds": 0} | counts


async def fill(store: SessionStore) -> None:
    for number in range(7):
        await store.append(
            FLOW, session_id=f"s{number % 2}", text=f"Hi {number} 😀", sender="User", sender_name="Ann",
            owner="ann", files=["a"], user_id="u", properties={"icon": "x", "mood": "good"}, duration=1.5,
        )  # fmt: skip
    await store.append(OTHER, text="x", sender="User", sender_name="Ann", id=uuid4())
    await store.put_build(VertexBuild(id="v", flow_id=FLOW, valid=True, data={"a": 1}))
    await store.add_transaction(Transaction(flow_id=FLOW, vertex_id="v", status="success", inputs={"a": 1}))


def content(path: Path) -> list[dict[str, Any]]:
    """The lines of a file but for when it was written."""
    return [{name: value for name, value in line.items() if name != "exported_at"} for line in read(path)]


async def test_a_store_comes_back_from_its_file(make_store: MakeStore, tmp_path: Path) -> None:
    store, other = await make_store(), await make_store(prefix=f"t{uuid4().hex}")
    await fill(store)
    taken = await take(store, tmp_path / "a.jsonl")
    assert taken.findings == []
    brought = await bring(other, tmp_path / "a.jsonl")
    assert brought.findings == []
    assert brought.counts == {"messages added": 8, "transactions added": 1, "builds added": 1}
    await take(other, tmp_path / "b.jsonl")
    assert content(tmp_path / "a.jsonl") == content(tmp_path / "b.jsonl")
    assert await other.owner(FLOW) == "ann"
    one, two = await store.history(FLOW, "s0"), await other.history(FLOW, "s0")
    assert [message.model_dump() for message in one] == [message.model_dump() for message in two]
    async with nothing_changes(other):
        assert (await bring(other, tmp_path / "a.jsonl")).report.equal


async def test_the_lines_are_those_of_the_documented_format(store: SessionStore, tmp_path: Path) -> None:
    await fill(store)
    await take(store, tmp_path / "a.jsonl")
    lines = read(tmp_path / "a.jsonl")
    kinds = [line["type"] for line in lines]
    assert kinds == ["header", "flow", *["message"] * 7, "transaction", "build", "flow", "message", "end"]
    assert (lines[0]["format"], lines[0]["version"]) == ("redis-sessions", 1)
    assert lines[1] == {"type": "flow", "id": FLOW, "owner": "ann"}
    assert lines[-1] == end(flows=2, messages=8, transactions=1, builds=1)
    sessions = [line["session_id"] for line in lines if line["type"] == "message"]
    assert sessions == [*sorted(sessions[:7], reverse=sessions[0] == "s1"), OTHER]


CORRUPT: dict[str, Any] = {
    "not JSON": (b'{"type":\n', "not JSON at character"),
    "not UTF-8": (b'{"type":"\xff"}\n', "not JSON"),
    "no object": (b"[1]\n", "not a JSON object"),
    "deep": (b"[" * 100_000 + b"\n", "nested too deeply"),
    "NaN": (b'{"type":"message","duration":NaN}\n', "not JSON"),
    "no type": ({"a": 1}, "no type"),
    "unknown type": ({"type": "song"}, "no type"),
    "unknown field": (MESSAGE | {"mood": 1}, "mood"),
    "missing field": ({name: value for name, value in MESSAGE.items() if name != "text"}, "text"),
    "no id": (MESSAGE | {"id": None}, "needs its id"),
    "bad id": (MESSAGE | {"id": "x"}, "UUID"),
    "no zone": (MESSAGE | {"timestamp": "2026-01-02T03:04:05"}, "time zone"),
    "before 1970": (MESSAGE | {"timestamp": "1960-01-02T03:04:05Z"}, "1970"),
    "bad flow": (MESSAGE | {"flow_id": "{x}"}, "braces"),
    "empty flow": (MESSAGE | {"flow_id": ""}, "1 to 128 bytes"),
    "long session": (MESSAGE | {"session_id": "x" * 3_000}, "2,048"),
    "bad properties": (MESSAGE | {"properties": {"state": "odd"}}, "state"),
    "a second header": (HEADER, "header in the middle"),
    "a bad flow line": ({"type": "flow", "owner": "x"}, "id"),
}


@pytest.mark.parametrize(("line", "why"), CORRUPT.values(), ids=CORRUPT.keys())
async def test_a_corrupt_line_is_told_by_its_number_and_keeps_no_other_out(
    store: SessionStore, tmp_path: Path, line: Any, why: str
) -> None:
    good = MESSAGE | {"id": str(uuid4())}
    path = write(tmp_path / "a.jsonl", HEADER, good, line, MESSAGE | {"id": str(uuid4())})
    result = await bring(store, path)
    [finding, last] = result.findings
    assert (finding.what, finding.where) == ("refused", "line 3")
    assert why in finding.detail
    assert last.what == "incomplete"
    assert len(await store.history(FLOW, "chat")) == 2


async def test_a_file_that_was_cut_off_is_told(store: SessionStore, tmp_path: Path) -> None:
    await fill(store)
    whole = tmp_path / "a.jsonl"
    await take(store, whole)
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(whole.read_bytes()[:-100])
    result = await bring(store, cut)
    assert "incomplete" in result.whats
    lines = read(whole)
    write(cut, *lines[:3], *lines[4:])
    result = await bring(store, cut)
    [finding] = result.findings
    assert finding.detail == "it has 7 messages, and should have 8"


async def test_a_line_twice_is_told(store: SessionStore, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", HEADER, MESSAGE, MESSAGE, end(messages=2))
    result = await bring(store, path)
    assert result.whats == ["refused"]
    assert len(await store.history(FLOW, "chat")) == 1


async def test_lines_behind_the_end_are_told(store: SessionStore, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", HEADER, end(), MESSAGE)
    result = await bring(store, path)
    assert [finding.where for finding in result.findings] == ["line 3"]


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (HEADER | {"version": 2}, "version 2 of the format"),
        (HEADER | {"format": "other"}, "not a file of redis-sessions"),
        (b"SQLite format 3\0", "sqlite:///"),
        (b"  \n", "is empty"),
    ],
    ids=["newer", "other", "SQLite", "empty"],
)
def test_another_file_is_refused_whole(tmp_path: Path, head: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        FileSource(write(tmp_path / "a.jsonl", head), Scope())


async def test_a_message_changed_in_the_store_stays(store: SessionStore, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", HEADER, MESSAGE, end(messages=1))
    await bring(store, path)
    write(path, HEADER, MESSAGE | {"text": "other"}, end(messages=1))
    result = await bring(store, path)
    assert result.whats == ["different"]
    assert (await bring(store, path, overwrite=True)).report.equal
    [message] = await store.history(FLOW, "chat")
    assert message.text == "other"


async def test_an_import_of_a_file_goes_on_where_it_was(
    store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_BATCH", 5)
    lines = [MESSAGE | {"id": str(uuid4()), "text": str(number)} for number in range(20)]
    head = [HEADER, {"type": "flow", "id": FLOW, "owner": "ann"}]
    path = write(tmp_path / "a.jsonl", *head, *lines[:8], b"broken\n", *lines[8:], end(flows=1, messages=20))

    def stop() -> None:
        if steps.done > 12:
            raise KeyError

    steps = Steps(step=stop)
    with pytest.raises(KeyError):
        await bring(store, path, steps=steps)
    result = await bring(store, path)
    assert result.counts["resumed"] == 1
    assert result.counts["messages added"] < 20
    assert [finding.where for finding in result.findings] == ["line 11"]
    assert len(await store.history(FLOW, "chat")) == 20
    assert await store.owner(FLOW) == "ann"


async def test_what_the_monitor_exports_can_be_imported(store: SessionStore, tmp_path: Path) -> None:
    await store.append(FLOW, session_id="chat", text="Hi", sender="User", sender_name="Ann", files=["a"])
    path = write(tmp_path / "a.jsonl", *[line + b"\n" async for line in store.export_json(FLOW, "chat")])
    [before] = await store.history(FLOW, "chat")
    await store.delete_flow(FLOW)
    assert (await bring(store, path)).report.equal
    [after] = await store.history(FLOW, "chat")
    assert after.model_dump() == before.model_dump()


async def test_an_export_that_fails_leaves_no_file(store: SessionStore, tmp_path: Path) -> None:
    await fill(store)

    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await take(store, tmp_path / "a.jsonl", steps=Steps(step=fail))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a Path would block as well


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"mine\n")
    with pytest.raises(ConfigurationError, match="exists already"):
        FileTarget(path)
    assert path.read_bytes() == b"mine\n"


def test_an_export_is_nobody_elses_business(tmp_path: Path) -> None:
    target = FileTarget(tmp_path / "a.jsonl")
    target.start()
    target.finish()
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o077 == 0


junk = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"") + b"\n")
values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
)
odd_messages = st.dictionaries(st.sampled_from([*MESSAGE, "properties", "files", "origin", "x"]), values).map(
    lambda changes: json.dumps(MESSAGE | {"id": str(uuid4())} | changes).encode() + b"\n"
)


@settings(max_examples=60)
@example(drawn=[json.dumps(MESSAGE | {"type": []}).encode() + b"\n"])
@given(drawn=st.lists(junk | odd_messages, max_size=8))
def test_any_file_is_read_line_by_line(drawn: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", HEADER, *drawn, end())
        batches = list(FileSource(path, Scope()).batches())
    assert sum(batch.size for batch in batches) <= len(drawn) + 2
    told = {finding.where for batch in batches for finding in batch.findings}
    brought = {item.where for batch in batches for item in batch.items}
    blank = {f"line {place}" for place, line in enumerate(drawn, start=2) if not line.strip()}
    other = {f"line {place}" for place, line in enumerate(drawn, start=2)} - blank
    assert brought.isdisjoint(told)
    assert brought | (told - {str(path)}) >= other
