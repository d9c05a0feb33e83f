"""Answers are what ``/openapi.json`` promises, whatever is asked.

``SCHEMATHESIS_SECONDS=1200`` asks for longer than a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from redis_sessions import MessageExistsError, Transaction, VertexBuild
from redis_sessions.monitor import KeyAccess, Principal
from redis_sessions.monitor.access import virtual_flow_id

from .golden import KEY, KEYS, USER
from .test_live import served

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "60"))
FLOW = "3144eabb-7f7f-4c97-b9aa-2e8c05db8e3e"
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(2)]
"""As in the configuration."""
CONFIG = Path(__file__).with_name("schemathesis.toml")
ENDLESS = "/api/v1/monitor/messages/stream"


@pytest.mark.timeout(SECONDS + 240)
async def test_no_answer_is_other_than_the_description_says(
    valkey_store: SessionStore, tmp_path: Path
) -> None:
    virtual = virtual_flow_id(Principal(USER), UUID(FLOW))
    await valkey_store.put_build(VertexBuild(id="v", flow_id=FLOW, valid=True), owner=USER)
    await valkey_store.add_transaction(Transaction(vertex_id="v", status="success", flow_id=FLOW))
    async with served(valkey_store, KeyAccess(valkey_store, KEYS)) as url:
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{url}/openapi.json"),
            *("--header", f"x-api-key: {KEY}", "--exclude-path", ENDLESS),
            # Langflow 1.13: of several paths that fit, the first one answers 405, with its own method only.
            *("--exclude-checks", "unsupported_method,allow_header_conformance"),
            *("--max-time", str(SECONDS), "--max-examples", "100000", "--seed", "1"),
            *("--continue-on-failure", "--request-timeout", "30", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        ending = asyncio.create_task(run.communicate())
        number = 0
        while not ending.done():  # what is deleted comes back
            for flow in (FLOW, virtual):
                with contextlib.suppress(MessageExistsError):
                    await valkey_store.append(
                        flow,
                        text="hello",
                        sender="User",
                        sender_name="User",
                        session_id=f"s{number % 5}",
                        id=IDS[number % 2] if number % 3 == 0 else None,
                        owner=USER,
                    )
            number += 1
            await asyncio.wait({ending}, timeout=0.05)
        printed, _ = await ending

    assert run.returncode == 0, printed.decode()[-20_000:]
