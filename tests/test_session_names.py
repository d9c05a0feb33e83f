from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from redis_sessions import MessageUpdate
from tests.support.talk import FLOW, all_keys, dump, events_of, fields, say, texts

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.conftest import Backend

NAMES = {
    "braces": "{x}",
    "a closing brace": "x}",
    "an empty tag": "{}",
    "colons": "a:b::c",
    "slashes": "a/../b\\c",
    "newlines": "a\nb\r\n",
    "emoji": "👩‍👩‍👧 🇩🇪",
    "wildcards": "*",
    "more wildcards": "u?er[1-9]^",
    "key-like text": "x}:log:y",
    "another key": "x}:edits:y",
    "the name of a map": "ids",
    "a record": "1|2|3",
    "a list": "1,2,3",
    "spaces": "  ",
    "quotes": "'\"`",
    "lua": "%d %s %1",
    "a number": "17592186044416",
    "a long name": "é" * 1_024,
    "right to left": "שלום",
}
names = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def neighbours(name: str) -> list[str]:
    """Names that this one could be taken for."""
    return sorted({"*", "x", "{x}:log:y", "a", f"{name[:1000]}0", name[:-1]} - {name, ""})


async def surround(store: SessionStore, name: str) -> dict[str, list[str]]:
    """A message in every session that this name could be taken for."""
    for other in neighbours(name):
        await say(store, f"of {other}", other)
    return await all_but(store, name)


async def all_but(store: SessionStore, name: str, *more: str) -> dict[str, list[str]]:
    return {
        session: await texts(store, session)
        for session in sorted(await store.sessions(FLOW))
        if session not in (name, *more)
    }


@names
async def test_a_session_of_any_name_holds_messages(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    stored = [await say(store, str(number), name) for number in range(3)]

    assert await store.history(FLOW, name) == stored
    assert await store.history(FLOW, name, before=stored[2], limit=1) == [stored[1]]
    assert await store.get_many([message.id for message in stored]) == stored
    assert name in await store.sessions(FLOW)
    assert {message.session_id for message in await store.recent(FLOW, limit=3)} == {name}
    assert await all_but(store, name) == others


@names
async def test_messages_of_a_session_of_any_name_are_changed(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    message = await say(store, "old", name, id=uuid4())
    await store.update(message.id, MessageUpdate(text="new"))

    assert await texts(store, name) == ["new"]
    assert await all_but(store, name) == others


@names
async def test_messages_of_a_session_of_any_name_are_deleted(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    messages = [await say(store, session=name), await say(store, "kept", name)]

    assert await store.delete_messages([messages[0].id]) == [messages[0].id]
    assert await texts(store, name) == ["kept"]
    assert await all_but(store, name) == others


@names
async def test_a_session_of_any_name_is_deleted_alone(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    await say(store, session=name)

    assert await store.delete_session(FLOW, name) == 1
    assert await store.history(FLOW, name) == []
    assert await all_but(store, name) == others
    assert len(await store.sessions(FLOW)) == len(others)


@names
async def test_a_session_is_renamed_to_any_name_and_back(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    message = await say(store, session="before")
    await store.rename_session(FLOW, "before", name)

    assert fields(await store.get(message.id)) == fields(message, session_id=name)
    assert await all_but(store, name) == others
    await store.rename_session(FLOW, name, "before")
    assert await store.history(FLOW, "before") == [message]
    assert await all_but(store, "before") == others


@names
async def test_a_session_is_merged_into_one_of_any_name(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    await say(store, "1", name)
    await say(store, "2", "more")

    assert (await store.rename_session(FLOW, "more", name)).outcome == "merged"
    assert await texts(store, name) == ["1", "2"]
    assert await all_but(store, name) == others


@names
async def test_a_message_moves_to_a_session_of_any_name_and_away(store: SessionStore, name: str) -> None:
    others = await surround(store, name)
    message = await say(store)
    moved = await store.update(message.id, MessageUpdate(session_id=name))

    assert await store.history(FLOW, name) == [moved]
    assert await all_but(store, name) == others
    await store.update(message.id, MessageUpdate(session_id="chat"))
    assert await texts(store, "chat") == ["hello"]
    assert await all_but(store, "chat") == others


@names
async def test_a_session_of_any_name_is_watched(store: SessionStore, name: str) -> None:
    await surround(store, name)
    message = await say(store, session=name)
    [event] = await events_of(store, 1, session_id=name)

    assert (event.session_id, event.message) == (name, message)


@names
async def test_a_flow_with_a_session_of_any_name_is_deleted(store: SessionStore, name: str) -> None:
    await say(store, session=name)
    await store.delete_flow(FLOW)

    assert await dump(store) == {}


@pytest.mark.parametrize(
    "flow", ["a:b", "a/b", "*", "é👋", "a\nb", "flows", "owner:ann", " ", "x" * 128, "log:chat"]
)
async def test_a_flow_of_any_name_keeps_to_itself(store: SessionStore, backend: Backend, flow: str) -> None:
    await say(store, "other", flow="flow")
    message = await say(store, flow=flow, owner="flows", id=uuid4())
    await store.update(message.id, MessageUpdate(text="new"))

    assert await texts(store, flow=flow) == ["new"]
    assert await store.flows() == sorted(["flow", flow])
    assert await store.flows(owner="flows") == [flow]
    await store.delete_flow(flow)
    assert await store.flows() == ["flow"]
    assert not [key for key in await all_keys(store) if f"{{{flow}}}".encode() in key]
    assert await texts(store) == ["other"]


@pytest.mark.parametrize("owner", ["a:b", "*", "flows", "{x}", "é👋", "a\nb"])
async def test_an_owner_of_any_name_has_his_flows(store: SessionStore, owner: str) -> None:
    await say(store, owner=owner)
    await say(store, flow="other", owner=owner + "2")

    assert await store.owner(FLOW) == owner
    assert await store.flows(owner=owner) == [FLOW]
