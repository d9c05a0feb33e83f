"""The one place where redis-py's exceptions become this package's.

A fault says three things: may the call be tried again, may the attempt have been carried out, and what to
tell the caller when the deadline has passed.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from redis import exceptions as redis_errors

from redis_sessions.arrivals import LateError
from redis_sessions.errors import (
    AuthenticationError,
    ConfigurationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisSessionsError,
    StoreUnavailableError,
    TLSError,
    UnsupportedServerError,
    WrongTypeError,
)
from redis_sessions.formats import NEWER_IN_SCRIPT, newer_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REDIS_FAULTS: tuple[type[BaseException], ...] = (
    redis_errors.RedisError,
    redis_errors.RedisClusterException,  # not a RedisError
    OSError,
    ssl.SSLError,
    asyncio.TimeoutError,
    asyncio.IncompleteReadError,
)
"""What a call to redis-py may raise because of the server or the way to it."""

# Refused or timed out while connecting, or no free connection: nothing was sent.
_NEVER_SENT = re.compile(r"connecting to|[Nn]o connection available|[Tt]oo many connections|No master found")
# Behind that name redis-py lists the Sentinels that it could not ask.
_NOT_ASKED = re.compile(r"No master found for .* - \S*Error", re.DOTALL)
# What servers put before an error that a script met: Redis 6.2, and any for an error that Lua raises.
_IN_SCRIPT = re.compile(r"^(ERR )?(Error running script \(call to \w+\): )?(@?user_script: ?\d+: )+-?")
# The server answered that it did nothing, and may do it later.
_DEMOTED = re.compile(r"^(ERR )?WAIT(AOF)? cannot be used with replica|^-?UNBLOCKED")
"""What a write is waited for with, on a server that is no primary any more: the write went before."""
_LATER = re.compile(
    r"^(-?)(LOADING|READONLY|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|NOSCRIPT|MISCONF|MOVED|ASK)\b"
    r"|not covered by|Redis is loading|is loading the dataset"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a failed attempt means.

    Attributes:
        retry: the same call may succeed later.
        maybe_done: a write may have been carried out.
        unreachable: the connection, not the server's answer, is the problem.
        error: what the caller gets, given whether any attempt's outcome is unknown.
    """

    retry: bool
    maybe_done: bool
    unreachable: bool
    error: Callable[[bool], RedisSessionsError]


def classify(cause: BaseException) -> Fault:
    """What a redis-py or socket exception means."""
    text = _IN_SCRIPT.sub("", str(cause))
    if NEWER_IN_SCRIPT in text:
        return Fault(False, False, False, lambda _: newer_format("a session"))
    if type(cause) is redis_errors.RedisClusterException and "cannot be connected" in text:
        # No node answered; why the last of them did not says more.
        inner = cause.__cause__ or cause.__context__
        fault = classify(inner) if inner is not None else _no_node()
        return replace(fault, maybe_done=False)
    if isinstance(cause, LateError):
        return Fault(True, False, False, lambda unknown: _unavailable("Redis is too slow", unknown))
    if isinstance(cause, redis_errors.BusyLoadingError):
        return Fault(True, False, False, lambda unknown: _unavailable("Redis is loading its data", unknown))
    if "No master found" in text and "AuthenticationError" in text:
        # Tried again: it may be one Sentinel of several, and the others are electing.
        refused = "the Sentinels do not accept the credentials: check sentinel_username and sentinel_password"
        return Fault(True, False, True, lambda _: AuthenticationError(f"{refused}; nothing was changed"))
    if isinstance(cause, redis_errors.AuthenticationError | redis_errors.AuthorizationError) or (
        "WRONGPASS" in text or "NOAUTH" in text or "invalid username-password" in text
    ):
        return _final(
            AuthenticationError,
            "Redis does not accept the credentials: check the user and password in the URL, "
            "REDIS_SESSIONS_PASSWORD or REDIS_SESSIONS_PASSWORD_FILE",
        )
    if isinstance(cause, redis_errors.NoPermissionError) or text.startswith("NOPERM"):
        return _final(
            AuthenticationError,
            "Redis' ACL forbids this user a command or key that is needed: docs/security.md has the rules",
        )
    if "ACL failure in script" in text or "executing the script can't" in text:
        return _final(
            AuthenticationError,
            "Redis' ACL forbids this user a command that a script needs, and may have stopped it half way: "
            "docs/security.md has the rules, and redis-sessions doctor finds what is left",
        )
    if isinstance(cause, ssl.SSLError) or "SSL" in text or "certificate" in text.lower():
        return _final(
            TLSError,
            "the TLS handshake with Redis failed: check the CA (tls_ca_file), the client certificate, "
            "the host name, and that the port speaks TLS",
        )
    if "Cluster mode is not enabled" in text or "cluster support disabled" in text:
        return _misconfigured(
            "this server is not part of a cluster: use redis:// instead of redis+cluster://"
        )
    if "DB index is out of range" in text or "SELECT is not allowed" in text:
        return _misconfigured("this server has no database of that number: correct the number in the URL")
    if isinstance(cause, redis_errors.OutOfMemoryError) or text.startswith("OOM"):
        return _final(
            OutOfMemoryError,
            "Redis is at its maxmemory and refused the write: give it memory, or delete sessions",
        )
    if isinstance(
        cause,
        redis_errors.ResponseError | redis_errors.ClusterError | redis_errors.RedisClusterException,
    ):
        return _answered(cause, text)
    maybe = not (
        _NEVER_SENT.search(text)
        or isinstance(cause, redis_errors.MaxConnectionsError | ConnectionRefusedError | socket.gaierror)
    )
    what = f"Redis cannot be reached ({_reason(cause, text)})"
    return Fault(True, maybe, True, lambda unknown: _unavailable(what, unknown))


