"""Which server is at the other end, and whether this package runs on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from redis_sessions.errors import AuthenticationError, UnsupportedServerError

if TYPE_CHECKING:
    from redis_sessions.calls import Calls
    from redis_sessions.transport import Transport

OLDEST_REDIS = (6, 2)
WITH_WAITAOF = (7, 2)


async def check_server(calls: Calls, transport: Transport, *, wait_aof: bool = False) -> None:
    """Return when the server answers and is recent enough.

    Args:
        wait_aof: it must know WAITAOF.

    Raises:
        UnsupportedServerError: it is older than Redis 6.2, or than 7.2 for WAITAOF.
        StoreUnavailableError: it does not answer within the deadline, or refuses the credentials.
    """
    if transport.kind == "memory":
        return
    try:
        (info,) = await calls.read(lambda: transport.run(b"", ("INFO", "server")))
    except AuthenticationError as error:
        if isinstance(error.__cause__, NoPermissionError):
            return  # a user without INFO: what the server cannot do will show at the first call
        raise
    version = parse_version(info)
    if version is not None and version < OLDEST_REDIS:
        found = ".".join(map(str, version))
        msg = f"this server is Redis {found}; redis-sessions needs Redis 6.2 or later, or Valkey"
        raise UnsupportedServerError(msg)
    if wait_aof and version is not None and version < WITH_WAITAOF:
        msg = "wait_aof needs WAITAOF, which came with Redis 7.2 and Valkey: use wait_replicas alone"
        raise UnsupportedServerError(msg)


def parse_version(info: bytes) -> tuple[int, int] | None:
    """Major and minor of ``redis_version`` (Valkey reports the Redis it is compatible with)."""
    match = re.search(rb"redis_version:(\d{1,9})\.(\d{1,9})", info)
    return (int(match[1]), int(match[2])) if match else None
