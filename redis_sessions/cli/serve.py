"""`serve`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from redis_sessions.cli.options import Deadline, Prefix, Url, Where

PORT = 7861
"""The one above Langflow's 7860, so that both run side by side."""


_ENV = "REDIS_SESSIONS_MONITOR_"


class AccessKind(StrEnum):
    """Who gets in."""

    OPEN = "open"
    KEYS = "keys"
    LANGFLOW = "langflow"


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    ctx: typer.Context,
    host: Annotated[
        str,
        typer.Option(metavar="HOST", help="Address to listen on; with open access one of this machine only."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, help="Port to listen on (Langflow's own is 7860); 0 for any free one."
        ),
    ] = PORT,
    access: Annotated[
        AccessKind | None,
        typer.Option(
            help=f"Who gets in ({_ENV}ACCESS; default: open). open: everybody on this machine, to all. "
            "keys: who has an API key, to the flows of its owner. langflow: who a Langflow knows, by the "
            "same credentials, to their own flows.",
            show_default=False,
        ),
    ] = None,
    keys_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"For --access keys: the lines that `key new` prints ({_ENV}KEYS_FILE; or the lines "
            f"themselves, comma separated, in {_ENV}KEYS).",
            show_default=False,
        ),
    ] = None,
    langflow_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"For --access langflow: where it is, as http://127.0.0.1:7860 ({_ENV}LANGFLOW_URL).",
            show_default=False,
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="An origin whose pages may read answers, as https://chat.example; may be repeated; * for "
            f"all ({_ENV}CORS_ORIGINS, comma separated; default: none).",
            show_default=False,
        ),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Requests that each caller may make, counted in Redis, as 600/minute or "
            f"20/second;10000/hour ({_ENV}RATE_LIMIT; default: no limit).",
            show_default=False,
        ),
    ] = None,
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

    /health, /ready, /metrics and /openapi.json answer everybody. Set by the environment only, each with
    REDIS_SESSIONS_MONITOR_ before it: MAX_BODY_BYTES (8388608), MAX_HEADER_BYTES (32768), MAX_TARGET_BYTES
    (path and query; 32768); MAX_STREAMS (live feeds; 10000), and for each of them STREAM_KEEP_ALIVE (15, in
    seconds), STREAM_CHECK (15; how often it is looked whether the reader may still see the flow) and
    STREAM_PATIENCE (10; a reader that takes nothing for so long is cut off).
    """
    from redis_sessions.cli.serving import serve_until_stopped

    serve_until_stopped(
        Where.of(ctx, url, prefix, deadline),
        host,
        port,
        demo=demo,
        options={
            "access": access.value if access else None,
            "keys_file": keys_file,
            "langflow_url": langflow_url,
            "cors_origins": cors_origin or None,
            "rate_limit": rate_limit,
        },
    )
