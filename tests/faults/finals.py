"""What is stored at last, read for the checker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redis_sessions.keys import Keys
from tests.faults.checker import Final
from tests.faults.load import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis_sessions import SessionStore


async def read_finals(store: SessionStore, flows: Iterable[str]) -> dict[str, Final]:
    """Of each flow the feed, every session whole, and the keys. Nothing writes meanwhile."""
    return {flow: await _read_final(store, flow) for flow in flows}


async def _read_final(store: SessionStore, flow: str) -> Final:
    keys = Keys(store.settings.prefix).flow(flow)
    parts = store._parts
    feed = await parts.transport.run(keys.feed, ("XRANGE", keys.feed, "-", "+"))
    events = [(event, dict(zip(fields[::2], fields[1::2], strict=True))) for event, fields in feed[0]]
    histories = {}
    for session in await store.sessions(flow):
        messages = [message async for message in _all(store, flow, session)]
        histories[session] = [shown(message) for message in messages[::-1]]
    log, edits = keys.log(""), keys.edits("")
    pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", keys.log("")[: -len(b"log:")]) + b"*"
    [names] = await parts.transport.run(keys.feed, ("KEYS", pattern))
    return Final(
        events,
        histories,
        frozenset(name[len(log) :].decode() for name in names if name.startswith(log)),
        frozenset(name[len(edits) :].decode() for name in names if name.startswith(edits)),
    )


async def _all(store: SessionStore, flow: str, session: str):  # type: ignore[no-untyped-def]
    """All messages of a session, newest first."""
    before = None
    while page := await store.history(flow, session, limit=500, before=before):
        for message in reversed(page):
            yield message
        before = page[0]
