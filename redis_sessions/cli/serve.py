"""`serve`."""

from typing import Annotated

import typer

from redis_sessions.cli.options import Deadline, Prefix, Url, Where

PORT = 7861
"""The one above Langflow's 7860, so that both run side by side."""


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    ctx: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="Address to listen on; for now only of this machine: there is no login yet."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, help="Port to listen on (Langflow's own is 7860); 0 for any free one."
        ),
    ] = PORT,
    demo: Annotated[
        bool, typer.Option("--demo", help="Load a small demo conversation into an empty store.")
    ] = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Serve Langflow's monitor endpoints over HTTP, until Ctrl-C.

    Without a URL it serves from embedded://, a Valkey of its own with its data on this machine; or from
    memory:// where that cannot run.
    """
    from redis_sessions.cli.serving import serve_until_stopped

    serve_until_stopped(Where.of(ctx, url, prefix, deadline), host, port, demo=demo)
