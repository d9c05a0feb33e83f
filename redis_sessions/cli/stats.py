"""`stats`."""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from typing import TYPE_CHECKING, Annotated

import typer

from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, say, table, visible
from redis_sessions.cli.running import run

if TYPE_CHECKING:
    from redis_sessions.stats import Stats

_BAR = 40


def register(app: typer.Typer) -> None:
    app.command()(stats)


def stats(
    ctx: typer.Context,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="How many sessions to look into at the most.")
    ] = 10_000,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Show how much the store holds: flows, sessions, messages, bytes, the largest, and their age.

    Sessions and ages are counted. Of more sessions than --sample, messages and bytes are estimated.

    --json prints {"flows", "sessions", "messages", "bytes", "exact", "sampled", "by_flow", "largest",
    "ages"}; bytes are null where the server does not tell them.
    """
    from redis_sessions.stats import collect

    found = run(Where.of(ctx, url, prefix, deadline), lambda store: collect(store, sample=sample))
    if json:
        dump(found.as_json())
        return
    about = "" if found.exact else "about "
    say(
        f"Flows:     {found.flows:,}\n"
        f"Sessions:  {found.sessions:,}\n"
        f"Messages:  {about}{found.messages:,}\n"
        f"Memory:    {about if found.bytes is not None else ''}{_bytes(found.bytes)}"
    )
    if found.sessions:
        _show(found)
    if not found.exact:
        notice(f"estimated from {found.sampled:,} sessions, drawn at random; --sample looks into more")


def _show(found: "Stats") -> None:
    from redis_sessions.stats import AGES

    labels = [*(f"within {label}" for label, _ in AGES), "older"]
    most = max(found.ages)
    say("")
    table(
        ["Last message", "Sessions", ""],
        [
            [label, f"{count:,}", "█" * max(bool(count), count * _BAR // most) if most else ""]
            for label, count in zip(labels, found.ages, strict=True)
        ],
        wide="",
    )
    say("")
    table(
        ["Largest flows", "Sessions", "Messages", "Memory"],
        [
            [visible(flow.flow_id), f"{flow.sessions:,}", f"{flow.messages:,}", _bytes(flow.bytes)]
            for flow in found.by_flow[:10]
        ],
        wide="Largest flows",
    )
    say("")
    table(
        ["Largest sessions", "Flow", "Messages", "Memory"],
        [
            [visible(one.session_id), visible(one.flow_id), f"{one.messages:,}", _bytes(one.bytes)]
            for one in found.largest[:10]
        ],
        wide="Largest sessions",
    )


def _bytes(count: int | None) -> str:
    if count is None:
        return "not told"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
