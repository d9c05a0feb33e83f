"""How a Lua script is found, sent and tried again, and what its statuses become.

The files in ``lua/`` say what each script does; ``scripts.py``, ``flow_scripts.py`` and
``mend_scripts.py`` have a typed coroutine for each.
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
from redis_sessions.errors import InvalidTimestampError, OwnerMismatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.ids import EntryId
    from redis_sessions.keys import FlowKeys
    from redis_sessions.replication import Replication
    from redis_sessions.transport import Command, Transport

NAMES = (
    "add_transaction",
    "append",
    "append_known",
    "convert_edits",
    "convert_session",
    "delete_builds",
    "delete_job_builds",
    "delete_messages",
    "delete_session",
    "drop_adopted",
    "delete_transactions",
    "drop_flow",
    "forget_session",
    "mend_adopted",
    "mend_alias",
    "mend_clash",
    "mend_edits",
    "mend_numbers",
    "mend_session",
    "move_message",
    "put_build",
    "rename_session",
    "restore_alias",
    "restore_session",
    "set_aside",
    "set_owner",
    "update",
)
_WROTE = frozenset(
    b"ADDED APPENDED ASIDE CONVERTED DELETED DROPPED FORGOTTEN MENDED MERGED MOVED_TO PARTED RENAMED "
    b"RESTORED SET STORED UPDATED".split()
)
"""The statuses of scripts that have written."""
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
        self.values: list[bytes] = list(values)


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion did.

    ``emptied`` is the flow's former owner (or ``""``) when the flow is empty now; ``leaves_adopted``: there
    may be adopted ids for ``drop_adopted``.
    """

    count: int
    entries: tuple[EntryId, ...]
    emptied: str | None
    leaves_adopted: bool = False


class Runner:
    """Runs scripts through :class:`Calls`, with their retries."""

    def __init__(self, calls: Calls, transport: Transport, replication: Replication, limits: Limits) -> None:
        self._calls = calls
        self._replication = replication
        self._sent: set[str] = set()
        self._limits = limits
        self._arrivals = Arrivals(transport, min(_LONGEST_WINDOW, calls.connection.attempt_timeout / 2))

    async def _eval(self, name: str, keys: Sequence[bytes], args: Sequence[Any]) -> list[bytes]:
        code = source(name)
        if self._replication.waits and name not in self._sent:
            # Not to wait for replicas behind a NOSCRIPT.
            self._sent.add(name)
            return cast("list[bytes]", await self._run(keys[0], ("EVAL", code.text, len(keys), *keys, *args)))
        try:
            reply = await self._run(keys[0], ("EVALSHA", code.sha, len(keys), *keys, *args))
        except NoScriptError:
            # EVAL and not SCRIPT LOAD: after a failover only the node that runs it needs the script.
            reply = await self._run(keys[0], ("EVAL", code.text, len(keys), *keys, *args))
        return cast("list[bytes]", reply)

    def _run(self, key: bytes, command: Command) -> Awaitable[Any]:
        return self._replication.run(key, command, _wrote)

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


def _wrote(reply: list[bytes]) -> bool:
    return reply[0] in _WROTE


def emptied(rest: Sequence[bytes]) -> str | None:
    return rest[1].decode() if rest[0] == b"1" else None


def refuse(status: bytes, keys: FlowKeys) -> None:
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


def stale(status: bytes, values: Sequence[bytes]) -> Exception:
    return unknown_outcome() if status == b"UNKNOWN" else StaleError(status, values)
