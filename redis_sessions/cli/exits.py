"""Exit codes, and the one place where errors become them."""

from __future__ import annotations

import contextlib
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

import typer

from redis_sessions import errors
from redis_sessions.cli.output import report

if TYPE_CHECKING:
    from collections.abc import Iterator


class Exit(IntEnum):
    """What a script can tell from the exit code. Part of the public interface: numbers are never reused."""

    DONE = 0
    NOT_FOUND = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    CONFLICT = 4
    UNKNOWN = 5
    FAILED = 6
    DIFFERENT = 7
    BUG = 70
    INTERRUPTED = 130


HELP = """\b
Exit codes:
  0    done
  1    not there, or you did not confirm; nothing was changed
  2    wrong usage, input or settings; nothing was changed
  3    Redis is not available, or refused; nothing was changed
  4    conflict: what is stored forbids it; nothing was changed
  5    unknown: the write may have happened; look before you repeat it
  6    the stored data, or this machine, does not allow it
  7    import, export: done; what is listed is not equal on both sides
  130  interrupted; a write may have happened (serve and tail end with 0 on Ctrl-C)
"""


def fail(code: Exit, text: str, hint: str | None = None) -> NoReturn:
    """End the command: one line on stderr that says what happened, and perhaps one that says what to do."""
    report(text, hint)
    raise typer.Exit(int(code))


def code_of(error: errors.RedisSessionsError) -> Exit:
    match error:
        case errors.StoreUnavailableError():
            return Exit.UNKNOWN if error.write_may_have_happened else Exit.UNAVAILABLE
        case errors.NotFoundError():
            return Exit.NOT_FOUND
        case errors.InvalidInputError() | errors.ConfigurationError():
            return Exit.BAD_INPUT
        case errors.ConflictError():
            return Exit.CONFLICT
        case _:
            return Exit.FAILED


@contextlib.contextmanager
def failures(server: str | None = None) -> Iterator[None]:
    """Turn the errors of the package, and Ctrl-C, into exit codes.

    Args:
        server: where Redis is, without credentials; named when it is not available.
    """
    try:
        yield
    except errors.RedisSessionsError as error:
        fail(code_of(error), str(error), _hint(error, server))
    except KeyboardInterrupt:
        raise typer.Exit(int(Exit.INTERRUPTED)) from None


def _hint(error: errors.RedisSessionsError, server: str | None) -> str | None:
    if isinstance(error, errors.NotReplicatedError):
        return "see that the replicas are up; repeating the command would do it twice"
    if isinstance(error, errors.StoreUnavailableError) and server is not None:
        return f"the store is {server}; name another with --url or REDIS_SESSIONS_URL" + _about_tls(
            error, server
        )
    return None


def _about_tls(error: errors.RedisSessionsError, server: str) -> str:
    """A port that speaks TLS hangs up on who does not; one that does not waits for the end of the line."""
    if server.startswith("redis://") and "connection was lost" in str(error):
        return "; if its port speaks TLS, write rediss://"
    if server.startswith("rediss://") and "no answer in time" in str(error):
        return "; if its port does not speak TLS, write redis://"
    return ""
