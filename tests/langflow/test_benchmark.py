"""The benchmark of ``POST /run`` measures what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.langflow_run import Side

if TYPE_CHECKING:
    from tests.support.langflow import LangflowServer
    from tests.support.servers import Server


@pytest.fixture(params=["plugged", "stock"])
def side(request: pytest.FixtureRequest, valkey: Server) -> Side:
    server: LangflowServer = request.getfixturevalue(request.param)
    made = Side(request.param, server, valkey.url if request.param == "plugged" else None)
    made.prepare([2_500])
    return made


def test_its_runs_read_a_history_that_was_there_and_answers_do_not_grow(side: Side) -> None:
    side.measure(2_500, clients=2, seconds=1)
    assert side.cells[2_500, 2].times
    assert side.cells[2_500, 2].failed == 0
    stored = [side.server.messages(flow_id=side.flow, session_id=f"history-2500-{n}") for n in range(2)]
    runs = len(side.cells[2_500, 2].times)
    assert [len(messages) for messages in stored] == [2_500 + runs + runs % 2, 2_500 + runs - runs % 2]
    assert max(len(message["text"]) for message in stored[0]) < 1_000


def test_a_run_without_a_history_is_counted_as_failed(side: Side) -> None:
    side.measure(5_000, clients=1, seconds=0.01)
    assert (side.cells[5_000, 1].times, side.cells[5_000, 1].failed) == ([], 1)