def _reason(cause: BaseException, text: str) -> str:
    low = text.lower()
    roots = tuple(_roots(cause))
    if any(isinstance(root, socket.gaierror) for root in roots) or "name or service" in low:
        return "the host name does not resolve"
    if any(isinstance(root, ConnectionRefusedError) for root in roots) or "refused" in low:
        return "the connection is refused"
    if isinstance(cause, redis_errors.MaxConnectionsError) or "connection available" in low:
        return "every connection of the pool is busy: raise max_connections"
    if isinstance(cause, TimeoutError | redis_errors.TimeoutError):
        return "no answer in time"
    if "no master found" in low:
        if _NOT_ASKED.search(text):
            return "the Sentinels cannot be reached, or those that can know no primary of that name"
        return "the Sentinels know no primary of that name"
    if any(isinstance(root, FileNotFoundError) for root in roots):
        return "there is no such socket"
    if any(isinstance(root, PermissionError) for root in roots):
        return "the socket may not be used by this user"
    return "the connection was lost"


def _roots(cause: BaseException | None) -> Iterator[BaseException]:
    """An exception and those it was raised for, also inside of groups and multiple addresses."""
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _answered(cause: BaseException, text: str) -> Fault:
    if isinstance(cause, redis_errors.ReadOnlyError) or text.startswith(
        ("READONLY", "MISCONF", "NOREPLICAS")
    ):
        return Fault(
            True,
            False,
            True,
            lambda unknown: ReadOnlyError(
                "Redis refuses writes: it is a read-only replica, cannot persist, or lacks replicas"
                + _outcome(unknown),
                write_may_have_happened=unknown,
            ),
        )
    if _DEMOTED.search(text):
        return Fault(True, True, True, lambda unknown: _unavailable("Redis is being made a replica", unknown))
    if _LATER.search(text):
        return Fault(True, False, False, lambda unknown: _unavailable("Redis is not ready", unknown))
    refused = isinstance(  # redis-py leaves out the word by which _LATER knows them
        cause,
        redis_errors.ClusterDownError
        | redis_errors.TryAgainError
        | redis_errors.AskError
        | redis_errors.MovedError
        | redis_errors.MasterDownError,
    ) or text.startswith("TTL exhausted")  # what redis-py says after 16 of these in a row
    if refused or isinstance(cause, redis_errors.SlotNotCoveredError | redis_errors.RedisClusterException):
        return Fault(
            True, not refused, True, lambda unknown: _unavailable("the cluster is not available", unknown)
        )
    if "WRONGTYPE" in text:
        return Fault(
            False,
            False,
            False,
            lambda _: WrongTypeError("a key of this store holds another Redis type; nothing was changed"),
        )
    if "unknown command 'sentinel" in text.lower():
        return _misconfigured(
            "this server is no Sentinel: name the Sentinels in the URL, or use redis:// for it"
        )
    if "unknown command" in text.lower() or "syntax error" in text:
        return Fault(
            False,
            False,
            False,
            lambda _: UnsupportedServerError(
                "this server lacks a command that is needed: use Redis 6.2 or later, or Valkey 7.2 or later"
            ),
        )
    return Fault(
        False,
        True,
        False,
        lambda unknown: StoreUnavailableError(
            "Redis answered with an error that this package does not know; its text is in __cause__",
            write_may_have_happened=unknown,
        ),
    )


def _no_node() -> Fault:
    return Fault(True, False, True, lambda unknown: _unavailable("no node of the cluster answers", unknown))


def _misconfigured(text: str) -> Fault:
    return Fault(False, False, False, lambda _: ConfigurationError(text))


def _final(kind: type[StoreUnavailableError], text: str) -> Fault:
    return Fault(
        False, False, False, lambda unknown: kind(text + _outcome(unknown), write_may_have_happened=unknown)
    )


def _unavailable(what: str, unknown: bool) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{what} within the deadline{_outcome(unknown)}", write_may_have_happened=unknown
    )


def _outcome(unknown: bool) -> str:
    if unknown:
        return "; the write may have happened: read the session before trying again"
    return "; nothing was changed"
