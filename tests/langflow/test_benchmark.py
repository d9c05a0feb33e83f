"""The benchmark of ``POST /run`` measures what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.langflow_run import Side, into

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer
    from tests.support.servers import Server


@pytest.fixture(params=["plugged", "stock"])
def side(request: pytest.FixtureRequest, valkey: Server) -> Side:
    server: LangflowServer = request.getfixturevalue(request.param)
    made = Side(request.param, server, valkey.url if request.param == "plugged" else None)
    made.prepare([50])
    return made


def test_its_runs_read_a_history_that_was_there_and_answers_do_not_grow(side: Side) -> None:
    side.measure(50, clients=2, seconds=1)
    assert side.cells[50, 2].times
    assert side.cells[50, 2].failed == 0
    stored = side.server.messages(flow_id=side.flow, session_id="history-50-0")
    assert len(stored) == 52
    assert max(len(message["text"]) for message in stored) < 1_000


def test_a_run_without_a_history_is_failed(side: Side) -> None:
    assert side.run(100) is None


def test_a_document_gets_the_new_table_between_its_marks() -> None:
    marks = "<!-- run table -->\n{}<!-- end of run table -->\n\nand more\n"
    assert into(marks.format("| old |\n"), "| new |\n") == marks.format("| new |\n")
    assert into(marks.format(""), "| new |\n") == marks.format("| new |\n")
    with pytest.raises(ValueError, match="run table"):
        into("none", "| new |\n")
