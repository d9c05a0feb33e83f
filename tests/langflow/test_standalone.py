"""``lfx run`` without Langflow remembers: in this environment, with Langflow hidden from the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

from redis_sessions import SessionStore
from redis_sessions.langflow.standalone import SHARED_OWNER, flow_id_of
from tests.langflow import flows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Server

_HIDDEN = "import sys; sys.modules['langflow'] = None; from lfx.__main__ import main; main()"
FLOW = flow_id_of(["ChatInput-1", "Memory-1", "ChatOutput-1"])


def run(folder: Path, text: str, *, session: str, **env: str) -> dict[str, Any]:
    """``lfx run``; what it prints."""
    file = folder / "flow.json"
    file.write_text(json.dumps(flows.history()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANGFLOW_", "REDIS_"))}
    command = [
        sys.executable,
        "-c",
        _HIDDEN,
        "run",
        str(file),
        "--input-value",
        text,
        "--session-id",
        session,
    ]
    ended = subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return printed


async def test_a_second_run_knows_the_first(valkey: Server, tmp_path: Path) -> None:
    env = {"REDIS_SESSIONS_URL": valkey.url, "REDIS_SESSIONS_PREFIX": f"t{uuid.uuid4().hex[:12]}"}
    assert run(tmp_path, "<{sender}>", session="s", **env)["result"] == "<User>"
    assert run(tmp_path, "<{sender}>", session="s", **env)["result"] == "<User>\n<Machine>\n<User>"
    async with SessionStore.from_url(valkey.url, prefix=env["REDIS_SESSIONS_PREFIX"]) as store:
        kept = await store.history(FLOW, "s")
    assert [message.sender for message in kept] == ["User", "Machine", "User", "Machine"]
    assert {message.user_id for message in kept} == {str(SHARED_OWNER)}


def test_without_a_url_it_forgets_as_stock(tmp_path: Path) -> None:
    assert run(tmp_path, "<{sender}>", session="s")["result"] == ""
