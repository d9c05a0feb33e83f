"""The command line: ``redis-sessions``, thin commands over :class:`~redis_sessions.SessionStore`.

One file a group of commands. What all of them share: ``options`` (where Redis is), ``running`` (an open
store in an event loop), ``output`` (tables, JSON, text that is safe to show) and ``exits`` (exit codes).
"""

from __future__ import annotations

import sys

_NEEDED = {"click", "rich", "typer"}


def main() -> int:
    """Run the command line with this process's arguments; returns the exit code."""
    try:
        from redis_sessions.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        print(
            "error: the command line needs typer and rich: pip install 'redis-sessions[cli]'", file=sys.stderr
        )
        return 2
    return run()


__all__ = ["main"]
