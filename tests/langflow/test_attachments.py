"""An attachment is stored under the name that Langflow's own table gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langflow.services.database.models.message.model import MessageTable
from lfx.schema.image import Image
from lfx.schema.message import Message
from lfx.utils import file_path_security

from redis_sessions.langflow import convert

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOW = "8d2f6c1e-4b7a-4e55-9c03-5a1f0e7b2d94"


def said(path: str) -> Message:
    files: Sequence[Image] = [Image(path=path, url="")]
    return Message(text="look", sender="User", sender_name="Ann", session_id=FLOW, files=files)


def stored(path: str) -> list[str]:
    _, new = convert.to_new(said(path), flow_id=FLOW, run_id=None, user_id=None)
    return new.files


@pytest.mark.parametrize(
    "path", [f"/data/{FLOW}/cat.png", f"{FLOW}/cat.png", f"/data/flow-{FLOW}/cat.png", "/elsewhere/cat.png"]
)
def test_it_is_that_of_this_langflow(path: str) -> None:
    assert stored(path) == MessageTable.from_message(said(path), flow_id=FLOW).files


def test_a_langflow_that_has_a_folder_for_flows_finds_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Langflow 1.13.1 and later."""
    monkeypatch.setattr(file_path_security, "flow_storage_scope", lambda of: f"flow-{of}", raising=False)
    assert stored(f"/data/flow-{FLOW}/cat.png") == [f"flow-{FLOW}/cat.png"]
    assert stored(f"/data/{FLOW}/cat.png") == [f"{FLOW}/cat.png"]
