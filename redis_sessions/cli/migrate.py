"""`migrate`."""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from typing import TYPE_CHECKING, Annotated

import typer

from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, say
from redis_sessions.cli.running import run

if TYPE_CHECKING:
    from redis_sessions.migration import Migration

_EVERY = 1_000


def register(app: typer.Typer) -> None:
    app.command()(migrate)


def migrate(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Convert what earlier versions stored to the present format.

    Not needed to use the store: older formats are read, and what is changed is converted. Everything may go
    on meanwhile. May be run again. Do it when every process has the version that this one has.

    --json prints {"format", "stored", "sessions", "old_sessions", "old_messages", "converted"}.
    """
    from redis_sessions import migration

    def progress(done: "Migration") -> None:
        if done.sessions % _EVERY == 0:
            notice(f"{done.sessions:,} sessions, {done.old_messages:,} messages of an older format")

    found = run(
        Where.of(ctx, url, prefix, deadline),
        lambda store: migration.migrate(store, dry_run=dry_run, on_session=progress),
    )
    if json:
        dump(found.as_json())
        return
    old = f"{found.old_messages:,} messages in {found.old_sessions:,} of {found.sessions:,} sessions"
    if dry_run:
        say(f"Of an older format than {found.format}: {old}. Nothing was changed.")
    else:
        say(f"Converted to format {found.format}: {old}.")
