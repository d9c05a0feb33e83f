"""The command `redis-sessions`: its options, its commands, and its way out."""

import traceback
from typing import Annotated

import typer

from redis_sessions.cli import (
    bench,
    doctor,
    info,
    key,
    messages,
    migrate,
    serve,
    sessions,
    stats,
    tail,
    transfer,
)
from redis_sessions.cli.exits import HELP, Exit
from redis_sessions.cli.options import Deadline, Prefix, Url, Where
from redis_sessions.cli.output import prepare_streams, report

app: typer.Typer = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=HELP,
)


def _version(wanted: bool) -> None:
    if wanted:
        from redis_sessions import __version__

        typer.echo(f"redis-sessions {__version__}")
        raise typer.Exit


@app.callback()
def redis_sessions(
    ctx: typer.Context,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Chat sessions in Redis: serve them, look at them, change them.

    Every setting is also an environment variable, REDIS_SESSIONS_ and its name: REDIS_SESSIONS_URL,
    REDIS_SESSIONS_PASSWORD_FILE, REDIS_SESSIONS_TTL and so on.
    """
    ctx.obj = Where(url, prefix, deadline)


for _module in (serve, key, messages, sessions, tail, info, doctor, stats, migrate, bench, transfer):
    _module.register(app)


def run() -> int:
    """Run with this process's arguments; the exit code."""
    prepare_streams()
    try:
        app(prog_name="redis-sessions")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.DONE
    except Exception:  # noqa: BLE001 - whatever it is, its code must not be taken for "not there"
        traceback.print_exc()
        report("this is a bug of redis-sessions; please report it with the lines above")
        return Exit.BUG
    return Exit.DONE
