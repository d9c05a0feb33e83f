"""Every recorded exchange of stock Langflow 1.13.0, replayed on a server with the plug-in: the same answers.

What the recording's runs did is done by running the same flow; the messages that were there before it are put
into Redis under their ids. Ids that a server makes, and times, differ; nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph

from redis_sessions import SessionStore
from redis_sessions.monitor.access import Principal, virtual_flow_id
from tests.monitor.golden import (
    FLOW,
    FOLDER,
    RUN_FLOW,
    USER,
    VIRTUAL_FLOW,
    Exchange,
    exchanges,
    seed_bulk,
    seed_messages,
    seed_shared,
)

from .twins import Twins

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.langflow import LangflowServer
    from tests.support.servers import Server

    Seed = Callable[[SessionStore], Awaitable[None]]

FILES = sorted(file.stem for file in FOLDER.glob("*.json"))
_RUN, _READ, _RUN_AGAIN, _SESSIONS, _REFUSED = exchanges("run_writes")
STORIES: dict[str, list[Exchange]] = {
    "messages": exchanges(
        "get_messages",
        "get_messages_errors",
        "get_sessions",
        "put_message",
        "put_message_errors",
        "patch_session",
        "delete_messages",
        "delete_session",
    ),
    "bulk": exchanges("delete_sessions_bulk"),
    "shared": exchanges("shared"),
    "routing": exchanges("routing", "job_queue"),
    "run": [_RUN, _READ, *exchanges("transactions", "builds"), _RUN_AGAIN, _SESSIONS, _REFUSED],
    "build": exchanges("build_events"),
}
CREDENTIALS: dict[tuple[str, int], dict[str, str]] = {  # the recording does not say what these were sent with
    ("get_messages_errors", 6): {},
    ("get_messages_errors", 7): {"Authorization": "Bearer nonsense"},
    ("get_messages_errors", 8): {"x-api-key": "wrong"},
}
HEADERS = ("content-type", "allow", "location", "vary")
_EVERY = [exchange for story in STORIES.values() for exchange in story]


@pytest.fixture(scope="module")
def answers(plugged: LangflowServer, valkey: Server) -> dict[str, tuple[httpx.Response, str]]:
    """By exchange: what the server answered, and what it should have."""
    whoami = plugged.http.get("/api/v1/users/whoami").raise_for_status().json()
    owner = str(UUID(whoami["id"]))
    shared = virtual_flow_id(Principal(owner), UUID(FLOW))
    seeds: dict[str, Seed] = {
        "messages": partial(seed_messages, owner=owner),
        "bulk": partial(seed_bulk, owner=owner),
        "shared": partial(seed_shared, flow=shared),
    }
    _make_flow(plugged, FLOW, {"nodes": [], "edges": []})
    heard = ChatInput(_id="ChatInput-conf1")
    said = ChatOutput(_id="ChatOutput-conf1").set(input_value=heard.message_response)
    _make_flow(plugged, RUN_FLOW, dict(Graph(heard, said).dump()["data"]))
    # These are the same then and now; whatever else changes was made by the servers.
    twins = Twins({USER: owner, VIRTUAL_FLOW: shared, FLOW: FLOW, RUN_FLOW: RUN_FLOW})
    found = {}
    for story, recorded in STORIES.items():
        if story in seeds:
            asyncio.run(_seed(valkey.url, seeds[story]))
        for exchange in recorded:
            answer = _send(plugged, exchange, twins.url)
            found[exchange.name] = answer, twins.expected(exchange.text, answer.text)
    return found


def _make_flow(server: LangflowServer, flow_id: str, data: dict[str, Any]) -> None:
    flow = {"name": f"recorded {flow_id}", "data": data}
    server.http.put(f"/api/v1/flows/{flow_id}", json=flow).raise_for_status()


async def _seed(url: str, seed: Seed) -> None:
    async with SessionStore.from_url(url) as store:
        await seed(store)


def _send(server: LangflowServer, exchange: Exchange, now: Callable[[str], str]) -> httpx.Response:
    key = {"x-api-key": server.http.headers["x-api-key"]}
    headers = CREDENTIALS.get((exchange.file, exchange.number), key)
    if exchange is _REFUSED:
        token = server.http.get("/api/v1/auto_login", headers=key).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
    options = {} if exchange.body is None else {"json": exchange.body}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        return client.request(exchange.method, now(exchange.url), headers=headers, **options)


def _ordered(text: str) -> str:
    """Langflow lists what is to be run in the order of a set, which changes from process to process."""
    return re.sub(r'(?<="to_run": )\[[^]]*\]', lambda found: str(sorted(json.loads(found[0]))), text)


def test_every_exchange_is_replayed() -> None:
    assert {exchange.file for exchange in _EVERY} == set(FILES)
    assert len(_EVERY) == len({exchange.name for exchange in _EVERY}) == len(exchanges(*FILES)) == 98


@pytest.mark.parametrize("exchange", _EVERY, ids=lambda exchange: exchange.name)
def test_an_exchange_is_answered_as_stock_langflow_answers_it(
    answers: dict[str, tuple[httpx.Response, str]], plugged: LangflowServer, exchange: Exchange
) -> None:
    answer, expected = answers[exchange.name]
    assert (answer.status_code, _ordered(answer.text)) == (exchange.status, _ordered(expected))
    for name in HEADERS:
        recorded = (exchange.headers.get(name) or "").replace("http://127.0.0.1:7861", plugged.url)
        assert (answer.headers.get(name) or "") == recorded, name
