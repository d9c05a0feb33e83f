"""The record of a load: every call with its start, its tokens, its end and its answer.

A line of JSON for each, written at once: what a worker that is killed has asked is there, without an answer.
Times are those of CLOCK_MONOTONIC, which is one for all processes of a machine.
"""

from __future__ import annotations

import json
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO

import redis_sessions.calls
from redis_sessions import NotReplicatedError, RedisSessionsError, StoreUnavailableError
from redis_sessions.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

NEVER = float("inf")


class Outcome(Enum):
    """What a caller knows of its call."""

    DONE = "done"
    REFUSED = "refused"  # nothing was changed
    ABSENT = "absent"  # refused, because what it names is not there
    UNKNOWN = "unknown"  # may have happened, or happened and is not safe; or the worker is gone


@dataclass
class Call:
    """One call; ``end`` is NEVER where no answer came."""

    id: str
    op: str
    flow: str
    asked: dict[str, Any]
    start: float
    end: float = NEVER
    outcome: Outcome = Outcome.UNKNOWN
    answer: Any = None
    error: str = ""
    tokens: list[bytes] = field(default_factory=list)

    @property
    def acknowledged(self) -> bool:
        return self.outcome is Outcome.DONE

    def __str__(self) -> str:
        return f"{self.id} {self.op} {self.asked} -> {self.outcome.value} {self.error or self.answer!r}"


_now: ContextVar[tuple[Recorder, str] | None] = ContextVar("the call that is being made", default=None)


class Recorder:
    """Writes the calls of one worker to a file."""

    def __init__(self, file: BinaryIO, worker: str) -> None:
        self._file = file
        self._worker = worker
        self._count = 0

    async def call(
        self,
        op: str,
        flow: str,
        make: Callable[[str], tuple[dict[str, Any], Awaitable[Any]]],
        shown: Callable[[Any], Any],
    ) -> Any:
        """Make a call and record it; ``make`` gives, for the call's id, what is asked and the call itself."""
        self._count += 1
        name = f"{self._worker}.{self._count}"
        asked, call = make(name)
        self._write({"call": name, "op": op, "flow": flow, "asked": asked, "start": time.monotonic()})
        _now.set((self, name))
        result = None
        try:
            result = await call
            end = {"outcome": "done", "answer": shown(result)}
        except NotFoundError as error:
            end = {"outcome": "absent", "error": repr(error)}
        except (ConflictError, RedisSessionsError) as error:
            end = {"outcome": _outcome_of(error).value, "error": repr(error)}
        finally:
            _now.set(None)
        self._write({"call": name, **end, "end": time.monotonic()})
        return result

    def token(self, call: str, token: bytes) -> None:
        self._write({"call": call, "token": token.hex()})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")


def _outcome_of(error: RedisSessionsError) -> Outcome:
    if isinstance(error, StoreUnavailableError) and error.write_may_have_happened:
        # With WAITAOF it may be the primary's own file that is late.
        assert not isinstance(error, NotReplicatedError) or error.replicas < error.wanted or not error.wanted
        return Outcome.UNKNOWN
    return Outcome.REFUSED


class _Tokens:
    """``secrets`` as ``calls.py`` uses it, with an ear."""

    def __init__(self, drawn: Callable[[int], bytes]) -> None:
        self._drawn = drawn

    def token_bytes(self, size: int) -> bytes:
        token = self._drawn(size)
        current = _now.get()
        if current is not None:
            recorder, call = current
            recorder.token(call, token)
        return token


def listen_to_tokens() -> None:
    """From now on record which tokens each call draws. In this process, for good."""
    if not isinstance(redis_sessions.calls.secrets, _Tokens):
        redis_sessions.calls.secrets = _Tokens(redis_sessions.calls.secrets.token_bytes)  # type: ignore[assignment]


def read_record(paths: Iterable[Path]) -> list[Call]:
    """The calls in these files, by their start."""
    calls: dict[str, Call] = {}
    for path in paths:
        for line in path.read_bytes().splitlines():
            found = json.loads(line)
            name = found.pop("call")
            if "op" in found:
                calls[name] = Call(name, **found)
            elif "token" in found:
                calls[name].tokens.append(bytes.fromhex(found["token"]))
            else:
                call = calls[name]
                call.outcome = Outcome(found["outcome"])
                call.end = NEVER if call.outcome is Outcome.UNKNOWN else found["end"]
                call.answer, call.error = found.get("answer"), found.get("error", "")
    return sorted(calls.values(), key=lambda call: call.start)
