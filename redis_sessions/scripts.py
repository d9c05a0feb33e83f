"""One typed coroutine for each Lua script; their statuses become results or errors here.

The signature of a coroutine is the contract of its script: keys come from :class:`FlowKeys`, and a status
is either part of the result or the error it stands for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoScriptError

from redis_sessions.arrivals import Arrivals, LateError
from redis_sessions.calls import unknown_outcome
from redis_sessions.errors import (
    InvalidTimestampError,
    MergeTooLargeError,
    OwnerMismatchError,
    WrongTypeError,
)
from redis_sessions.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.transport import Transport

NAMES = (
    "add_transaction",
    "append",
    "delete_builds",
    "delete_messages",
    "delete_session",
    "drop_flow",
    "forget_session",
    "move_message",
    "put_build",
    "rename_session",
    "set_owner",
    "update",
)
MAX_NUMBERS = 64
"""Session numbers that a session may have: one, and one more for every merge into it."""
MAX_ENTRIES = 1_000
"""Entries that one delete_messages script takes."""
MAX_BUILDS = 1_000
"""Vertices whose latest build a flow keeps: as many as Langflow 1.13 serves."""


_LATE_TRIES = 3
_LONGEST_WINDOW = 0.5
"""Seconds that an attempt may take to reach Redis. After a lost connection a further one waits so long."""


@dataclass(frozen=True, slots=True)
class Source:
    """A script's text, its includes in place, and what EVALSHA names it by."""

    text: bytes
    sha: bytes


@cache
def source(name: str) -> Source:
    folder = resources.files("redis_sessions") / "lua"

    def include(match: re.Match[str]) -> str:
        return "\n".join((folder / "shared" / f"{part}.lua").read_text("utf-8") for part in match[1].split())

    text = re.sub(
        r"^-- @include (.+)$", include, (folder / f"{name}.lua").read_text("utf-8"), flags=re.MULTILINE
    )
    code = text.encode()
    return Source(code, hashlib.sha1(code, usedforsecurity=False).hexdigest().encode())


@dataclass(frozen=True, slots=True)
class Limits:
    """What scripts need of the settings; ints as Lua takes them."""

    ttl_ms: int
    max_messages: int
    max_ahead_us: int
    max_merge: int
    max_events: int
    feed_ttl_ms: int
    max_transactions: int


class StaleError(Exception):
    """A script found other keys or numbers than the caller read. Never leaves the package.

    ``status`` is the script's word, ``values`` what came with it.
    """

    def __init__(self, status: bytes, values: Sequence[bytes] = ()) -> None:
        super().__init__(status.decode())
        self.status = status
        self.values = list(values)


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion did. ``emptied`` is the flow's former owner (or ``""``) when the flow is empty now."""

    count: int
    entries: tuple[EntryId, ...]
    emptied: str | None


