"""`bench`."""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from typing import Annotated

import typer

from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, table
from redis_sessions.cli.running import run


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    ctx: typer.Context,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Calls of each kind.")] = 200,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Measure this deployment, and compare it with raw Redis commands.

    Takes a few seconds. Writes into a flow of its own, which is deleted at the end. Calls of the store and
    raw commands take turns on one connection.

    --json prints an array of {"name", "raw", "p50_us", "p99_us", "raw_us", "ratio", "rate"}; "rate" is calls
    a second.
    """
    from redis_sessions.bench import as_json, measure

    results = run(Where.of(ctx, url, prefix, deadline), lambda store: measure(store, rounds=rounds))
    if json:
        dump(as_json(results))
        return
    table(
        ["Call", "Median", "99 %", "A second", "Raw Redis", "Median", "Ratio"],
        [
            [
                result.name,
                _time(result.p50_us),
                _time(result.p99_us),
                f"{result.rate:,.0f}",
                result.raw,
                _time(result.raw_us) if result.raw_us is not None else "",
                f"{result.ratio:.2f} ×" if result.ratio is not None else "",
            ]
            for result in results
        ],
        wide="Call",
    )
    notice("times are this process's: event loop, network and server together")


def _time(microseconds: float) -> str:
    return f"{microseconds:,.0f} µs" if microseconds < 10_000 else f"{microseconds / 1_000:,.1f} ms"
