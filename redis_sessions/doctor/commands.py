"""Which commands the ACL forbids, found out without carrying out any of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from redis_sessions.scripting import NAMES, source

if TYPE_CHECKING:
    from redis_sessions.parts import Parts
    from redis_sessions.transport import Command

_FLOW = "doctor"
_CALLED = re.compile(rb"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
_READS = (
    "EXISTS GET HGET HGETALL HMGET SCARD SISMEMBER SSCAN TIME XLEN XRANGE XREAD XREVRANGE ZMSCORE ZREVRANGE"
)
_WRITES = "INCRBY PEXPIRE SADD SET SREM"
_OF_TOOLS = {
    "convert_edits",
    "convert_session",
    "mend_adopted",
    "mend_alias",
    "mend_edits",
    "mend_numbers",
    "mend_session",
    "restore_session",
    "set_aside",
}
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "HDEL": ("f",),
    "HEXISTS": ("f",),
    "HGET": ("f",),
    "HMGET": ("f",),
    "HSET": ("f", "v"),
    "HSETNX": ("f", "v"),
    "INCRBY": ("1",),
    "PEXPIRE": ("1000",),
    "SADD": ("m",),
    "SET": ("v",),
    "SISMEMBER": ("m",),
    "SREM": ("m",),
    "SSCAN": ("0",),
    "XADD": ("*", "f", "v"),
    "XDEL": ("1-1",),
    "XRANGE": ("-", "+"),
    "XREVRANGE": ("+", "-"),
    "XTRIM": ("MAXLEN", "1"),
    "ZADD": ("1", "m"),
    "ZMSCORE": ("m",),
    "ZREM": ("m",),
    "ZREVRANGE": ("0", "0"),
    "ZSCORE": ("m",),
}
"""What follows the key, for the commands that need more than one."""


async def refused_commands(parts: Parts) -> list[str]:
    """The commands that this user may not use, and EVAL or EVALSHA.

    They are queued in a transaction that is then discarded: the ACL is asked when a command is queued.

    Raises:
        StoreUnavailableError: Redis did not answer, or allows no transaction (then nothing can be said).
    """
    key = parts.keys.flow(_FLOW).ids
    await parts.calls.read(lambda: parts.transport.run(key, ("MULTI",), ("DISCARD",)))
    names = needed_commands()
    commands = [_command(name, key) for name in names]
    replies = await parts.calls.read(
        lambda: parts.transport.replies(key, ("MULTI",), *commands, ("DISCARD",))
    )
    refused = [name for name, reply in zip(names, replies[1:-1], strict=True) if _is_refused(reply)]
    code = source("set_owner")
    scripts: list[Command] = [
        ("EVAL", code.text, 1, key, "", ""),  # an owner of none stays none
        ("EVALSHA", code.sha, 1, key, "", ""),
    ]
    replies = await parts.calls.read(lambda: parts.transport.replies(key, *scripts))
    return refused + [
        str(script[0])
        for script, reply in zip(scripts, replies, strict=True)
        if isinstance(reply, RedisError) and not isinstance(reply, NoScriptError)
    ]


def needed_commands() -> list[str]:
    """Every command that the store's scripts and reads use, sorted; not those of the tools."""
    names = set(_READS.split()) | set(_WRITES.split())
    for script in set(NAMES) - _OF_TOOLS:
        names |= {name.decode() for name, _ in _CALLED.findall(source(script).text)}
    return sorted(names)


def _command(name: str, key: bytes) -> Command:
    match name:
        case "TIME":
            return (name,)
        case "RENAME":
            return (name, key, key)
        case "XINFO":
            return (name, "STREAM", key)
        case "XREAD":
            return (name, "STREAMS", key, "0")
        case _:
            return (name, key, *_ARGUMENTS.get(name, ()))


def _is_refused(reply: object) -> bool:
    return isinstance(reply, NoPermissionError) or (isinstance(reply, RedisError) and "NOPERM" in str(reply))
