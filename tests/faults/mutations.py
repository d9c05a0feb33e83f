"""The store broken, each time in one way that a checker worth its name notices.

Each is a function that does it with a ``pytest.MonkeyPatch``. Scripts are broken in their text: a server
knows a script by its hash, so that no other test gets one.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from redis_sessions import scripting
from redis_sessions.keys import FlowKeys
from redis_sessions.reader import Reader
from redis_sessions.reading import Reading
from redis_sessions.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def _edit_script(patch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    whole = scripting.source

    def edited(asked: str) -> scripting.Source:
        code = whole(asked)
        if asked != name:
            return code
        text = code.text.replace(old.encode(), new.encode())
        assert text != code.text, f"{name}.lua has no {old!r}"
        return scripting.Source(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())

    patch.setattr(scripting, "source", edited)


def a_retry_stores_again(patch: pytest.MonkeyPatch) -> None:
    """No attempt finds what an earlier one did: an append whose answer was lost is stored twice."""
    _edit_script(patch, "append", "found.t == token", "false")


def a_write_is_acknowledged_and_not_sent(patch: pytest.MonkeyPatch) -> None:
    whole, turns = Scripts.append, itertools.count(1)

    async def append(self: Scripts, *arguments: Any, **options: Any) -> list[bytes]:
        entries = await whole(self, *arguments, **options) if next(turns) % 20 else []
        return entries or [b"%d-1" % message[0] for message in arguments[2]]

    patch.setattr(Scripts, "append", append)


def an_update_overwrites_what_it_has_not_read(patch: pytest.MonkeyPatch) -> None:
    """No compare-and-set: of two concurrent updates of different fields, one is lost."""
    _edit_script(patch, "update", "if current ~= ARGV[5] then", "if false then")


def a_read_shows_what_was_before_an_update(patch: pytest.MonkeyPatch) -> None:
    async def with_edits(self: Reader, keys: Any, edits: bytes, name: bytes, page: Any, *_: Any) -> Any:
        return page

    patch.setattr(Reader, "_with_edits", with_edits)


def a_rename_leaves_changes_behind(patch: pytest.MonkeyPatch) -> None:
    _edit_script(
        patch, "rename_session", "redis.call('RENAME', edits, new_edits)", "redis.call('UNLINK', edits)"
    )


def a_merge_loses_messages(patch: pytest.MonkeyPatch) -> None:
    _edit_script(
        patch,
        "rename_session",
        "sources[take].at + 1",
        "sources[take].at + (sources[take].at == 2 and 2 or 1)",
    )


def a_deleted_message_is_still_there(patch: pytest.MonkeyPatch) -> None:
    _edit_script(
        patch,
        "delete_messages",
        "redis.call('XDEL', log, ARGV[i]) == 1",
        "redis.call('XRANGE', log, ARGV[i], ARGV[i])[1]",
    )


def a_deleted_session_keeps_its_messages(patch: pytest.MonkeyPatch) -> None:
    """The name goes and the stream stays, for the next session of that name."""
    _edit_script(patch, "delete_session", "redis.call('UNLINK', keys.log, keys.edits)", "")


def messages_are_in_the_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    whole = Reader._newest

    async def newest(self: Reader, *arguments: Any) -> Any:
        window = await whole(self, *arguments)
        return window._replace(entries=sorted(window.entries, key=lambda entry: entry.place, reverse=True))

    patch.setattr(Reader, "_newest", newest)


def two_sessions_share_a_stream(patch: pytest.MonkeyPatch) -> None:
    whole = FlowKeys.log
    patch.setattr(FlowKeys, "log", lambda self, session: whole(self, session.replace("Bob", "Ann")))


def a_write_leaves_no_event(patch: pytest.MonkeyPatch) -> None:
    _edit_script(
        patch,
        "append",
        "publish(feed, events",
        "if now_us % 20 ~= 0 then return { 'APPENDED', answer } end publish(feed, events",
    )


def a_read_is_of_another_moment(patch: pytest.MonkeyPatch) -> None:
    """An answer is kept and given again: a cache that nobody clears."""
    whole, kept, turns = Reading.history, dict[Any, Any](), itertools.count(1)

    async def history(
        self: Reading, flow: Any, session: Any = None, *, limit: int = 100, **options: Any
    ) -> Any:
        key = (flow, session, limit)
        if next(turns) % 3 or key not in kept:
            kept[key] = await whole(self, flow, session, limit=limit, **options)
        return kept[key]

    patch.setattr(Reading, "history", history)


CONTENT = r"never was|the feed says"
MUTATIONS: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    a_retry_stores_again: r"carried out \d+ times",
    a_write_is_acknowledged_and_not_sent: r"acknowledged, and not in the feed",
    an_update_overwrites_what_it_has_not_read: CONTENT,
    a_read_shows_what_was_before_an_update: CONTENT,
    a_rename_leaves_changes_behind: CONTENT,
    a_merge_loses_messages: r"too few|makes a session of",
    a_deleted_message_is_still_there: r"too many|there are the streams",
    a_deleted_session_keeps_its_messages: r"too many|there are the streams",
    messages_are_in_the_order_of_arrival: r"order is wrong",
    two_sessions_share_a_stream: r"is shown|there are the streams|was never this",
    a_write_leaves_no_event: r"not in the feed",
    a_read_is_of_another_moment: r"was never this|never was",
}
"""Each with what the checker complains of, among other things."""
