"""What a user of the store may do on a server: the least that all operations need, and not a command more.

This is the one list. The chart's ACL file is compared with it, and tests show that every operation works
with it and that none of it can be left out. It holds for Redis 6.2 to 8 and Valkey 7.2 to 9, for one server,
Sentinel or a cluster.
"""

from __future__ import annotations

import re

from redis_sessions.settings import Settings

CONNECTING = ("client|setname", "ping", "select")
"""redis-py names its connections, tries idle ones, and selects databases other than 0."""

SINCE_7_2 = ("client|setinfo", "waitaof")
"""redis-py tells its version; ``wait_aof`` waits. Older servers know neither the commands nor such rules."""

IN_A_CLUSTER = ("asking", "cluster|slots", "command")
"""Finding out who has a slot, and following one that moves."""

WAITING = ("wait",)
"""For ``wait_replicas``."""

SCRIPTS = ("eval", "evalsha")
"""All writes. What the scripts call is checked too, so that it is in ``KEYSPACE``."""

KEYSPACE = (
    "exists",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hkeys",
    "hlen",
    "hmget",
    "hset",
    "incrby",
    "persist",
    "pexpire",
    "pttl",
    "rename",
    "sadd",
    "scard",
    "set",
    "sismember",
    "smembers",
    "srem",
    "sscan",
    "unlink",
    "xadd",
    "xdel",
    "xinfo|stream",
    "xlen",
    "xrange",
    "xread",
    "xrevrange",
    "xtrim",
    "zadd",
    "zmscore",
    "zrem",
    "zrevrange",
    "zscore",
)
"""On keys below the prefix only."""

MENDING = ("hsetnx", "type", "zcard")
"""What taking stock, mending and restoring need beyond that, on the same keys."""

SERVER = ("info", "time")
"""INFO tells the version, and how safe the data is; TIME is the clock of all workers."""

SENTINEL = ("client|setname", "ping", "sentinel|masters")
"""What the same user may do on Sentinels: ask who the primary is."""


def commands(*, since_7_2: bool = True) -> tuple[str, ...]:
    """The commands of the store's user, sorted, as ACL rules name them.

    Args:
        since_7_2: also what servers before Redis 7.2 do not know, and refuse in a rule.
    """
    newer = SINCE_7_2 if since_7_2 else ()
    return tuple(
        sorted((*CONNECTING, *newer, *IN_A_CLUSTER, *WAITING, *SCRIPTS, *KEYSPACE, *MENDING, *SERVER))
    )


def key_pattern(prefix: str) -> str:
    """The ACL pattern of all keys below a prefix; what would be a wildcard in it stands for itself.

    White space cannot be part of a pattern: any one character takes its place.
    """
    return re.sub(r"\s", "?", re.sub(r"([*?\[\]\\])", r"\\\1", prefix)) + ":*"


def rules(prefix: str | None = None, *, since_7_2: bool = True) -> str:
    """The rules of the store's user, as they stand in an ACL file or after ``ACL SETUSER name on >password``.

    Args:
        prefix: that of the store; None: the default.
        since_7_2: False for servers before Redis 7.2.
    """
    pattern = key_pattern(Settings.model_fields["prefix"].default if prefix is None else prefix)
    return _rules(f"~{pattern}", commands(since_7_2=since_7_2))


def sentinel_rules(*, since_7_2: bool = True) -> str:
    """The rules of the store's user on Sentinels, which have no keys."""
    return _rules("", sorted((*SENTINEL, *(SINCE_7_2[:1] if since_7_2 else ()))))


def _rules(keys: str, names: tuple[str, ...] | list[str]) -> str:
    reset = ["resetkeys", "resetchannels", "-@all"]
    return " ".join([*reset, *([keys] if keys else []), *(f"+{name}" for name in names)])
