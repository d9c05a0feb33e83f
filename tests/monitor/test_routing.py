"""What answers at which path, and how failures look."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from redis_sessions.store import SessionStore
from tests.support import valkey_server

from .conftest import PATH

if TYPE_CHECKING:
    import httpx

    from .conftest import Connect


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", f"{PATH}/messages", "GET"),
        ("HEAD", f"{PATH}/messages/sessions", "GET"),
        ("POST", f"{PATH}/messages/sessions", "GET"),
        ("GET", f"{PATH}/messages/session/x", "PATCH"),
        ("POST", f"{PATH}/messages/45880ffa-9908-492c-8f58-777840c875a5", "PUT"),
        ("POST", "/health", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_first_right_one(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert answer.json() == {"detail": "Method Not Allowed"}


async def test_health_needs_no_credentials_and_no_store(connect: Connect) -> None:
    store = SessionStore.from_url("memory://")  # never opened
    client = await connect(store)

    answer = await client.get("/health", headers={"host": "probe.example"})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_store_that_is_away_is_503_and_says_that_nothing_was_changed(
    connect: Connect,
) -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url, deadline=timedelta(seconds=0.3)) as store:
            client = await connect(store)
            await store.append("f", text="x", sender="u", sender_name="u", session_id="s")
            server.kill()
            read = await client.get(f"{PATH}/messages/sessions")
            write = await client.delete(f"{PATH}/messages/session/s")

    for answer in (read, write):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "nothing was changed" in answer.json()["detail"]


def test_the_store_needs_no_web_framework() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None; import redis_sessions; "
        "assert 'redis_sessions.monitor' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