class Scripts:
    """The scripts, run through :class:`Calls` with their retries."""

    def __init__(self, calls: Calls, transport: Transport, limits: Limits) -> None:
        self._calls = calls
        self._transport = transport
        self._limits = limits
        self._arrivals = Arrivals(transport, min(_LONGEST_WINDOW, calls.connection.attempt_timeout / 2))

    async def _eval(self, name: str, keys: Sequence[bytes], args: Sequence[Any]) -> list[bytes]:
        code = source(name)
        try:
            (reply,) = await self._transport.run(keys[0], ("EVALSHA", code.sha, len(keys), *keys, *args))
        except NoScriptError:
            # EVAL and not SCRIPT LOAD: after a failover only the node that runs it needs the script.
            (reply,) = await self._transport.run(keys[0], ("EVAL", code.text, len(keys), *keys, *args))
        return cast("list[bytes]", reply)

    async def _write(
        self,
        name: str,
        keys: Sequence[bytes],
        args: Callable[[bytes, bytes], Sequence[Any]],
        attempt: Attempt,
    ) -> list[bytes]:
        """Run a script that may be tried again; ``args`` of a token and an arrival are its arguments."""

        async def once(now: Attempt) -> list[bytes]:
            for _ in range(_LATE_TRIES):
                arrival = await self._arrivals.arrival(keys[0], now)
                reply = await self._eval(name, keys, args(now.token, arrival))
                if reply[0] != b"LATE":
                    return reply
                # Held up, or our idea of the server's clock is wrong: its answer sets it right.
                self._arrivals.note(keys[0], int(reply[1]))
            raise LateError

        return await self._calls.write(once, attempt)

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
        _refuse(status, keys)
        raise _stale(status, rest)

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
            raise _stale(status, rest)

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
        attempt: Attempt,
    ) -> EntryId:
        """Take a message to session ``new``, whose primary number is ``new_number``; its new entry id.

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
            ),
            attempt,
        )
        if status != b"MOVED_TO":
            attempt.settle()
            raise _stale(status, rest)
        return EntryId.parse(rest[0])

    async def delete_messages(
        self, keys: FlowKeys, session: str, entries: Sequence[EntryId], *, attempt: Attempt
    ) -> Removed:
        """Remove at most :data:`MAX_ENTRIES` entries of a session; those that were there.

        Raises:
            StoreUnavailableError
            StaleError: MOVED.
        """
        limits = self._limits
        numbers = sorted({entry.number for entry in entries})
        key_list = (*self._session_keys(keys, session), *(keys.adopted(number) for number in numbers))
        names = [str(entry) for entry in entries]
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
            raise _stale(status, rest)
        gone = tuple(_entry_ids(rest[2]))
        return Removed(len(gone), gone, _emptied(rest))

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
            raise _stale(status, rest)
        return Removed(int(rest[2]), (), _emptied(rest))

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
        return Removed(0, (), _emptied(rest)) if status == b"FORGOTTEN" else None

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
        status, *rest = await self._write(
            "rename_session",
            key_list,
            lambda token, arrival: (
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
            ),
            attempt,
        )
        if status in (b"RENAMED", b"MERGED"):
            return status, int(rest[0]), frozenset(map(int, rest[1].split(b",")))
        attempt.settle()
        if status == b"LIMIT":
            msg = (
                f"merging would touch {int(rest[0])} messages (max_merge is {limits.max_merge}) or leave a "
                f"session merged more than {MAX_NUMBERS} times; nothing was changed"
            )
            raise MergeTooLargeError(msg)
        if status == b"STRAY":
            msg = "a key of the new session id holds data that no session owns; nothing was changed"
            raise WrongTypeError(msg)
        raise _stale(status, rest)

    async def set_owner(self, keys: FlowKeys, expected: str, owner: str, *, attempt: Attempt) -> None:
        """Change the flow's owner from ``expected`` (``""``: none).

        Raises:
            StaleError: CHANGED.
        """
        status, *rest = await self._calls.write(
            lambda _: self._eval("set_owner", (keys.ids,), (expected.encode(), owner.encode())), attempt
        )
        if status != b"SET":
            raise _stale(status, rest)

    async def drop_flow(self, keys: FlowKeys, *, attempt: Attempt) -> str:
        """Remove what is left of a flow without sessions; its former owner, or ``""``.

        Raises:
            StaleError: BUSY.
        """
        key_list = (keys.ids, keys.sessions, keys.aliases, keys.feed, keys.builds, keys.transactions)
        status, *rest = await self._calls.write(lambda _: self._eval("drop_flow", key_list, ()), attempt)
        if status != b"DROPPED":
            raise _stale(status, rest)
        return rest[0].decode()

    async def put_build(
        self,
        keys: FlowKeys,
        vertex: str,
        timestamp_us: int,
        body: bytes,
        *,
        owner: str,
        registered: bool,
        attempt: Attempt,
    ) -> bool:
        """Keep a vertex's build; False when a later one is there.

        Raises:
            OwnerMismatchError, InvalidTimestampError, StoreUnavailableError
            StaleError: UNREGISTERED.
        """
        limits = self._limits
        flag = b"1" if registered else b""
        args = (vertex.encode(), flag, owner.encode(), timestamp_us, limits.max_ahead_us, MAX_BUILDS, body)
        key_list = (keys.ids, keys.builds, keys.transactions)
        status, *rest = await self._calls.write(lambda _: self._eval("put_build", key_list, args), attempt)
        _refuse(status, keys)
        if status not in (b"STORED", b"OLDER"):
            raise _stale(status, rest)
        return status == b"STORED"

    async def delete_builds(self, keys: FlowKeys, *, attempt: Attempt) -> Removed:
        """Remove the builds of a flow."""
        key_list = (keys.ids, keys.sessions, keys.aliases, keys.builds, keys.transactions)
        _, *rest = await self._calls.write(lambda _: self._eval("delete_builds", key_list, ()), attempt)
        return Removed(int(rest[2]), (), _emptied(rest))

    async def add_transaction(
        self,
        keys: FlowKeys,
        id: bytes,
        timestamp_us: int,
        body: bytes,
        *,
        owner: str,
        registered: bool,
        attempt: Attempt,
    ) -> None:
        """Note a component's run; ``id`` is 16 bytes.

        Raises:
            OwnerMismatchError, InvalidTimestampError, StoreUnavailableError
            StaleError: UNREGISTERED.
        """
        limits = self._limits
        flag = b"1" if registered else b""
        rest_args = (owner.encode(), timestamp_us, limits.max_ahead_us, limits.max_transactions, body)
        status, *rest = await self._calls.write(
            lambda now: self._eval(
                "add_transaction",
                (keys.ids, keys.builds, keys.transactions),
                (id, now.elapsed_ms, flag, *rest_args),
            ),
            attempt,
        )
        _refuse(status, keys)
        if status != b"ADDED":
            raise _stale(status, rest)

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


def _emptied(rest: Sequence[bytes]) -> str | None:
    return rest[1].decode() if rest[0] == b"1" else None


def _refuse(status: bytes, keys: FlowKeys) -> None:
    """Raise for the statuses that stand for an error of the caller."""
    if status == b"OWNER":
        msg = f"flow {keys.flow_id!r} belongs to another owner than the one named; nothing was stored"
        raise OwnerMismatchError(msg)
    if status == b"AHEAD":
        msg = (
            "a timestamp is too far ahead of Redis's clock (max_ahead); nothing was stored: "
            "check the clock of this machine"
        )
        raise InvalidTimestampError(msg)


def _stale(status: bytes, values: Sequence[bytes]) -> Exception:
    return unknown_outcome() if status == b"UNKNOWN" else StaleError(status, values)
