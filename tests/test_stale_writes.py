"""What happens between a write's look at a session and its script: the script notices, the write looks again.

The proxy holds what the write has read; meanwhile the session goes, or another one takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import MessageUpdate, SessionNotFoundError
from redis_sessions.ids import EntryId
from redis_sessions.scripting import StaleError
from tests.support.talk import FLOW, keys_of, say, texts
from tests.test_torn_reads import interrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_sessions import SessionStore
    from redis_sessions.scripts import Scripts
    from tests.support import Proxy

pytestmark = pytest.mark.backends("valkey")


async def begin_anew(store: SessionStore) -> None:
    await store.delete_session(FLOW, "chat")
    await say(store, "new")


async def test_a_session_that_goes_while_it_is_deleted_was_not_there(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near)
    await say(near, "kept", "other")

    deleted = await interrupted(
        proxy, far.delete_session(FLOW, "chat"), b"HGET", lambda: near.delete_session(FLOW, "chat")
    )

    assert deleted == 0
    assert await near.sessions(FLOW) == ["other"]


async def test_a_session_that_is_begun_anew_while_it_is_deleted_goes_too(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near)
    await say(near)

    deleted = await interrupted(proxy, far.delete_session(FLOW, "chat"), b"HGET", lambda: begin_anew(near))

    assert deleted == 1
    assert await near.sessions(FLOW) == []


async def test_a_session_that_goes_while_it_is_renamed_is_not_found(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near)
    await say(near, "kept", "other")

    with pytest.raises(SessionNotFoundError):
        await interrupted(
            proxy, far.rename_session(FLOW, "chat", "new"), b"HGET", lambda: near.delete_session(FLOW, "chat")
        )

    assert await near.sessions(FLOW) == ["other"]


async def test_a_session_that_is_begun_anew_while_it_is_renamed_gets_the_name(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near, "old")

    result = await interrupted(
        proxy, far.rename_session(FLOW, "chat", "renamed"), b"HGET", lambda: begin_anew(near)
    )

    assert (result.outcome, result.messages) == ("renamed", 1)
    assert await texts(near, "renamed") == ["new"]


async def test_a_message_that_goes_while_it_is_deleted_is_not_among_the_deleted(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    message = await say(near)
    await say(near, "kept")

    deleted = await interrupted(
        proxy,
        far.delete_messages([message.id], flow_id=FLOW),
        b"XRANGE",
        lambda: near.delete_messages([message.id], flow_id=FLOW),
    )

    assert deleted == []


async def test_of_two_new_owners_the_one_who_came_later_has_the_flow(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near, owner="ann")

    await interrupted(proxy, far.set_owner(FLOW, "ben"), b"HGET", lambda: near.set_owner(FLOW, "cleo"))

    assert await near.owner(FLOW) == "ben"
    assert [await near.flows(owner=name) for name in ("ann", "ben", "cleo")] == [[], [FLOW], []]


async def test_a_flow_that_gets_a_session_while_it_is_deleted_is_deleted_with_it(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near)

    deleted = await interrupted(
        proxy, far.delete_flow(FLOW), b"ZREVRANGE", lambda: say(near, session="other")
    )

    assert deleted == 2
    assert await near.flows() == []


async def test_a_rename_to_its_own_name_of_a_session_that_goes_is_not_found(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    await say(near)
    await say(near, "kept", "other")
    renaming = far.rename_session(FLOW, "chat", "chat")

    with pytest.raises(SessionNotFoundError):
        await interrupted(proxy, renaming, b"HGET", lambda: near.delete_session(FLOW, "chat"))


async def test_a_message_that_moves_while_it_is_deleted_is_deleted_where_it_is_then(
    near: SessionStore, far: SessionStore, proxy: Proxy
) -> None:
    message = await say(near, "goes")
    await say(near, "stays")

    deleted = await interrupted(
        proxy,
        far.delete_messages([message.id], flow_id=FLOW),
        b"XRANGE",
        lambda: near.update(message.id, MessageUpdate(session_id="other"), flow_id=FLOW),
    )

    assert deleted == [str(message.id)]
    assert (await texts(near), await texts(near, "other")) == (["stays"], [])


ENTRY = EntryId(1, 2)
REFUSED: dict[str, Callable[[Scripts, Any, Any], Awaitable[object]]] = {
    "append": lambda scripts, keys, attempt: scripts.append(
        keys,
        "chat",
        [(1, b"", b"x")],
        owner="",
        registered=False,
        numbers=(),
        candidates=(2,),
        attempt=attempt,
    ),
    "update": lambda scripts, keys, attempt: scripts.update(
        keys, "chat", ENTRY, expected=b"x", body=b"y", attempt=attempt
    ),
    "move_message": lambda scripts, keys, attempt: scripts.move_message(
        keys,
        "chat",
        "other",
        ENTRY,
        expected=b"x",
        body=b"y",
        message_id=bytes(16),
        timestamp_us=1,
        new_number=3,
        born=True,
        attempt=attempt,
    ),
    "delete_messages": lambda scripts, keys, attempt: scripts.delete_messages(
        keys, "chat", [(ENTRY, None)], attempt=attempt
    ),
    "delete_session": lambda scripts, keys, attempt: scripts.delete_session(
        keys, "chat", [2], attempt=attempt
    ),
    "rename_session": lambda scripts, keys, attempt: scripts.rename_session(
        keys, "chat", "other", 2, attempt=attempt
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_of_a_write_that_is_refused_no_attempt_has_happened(near: SessionStore, name: str) -> None:
    attempt = near._parts.calls.begin()
    attempt.may_have_happened()

    with pytest.raises(StaleError):
        await REFUSED[name](near._parts.scripts, keys_of(near), attempt)

    assert not attempt.unknown
