"""What a caller is told when the store could not do it, or not as safely as it should."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Proxy, Server
from tests.support.talk import keys_of

from .conftest import PATH

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore

    from .conftest import Connect

pytestmark = pytest.mark.backends("valkey")
FLOW = str(uuid.uuid4())
QUICK = timedelta(seconds=0.5)


async def say(store: SessionStore) -> str:
    fields: dict[str, Any] = {"sender": "u", "sender_name": "u", "session_id": "s"}
    return (await store.append(FLOW, text="hello", **fields)).id


async def test_a_change_that_too_few_replicas_have_is_not_to_be_repeated(
    store: SessionStore, make_store: MakeStore, connect: Connect
) -> None:
    message = await say(store)
    client = await connect(await make_store(wait_replicas=1, deadline=QUICK))

    answer = await client.put(f"{PATH}/messages/{message}", json={"text": "changed"})

    assert answer.status_code == 503
    assert answer.json() == {
        "detail": "The change was made, but too few replicas have it so far; do not repeat it."
    }
    assert "retry-after" not in answer.headers
    assert (await store.history(FLOW, "s"))[0].text == "changed"


async def test_a_change_whose_outcome_is_not_known_is_told_as_such(
    store: SessionStore, make_store: MakeStore, connect: Connect, backend: Backend
) -> None:
    message = await say(store)
    assert isinstance(backend.server, Server)
    async with Proxy(backend.server) as proxy:
        client = await connect(await make_store(proxy.url, deadline=QUICK))
        proxy.drop_reply(b"EVALSHA", times=1_000)
        proxy.drop_reply(b"EVAL", times=1_000)

        answer = await client.put(f"{PATH}/messages/{message}", json={"text": "changed"})

    assert answer.status_code == 503
    assert answer.json() == {
        "detail": "The session store did not answer in time; the change may have been made."
    }
    assert answer.headers["retry-after"]


async def test_what_is_no_callers_fault_is_logged_and_not_told(
    store: SessionStore, connect: Connect, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    await say(store)
    raw = backend.raw(store)
    await raw.delete(keys_of(store, FLOW).sessions)
    await raw.set(keys_of(store, FLOW).sessions, "somebody else's")
    client = await connect(store)

    answer = await client.get(f"{PATH}/messages", params={"flow_id": FLOW})

    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal Server Error"})
    assert "request failed: error=WrongTypeError" in caplog.text
    assert "somebody else's" not in caplog.text
