"""Whatever a row of Langflow's tables holds, it is a record or unfit."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_sessions.body import decode, encode, splice
from redis_sessions.errors import InvalidInputError
from redis_sessions.transfer.errors import UnfitError
from redis_sessions.transfer.records import ImportedMessage
from redis_sessions.transfer.sql.messages import MessageRows
from redis_sessions.transfer.sql.rows import BuildRows, TransactionRows
from redis_sessions.transfer.sql.values import Column

if TYPE_CHECKING:
    from redis_sessions.transfer.sql.rows import Rows
    from redis_sessions.transfer.sql.values import Dialect

DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")
TABLES = [MessageRows, BuildRows, TransactionRows]

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["source", "usage", "id", "title", "contents", "type", "text", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)
raw_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=8),
    st.text(max_size=20),
    json_values.map(json.dumps),
    st.uuids().map(str),
    st.uuids().map(lambda uuid: uuid.hex),
    st.datetimes().map(str),
    st.sampled_from(
        ["\udcff", "NaN", "[" * 2_000, '"\\ud800"', "1e999", "0001-01-01 00:00:00+14:00", "9" * 5_000]
    ),
)


SOUND = {
    "uuid": "3144eabb7f7f4c97b9aa2e8c05db8e3e",
    "time": "2026-01-02 03:04:05.678901",
    "bool": True,
    "text": "x",
    "json": "{}",
    "float": 1.5,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.table)
@given(data=st.data())
def test_a_row_is_a_record_or_unfit(table: type[Rows], dialect: Dialect, data: st.DataObject) -> None:
    """A sound row, but for some columns."""
    known = {name: Column(name, kind, dialect) for name, kind in table.kinds.items()}
    rows = table([*known, "later"], known)
    row: dict[str, Any] = {name: SOUND[kind] for name, kind in table.kinds.items()} | {"later": None}
    row |= data.draw(st.dictionaries(st.sampled_from(rows.columns), raw_values, max_size=3))
    with contextlib.suppress(UnfitError):
        record = rows.read(row, rows.digest(row))
        rows.write(record)
        if isinstance(record, ImportedMessage):
            with contextlib.suppress(InvalidInputError):
                body = encode(record)
                [shown] = splice("f", "s", [(b"1-1", b"1", body, None)])
                assert shown is not None
                json.loads(shown)
                decode(body, flow_id="f", session_id="s", entry=(b"1-1", b"1", body, None))
