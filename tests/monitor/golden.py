"""Exchanges recorded from stock Langflow 1.13.0, and a store with the data that it had then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis_sessions.models import Transaction, VertexBuild
from redis_sessions.monitor import hash_key
from tests.support.secrets import remember

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore

FOLDER = Path(__file__).parent / "golden"
USER = "7b285795-b5f3-4b9f-84a9-4b0058ead118"
FLOW = "3144eabb-7f7f-4c97-b9aa-2e8c05db8e3e"
RUN_FLOW = "660e170d-089c-4d00-9321-acd569fc32b7"
VIRTUAL_FLOW = "3e744fa7-d88e-5280-9e2d-b24a823cca99"
PREFIX = "gold-84676ce8-"

KEY = "rs-the-key-of-the-recording"
KEYS = {hash_key(KEY): USER}
remember(KEY)


@dataclass(frozen=True)
class Exchange:
    """A request and what Langflow answered."""

    file: str
    number: int
    method: str
    url: str
    body: Any
    status: int
    headers: dict[str, str]
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}-{self.number}-{self.method}"

    @property
    def reads(self) -> bool:
        return self.method in ("GET", "HEAD")


def exchanges(*files: str) -> list[Exchange]:
    found = []
    for file in files:
        recorded = json.loads((FOLDER / f"{file}.json").read_text())["exchanges"]
        for number, item in enumerate(recorded):
            request = item["request"]
            found.append(
                Exchange(
                    file,
                    number,
                    request["method"],
                    request["url"],
                    request["body"],
                    item["status"],
                    item["headers"],
                    item["body_text"],
                )
            )
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00")


async def seed_messages(store: SessionStore, *, owner: str = USER) -> None:
    """The messages that the recording began with, under their ids."""
    plain = {"sender": "User", "sender_name": "User", "owner": owner}
    await store.append(
        FLOW,
        id="45880ffa-9908-492c-8f58-777840c875a5",
        timestamp=at("2026-03-01 00:00:00 UTC"),
        session_id=f"{PREFIX}one",
        text="plain defaults",
        **plain,
    )
    await store.append(
        FLOW,
        id="ce1fa08f-97ef-4b84-ab9e-786175ea58ac",
        timestamp=at("2026-03-01 00:00:01.250 UTC"),
        session_id=f"{PREFIX}one",
        text="full",
        sender="Machine",
        sender_name="AI",
        owner=owner,
        user_id=owner,
        run_id="add643f0-f40a-4086-8d8a-9f6a78708cff",
        context_id="ctx",
        files=[f"{FLOW}/a.png"],
        error=True,
        edit=True,
        properties={
            "source": {"id": "A", "display_name": "Agent", "source": "gpt"},
            "icon": "Bot",
            "usage": {"input_tokens": 1},
        },
        category="error",
        content_blocks=[
            {"type": "group", "id": "g", "title": "Agent Steps", "contents": [], "allow_markdown": True},
            {"type": "text", "id": "t", "text": "answer"},
        ],
        session_metadata={"k": [1, None]},
    )
    for id, second, session, text in (
        ("2a18a48a-3fde-4bc1-a8fa-c4af1808440a", 2, "two", "2"),
        ("48225b70-9e62-4fd7-98dd-0a8e32931f16", 3, "three", "3"),
    ):
        await store.append(
            FLOW,
            id=id,
            timestamp=at(f"2026-03-01 00:00:0{second} UTC"),
            session_id=PREFIX + session,
            text=text,
            **plain,
        )


async def seed_bulk(store: SessionStore, *, owner: str = USER) -> None:
    for session in ("p", "q", "r"):
        await store.append(
            FLOW, session_id=PREFIX + session, text="x", sender="User", sender_name="User", owner=owner
        )


async def seed_shared(store: SessionStore, *, flow: str = VIRTUAL_FLOW) -> None:
    await store.append(
        flow,
        id="0018c7e2-454a-46af-8d05-41f69ff58997",
        timestamp=at("2026-01-02 03:04:05.678901 UTC"),
        session_id=f"{PREFIX}sh",
        text="hi",
        sender="User",
        sender_name="User",
    )


def recorded_body(file: str, number: int = 0) -> Any:
    return json.loads(exchanges(file)[number].text)


async def seed_builds(store: SessionStore) -> None:
    for builds in recorded_body("builds")["vertex_builds"].values():
        for build in builds:
            await store.put_build(VertexBuild.model_validate(build), owner=USER)


async def seed_transactions(store: SessionStore) -> None:
    for item in reversed(recorded_body("transactions")["items"]):
        transaction = Transaction.model_validate({**item, "flow_id": RUN_FLOW, "error": None})
        await store.add_transaction(transaction, owner=USER)


async def seed_run(store: SessionStore) -> None:
    """What the runs in ``run_writes`` stored, as far as its reads show it."""
    for message in recorded_body("run_writes", 1):
        fields = {name: value for name, value in message.items() if name not in ("flow_id", "files")}
        await store.append(
            RUN_FLOW,
            **fields | {"timestamp": at(message["timestamp"]), "files": json.loads(message["files"])},
            owner=USER,
        )
