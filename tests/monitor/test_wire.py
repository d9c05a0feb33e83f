"""Long answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redis_sessions import NewMessage

from .conftest import PATH

if TYPE_CHECKING:
    import httpx

    from redis_sessions.store import SessionStore


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_long_answer_is_the_same_in_pieces(
    memory_store: SessionStore, client: httpx.AsyncClient, encoding: str
) -> None:
    batch = [
        NewMessage(text=f"{number} {'x' * 300}", sender="u", sender_name="u", session_id="old")
        for number in range(900)
    ]
    for first in range(0, len(batch), 300):
        await memory_store.append_many("f", batch[first : first + 300])

    answer = await client.patch(
        f"{PATH}/messages/session/old",
        params={"new_session_id": "new"},
        headers={"accept-encoding": encoding},
    )

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert "content-length" not in answer.headers
    assert [message["text"].split()[0] for message in answer.json()] == [str(number) for number in range(900)]
