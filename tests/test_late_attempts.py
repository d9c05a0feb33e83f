"""An attempt that its caller has given up may still be on its way: it must change nothing after its retry."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from redis_sessions.scripting import NAMES, source
from tests.support import Proxy, Server
from tests.support.talk import FLOW, dump, say, texts
from tests.test_retries import VERBS, Verb, begin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis_sessions import SessionStore
    from tests.conftest import Backend, MakeStore

pytestmark = pytest.mark.backends("valkey", "redis7")


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[Proxy]:
    assert isinstance(backend.server, Server)
    for name in NAMES:
        backend.server.client().script_load(source(name).text)
    async with Proxy(backend.server) as proxy:
        yield proxy


@pytest.fixture
async def far(make_store: MakeStore, proxy: Proxy) -> SessionStore:
    return await make_store(proxy.url, deadline=timedelta(seconds=20))


@pytest.mark.parametrize("verb", VERBS, ids=str)
async def test_an_attempt_that_arrives_after_its_retry_changes_nothing(
    make_store: MakeStore, backend: Backend, proxy: Proxy, far: SessionStore, verb: Verb
) -> None:
    near = await make_store()
    talk = await begin(near)
    sha = source(verb.script).sha
    lost = proxy.drop_request(lambda raw: sha in raw, after=verb.refusals)

    answer = await verb.call(far, talk)

    assert lost.hits == 1
    assert verb.answer(answer) == verb.expected
    attempts = [request for request in proxy.requests if sha in request.raw]
    state = await dump(near)
    reply = backend.server.client().execute_command(*attempts[verb.refusals].args)  # type: ignore[union-attr]
    assert reply[0] == b"LATE"
    assert await dump(near) == state


async def test_an_attempt_that_was_held_up_is_sent_again(
    proxy: Proxy, far: SessionStore, backend: Backend
) -> None:
    await say(far, "first", "chat")
    assert isinstance(backend.server, Server)
    with backend.server.client().pipeline(transaction=False) as pipe:
        pipe.execute_command("CLIENT", "PAUSE", 800, "ALL")
        pipe.execute()

    started = time.monotonic()
    await say(far, "second", "chat")

    assert time.monotonic() - started > 0.5
    assert await texts(far, "chat") == ["first", "second"]


async def test_a_server_whose_clock_jumps_is_written_to_all_the_same(far: SessionStore) -> None:
    await say(far, "first", "chat")
    arrivals = far._parts.scripts._arrivals
    for node, (offset, at) in list(arrivals._offsets.items()):
        arrivals._offsets[node] = (offset - 3_600_000_000, at)  # as if its clock had gone an hour ahead

    await say(far, "second", "chat")

    assert await texts(far, "chat") == ["first", "second"]
    assert len(await far.history(FLOW, "chat")) == 2
