"""`key`: API keys for `serve --access keys`."""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from typing import Annotated

import typer

from redis_sessions.cli.exits import failures
from redis_sessions.cli.options import Json
from redis_sessions.cli.output import dump, notice, say

key: typer.Typer = typer.Typer(no_args_is_help=True, help="Make API keys for `serve --access keys`.")


def register(app: typer.Typer) -> None:
    app.add_typer(key, name="key")


@key.callback()
def _group() -> None:
    """Make API keys for `serve --access keys`."""


@key.command()
def new(
    owner: Annotated[
        str,
        typer.Option(
            metavar="OWNER",
            help="Whose flows the key opens: the owner they were stored with (in Langflow: the user's id).",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Print a new API key, once, and the line to configure it with.

    The key itself is kept nowhere: give it to the caller. The line has only its hash: put it into the file of
    `serve --keys-file`, or into REDIS_SESSIONS_MONITOR_KEYS.

    --json prints {"key", "hash", "owner"}.
    """
    with failures():
        from redis_sessions import limits
        from redis_sessions.cli.extras import need
        from redis_sessions.errors import InvalidInputError

        need("key", "redis_sessions.monitor")
        from redis_sessions.monitor.access import new_key

        whose = limits.owner(owner)
        if whose != whose.strip() or any(char in whose for char in ",\n\r"):
            raise InvalidInputError("an owner in a file of keys has no comma, line break or space around it")
        made, hashed = new_key()
    if json:
        dump({"key": made, "hash": hashed, "owner": whose})
        return
    say(f"key:   {made}\nline:  {hashed} {whose}")
    notice("the key is shown only now; the line goes into the file of serve --access keys --keys-file FILE")
