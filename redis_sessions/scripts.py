"""One typed coroutine for each Lua script about messages and sessions.

The signature of a coroutine is the contract of its script: keys come from :class:`FlowKeys`, and a status
is either part of the result or the error it stands for.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from redis_sessions.errors import MergeTooLargeError, WrongTypeError
from redis_sessions.flow_scripts import FlowScripts
from redis_sessions.groups import Groups, Item
from redis_sessions.ids import EntryId
from redis_sessions.scripting import Removed, emptied, refuse, stale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.replication import Replication
    from redis_sessions.scripting import Limits
    from redis_sessions.transport import Transport

MAX_NUMBERS = 64
"""Session numbers that a session may have: one, and one more for every merge into it."""
MAX_MERGED_EDITS = 1_000
"""Changed messages that both of two sessions to be merged may have: those of one are copied in one step."""
MAX_MERGED_EDIT_BYTES = 2 * 1024 * 1024
"""How long the contents of those may be, together."""
MAX_ENTRIES = 500
"""Entries that one delete_messages script takes."""
_ADOPTED_AT_ONCE = 1_000
_TURN = 0.1
"""Seconds, at the most, until a merge looks whether another one is over."""
_EXTEND = 5.0
"""Seconds after which the time to live of a feed is set again."""
_MOST_EXTENDED = 8_192
_FOR_A_STEP = 0.2
"""Seconds: a step that the deadline cuts off would leave open whether it was the last."""


class Scripts(FlowScripts):
    """All scripts."""

    def __init__(self, calls: Calls, transport: Transport, replication: Replication, limits: Limits) -> None:
        super().__init__(calls, transport, replication, limits)
        self._waiting = calls.connection.waiting
        self._groups = Groups(self._append_group) if self._waiting.together else None
        self._plain = not (limits.ttl_ms or limits.max_messages or replication.waits)
        self._extended: dict[str, float] = {}

    async def append(
        self,
        keys: FlowKeys,
        session: str,
        messages: Sequence[tuple[int, bytes, bytes]],
        *,
        owner: str,
        registered: bool,
        numbers: Sequence[int],
        candidates: Sequence[int],
        attempt: Attempt,
    ) -> list[bytes]:
        """Store (timestamp in µs, adopted id as 16 bytes or empty, body) each; their entry ids in order.

        Raises:
            OwnerMismatchError, InvalidTimestampError, StoreUnavailableError
            StaleError: UNREGISTERED, EXPIRED (record), NUMBERS (numbers), TAKEN, EXISTS (id).
        """
        limits = self._limits
        key_list = [
            keys.log(session),
            keys.edits(session),
            keys.ids,
            keys.sessions,
            keys.aliases,
            keys.feed,
            *(keys.adopted(number) for number in numbers),
        ]
        tail: list[Any] = []
        for message in messages:
            tail += message
        fixed = (
            owner.encode(),
            limits.ttl_ms,
            limits.max_messages,
            limits.max_ahead_us,
            limits.max_events,
            limits.feed_ttl_ms,
            _join(numbers),
            _join(candidates),
        )
        name = session.encode()
        flag = b"1" if registered else b""
        status, *rest = await self._write(
            "append",
            key_list,
            lambda token, arrival: (name, token, arrival, flag, *fixed, *tail),
            attempt,
        )
        if status == b"APPENDED":
            return rest[0].split(b",")
        attempt.settle()
        refuse(status, keys)
        raise stale(status, rest)

    async def append_known(
        self, keys: FlowKeys, session: str, at: int, body: bytes, *, owner: str, attempt: Attempt
    ) -> bytes | None:
        """Store a message (timestamp in µs) in a session that is probably there; its entry id.

        None when :meth:`append` is to do it, with the same attempt.

        Raises:
            StoreUnavailableError
        """
        if not self._plain:
            return None

        async def once(now: Attempt) -> bytes:
            if now.unknown:
                return b""  # an earlier attempt is to be looked for
            item = Item(session, now.token, at, body, now)
            if self._groups is None:
                return (await self._append_group(keys, owner, [item]))[0]
            return await self._groups.append(keys, owner, item)

        return await self._calls.write(once, attempt) or None

    async def _append_group(self, keys: FlowKeys, owner: str, items: list[Item]) -> list[bytes]:
        """Run ``append_known``; takes out of ``items`` those that were given up meanwhile."""
        limits, first = self._limits, items[0].attempt
        arrival = await self._arrivals.arrival(keys.ids, first)
        # From here on each may be carried out, until that time.
        if items[0].answer is not None:  # in a group
            items[:] = [item for item in items if not item.given_up]
        logs: list[bytes] = []
        tail: list[Any] = []
        for item in items:
            item.attempt.over_at = first.over_at
            logs.append(keys.log(item.session))
            tail += (item.session.encode(), item.token, item.at, item.body)
        if not items:
            return []
        now, flow = time.monotonic(), keys.flow_id
        lately = now - self._extended.get(flow, -_EXTEND) < _EXTEND
        feed_ttl_ms = 0 if lately else limits.feed_ttl_ms
        args = (arrival, owner, limits.max_ahead_us, limits.max_events, feed_ttl_ms, *tail)
        status, answer = await self._eval("append_known", (keys.ids, keys.sessions, keys.feed, *logs), args)
        if status == b"LATE":
            self._arrivals.note(keys.ids, int(answer))
            return [b""] * len(items)
        stored: list[bytes] = answer.split(b",")
        if not lately and any(stored):
            if len(self._extended) >= _MOST_EXTENDED:
                self._extended.clear()
            self._extended[flow] = now
        return stored

    async def update(
        self, keys: FlowKeys, session: str, entry: EntryId, *, expected: bytes, body: bytes, attempt: Attempt
    ) -> None:
        """Replace a message's body if it is ``expected``.

        Raises:
            StoreUnavailableError
            StaleError: MOVED, MISSING, CHANGED.
        """
        limits = self._limits
        name = session.encode()
        status, *rest = await self._write(
            "update",
            (keys.log(session), keys.edits(session), keys.ids, keys.feed),
            lambda token, arrival: (
                name,
                token,
                arrival,
                str(entry),
                expected,
                body,
                limits.ttl_ms,
                limits.max_events,
                limits.feed_ttl_ms,
            ),
            attempt,
        )
        if status != b"UPDATED":
            attempt.settle()
            raise stale(status, rest)

    async def move_message(
        self,
        keys: FlowKeys,
        session: str,
        new: str,
        entry: EntryId,
        *,
        expected: bytes,
        body: bytes,
        message_id: bytes,
        timestamp_us: int,
        new_number: int,
        born: bool,
        attempt: Attempt,
    ) -> EntryId:
        """Take a message to session ``new``, whose primary number is ``new_number``; its new entry id.

        ``born``: there was no such session, and ``new_number`` is a candidate for it.

        Raises:
            StoreUnavailableError
            StaleError: MOVED, MISSING, CHANGED, EXPIRED (record).
        """
        limits = self._limits
        key_list = (
            keys.log(session),
            keys.edits(session),
            keys.log(new),
            keys.edits(new),
            keys.ids,
            keys.sessions,
            keys.aliases,
            keys.feed,
            keys.adopted(entry.number),
            keys.adopted(new_number),
            keys.builds,
            keys.transactions,
        )
        status, *rest = await self._write(
            "move_message",
            key_list,
            lambda token, arrival: (
                session.encode(),
                new.encode(),
                token,
                arrival,
                str(entry),
                expected,
                body,
                message_id,
                timestamp_us,
                new_number,
                limits.ttl_ms,
                limits.max_events,
                limits.feed_ttl_ms,
                b"1" if born else b"",
            ),
            attempt,
        )
        if status != b"MOVED_TO":
            attempt.settle()
            raise stale(status, rest)
        return EntryId.parse(rest[0])

    async def delete_messages(
        self,
        keys: FlowKeys,
        session: str,
        entries: Sequence[tuple[EntryId, bytes | None]],
        *,
        attempt: Attempt,
    ) -> Removed:
        """Remove at most :data:`MAX_ENTRIES` (entry, adopted id) of a session; those that were there.

        Raises:
            StoreUnavailableError
            StaleError: MOVED.
        """
        limits = self._limits
        numbers = sorted({entry.number for entry, _ in entries})
        key_list = (*self._session_keys(keys, session), *(keys.adopted(number) for number in numbers))
        names = [text for entry, alias in entries for text in (str(entry).encode(), alias or b"")]
        status, *rest = await self._write(
            "delete_messages",
            key_list,
            lambda token, arrival: (
                session.encode(),
                token,
                arrival,
                limits.ttl_ms,
                limits.max_events,
                limits.feed_ttl_ms,
                _join(numbers),
                *names,
            ),
            attempt,
        )
        if status != b"DELETED":
            attempt.settle()
            raise stale(status, rest)
        gone = tuple(_entry_ids(rest[2]))
        return Removed(len(gone), gone, emptied(rest))

    async def delete_session(
        self, keys: FlowKeys, session: str, numbers: Sequence[int], *, attempt: Attempt
    ) -> Removed:
        """Remove a session whose numbers are ``numbers``.

        Raises:
            StoreUnavailableError
            StaleError: MISSING, MOVED.
        """
        limits = self._limits
        key_list = (*self._session_keys(keys, session), *(keys.adopted(number) for number in numbers))
        status, *rest = await self._write(
            "delete_session",
            key_list,
            lambda token, arrival: (
                session.encode(),
                token,
                arrival,
                limits.max_events,
                limits.feed_ttl_ms,
                _join(numbers),
            ),
            attempt,
        )
        if status != b"DELETED":
            attempt.settle()
            raise stale(status, rest)
        return Removed(int(rest[2]), (), emptied(rest), leaves_adopted=rest[3] == b"1")

    async def forget_session(
        self, keys: FlowKeys, session: str, numbers: Sequence[int], *, attempt: Attempt
    ) -> Removed | None:
        """Drop the name of an expired session; None when it is alive."""
        limits = self._limits
        key_list = (*self._session_keys(keys, session), *(keys.adopted(number) for number in numbers))
        args = (session.encode(), limits.max_events, limits.feed_ttl_ms, _join(numbers))
        status, *rest = await self._calls.write(
            lambda _: self._eval("forget_session", key_list, args), attempt
        )
        if status != b"FORGOTTEN":
            return None
        return Removed(0, (), emptied(rest), leaves_adopted=rest[2] == b"1")

    async def drop_adopted(self, keys: FlowKeys, number: int, *, attempt: Attempt) -> None:
        """Remove the adopted ids of a session number that is gone, in steps."""
        cursor = b"0"
        while True:
            status, *rest = await self._calls.write(
                lambda _, cursor=cursor: self._eval(  # type: ignore[misc]
                    "drop_adopted",
                    (keys.adopted(number), keys.aliases, keys.ids),
                    (number, cursor, _ADOPTED_AT_ONCE),
                ),
                attempt,
            )
            if status == b"KEPT" or (status == b"SWEPT" and rest[0] == b"0"):
                return
            cursor = rest[0]

    async def rename_session(
        self, keys: FlowKeys, old: str, new: str, number: int, *, attempt: Attempt
    ) -> tuple[bytes, int, frozenset[int]]:
        """Rename, or merge: ``RENAMED`` or ``MERGED``, entries in the session now, numbers that moved.

        Raises:
            MergeTooLargeError, WrongTypeError, StoreUnavailableError
            StaleError: MISSING, MOVED, EXPIRED (record).
        """
        limits = self._limits
        key_list = (
            keys.log(old),
            keys.edits(old),
            keys.log(new),
            keys.edits(new),
            keys.ids,
            keys.sessions,
            keys.feed,
            keys.merge,
        )
        progress = places = b""
        while True:
            status, *rest = await self._write(
                "rename_session",
                key_list,
                lambda token, arrival, progress=progress, places=places: (  # type: ignore[misc]
                    old.encode(),
                    new.encode(),
                    token,
                    arrival,
                    number,
                    limits.max_merge,
                    MAX_NUMBERS,
                    limits.ttl_ms,
                    limits.max_events,
                    limits.feed_ttl_ms,
                    MAX_MERGED_EDITS,
                    MAX_MERGED_EDIT_BYTES,
                    progress,
                    places,
                ),
                attempt,
            )
            if status in (b"RENAMED", b"MERGED"):
                return status, int(rest[0]), frozenset(map(int, rest[1].split(b",")))
            attempt.settle()
            if status == b"STAGED":
                progress, places = rest
            elif status in (b"RESTAGE", b"BUSY"):
                progress = places = b""
                await self._waiting.sleep(random.uniform(0, _TURN))  # noqa: S311 - no secret
            else:
                break
            attempt.check_contention("the sessions to be merged", spare=_FOR_A_STEP)
        if status == b"LIMIT":
            msg = (
                f"merging would touch {int(rest[0])} messages (max_merge is {limits.max_merge}), over "
                f"{MAX_MERGED_EDITS} changed ones, or {MAX_MERGED_EDIT_BYTES:,} bytes of them, in both, or "
                f"leave a session merged more than {MAX_NUMBERS} times; nothing was changed"
            )
            raise MergeTooLargeError(msg)
        if status == b"STRAY":
            msg = "a key of the new session id holds data that no session owns; nothing was changed"
            raise WrongTypeError(msg)
        raise stale(status, rest)

    @staticmethod
    def _session_keys(keys: FlowKeys, session: str) -> tuple[bytes, ...]:
        return (
            keys.log(session),
            keys.edits(session),
            keys.ids,
            keys.sessions,
            keys.aliases,
            keys.feed,
            keys.builds,
            keys.transactions,
        )


def _join(numbers: Sequence[int]) -> bytes:
    return ",".join(map(str, numbers)).encode() if numbers else b""


def _entry_ids(text: bytes) -> list[EntryId]:
    return [EntryId.parse(entry) for entry in text.split(b",")] if text else []
