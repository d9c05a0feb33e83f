"""`add` and `history`."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from redis_sessions.cli.exits import Exit, fail, failures
from redis_sessions.cli.missing import no_flow, no_session
from redis_sessions.cli.options import Deadline, Flow, Json, Prefix, Url, Where
from redis_sessions.cli.output import as_json, dump, excerpt, moment, notice, say, sender, table, visible
from redis_sessions.cli.running import run

if TYPE_CHECKING:
    from redis_sessions.models import Message
    from redis_sessions.store import SessionStore

_NAMES = {"User": "User", "Machine": "AI"}  # Langflow's own


def register(app: typer.Typer) -> None:
    app.command()(add)
    app.command()(history)


def add(
    ctx: typer.Context,
    flow: Flow,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What was said; - reads it from stdin.", show_default=False)
    ],
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="ID", help="The conversation. [default: the flow's id]"),
    ] = None,
    sent_by: Annotated[str, typer.Option("--sender", metavar="TEXT", help="User or Machine.")] = "User",
    sender_name: Annotated[
        str | None,
        typer.Option("--sender-name", metavar="TEXT", help="[default: User, or AI for a Machine]"),
    ] = None,
    user_id: Annotated[
        str | None, typer.Option("--user-id", metavar="ID", help="The person that it is stored for.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner", metavar="ID", help="Who the flow must belong to; the first one named gets it."
        ),
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option("--timestamp", metavar="TIME", help="As in 2026-01-31T12:00:00Z. [default: now]"),
    ] = None,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Store a message. A session starts with its first message.

    --json prints the message: an object with the fields of redis_sessions.Message and its cursor.
    """
    said_at = _time(timestamp) if timestamp is not None else None
    content = _stdin(Where.of(ctx, url, prefix, deadline)) if text == "-" else text
    if not content:
        fail(Exit.BAD_INPUT, "the text is empty: nothing was stored")
    message = run(
        Where.of(ctx, url, prefix, deadline),
        lambda store: store.append(
            flow,
            text=content,
            sender=sent_by,
            sender_name=sender_name if sender_name is not None else _NAMES.get(sent_by, sent_by),
            session_id=session,
            user_id=user_id,
            owner=owner,
            timestamp=said_at,
        ),
    )
    if json:
        dump(as_json(message))
    else:
        say(f"Stored message {message.id} in session {visible(message.session_id)!r}.")


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        fail(Exit.BAD_INPUT, "--timestamp is not a time", "write it as in 2026-01-31T12:00:00Z")
    if when.utcoffset() is None:
        fail(
            Exit.BAD_INPUT,
            "--timestamp has no time zone",
            "end it with Z for UTC, as in 2026-01-31T12:00:00Z",
        )
    return when


def _stdin(where: Where) -> str:
    if sys.stdin.isatty():
        notice("reading the text from the terminal; Ctrl-D on a line of its own ends it")
    with failures():
        most = where.load().max_text_bytes
    raw = sys.stdin.buffer.read(most + len("\r\n") + 1)  # so that an endless stdin is too large, not endless
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        if len(raw) > most:  # perhaps cut within a character
            fail(Exit.BAD_INPUT, f"the text is over {most:,} bytes (max_text_bytes): nothing was stored")
        fail(Exit.BAD_INPUT, "stdin is not UTF-8: nothing was stored", "convert it, for example with iconv")
    return text.removesuffix("\n").removesuffix("\r")


def history(
    ctx: typer.Context,
    flow: Flow,
    session: Annotated[
        str | None,
        typer.Argument(metavar="SESSION", help="Without it: the newest of all sessions.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many messages.")] = 20,
    before: Annotated[
        str | None,
        typer.Option(
            "--before", metavar="CURSOR", help="The page before this message's cursor (see --json)."
        ),
    ] = None,
    user_id: Annotated[
        str | None, typer.Option("--user-id", metavar="ID", help="Only messages stored for this person.")
    ] = None,
    sent_by: Annotated[
        str | None, typer.Option("--sender", metavar="TEXT", help="Only from this sender.")
    ] = None,
    sender_name: Annotated[
        str | None, typer.Option("--sender-name", metavar="TEXT", help="Only from a sender of this name.")
    ] = None,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Show the newest messages of a session or a flow, oldest first.

    --json prints an array of messages: the fields of redis_sessions.Message and a cursor for --before.
    """
    narrowed = any(option is not None for option in (before, user_id, sent_by, sender_name))
    if session is None and narrowed:
        fail(Exit.BAD_INPUT, "--before, --user-id, --sender and --sender-name need a SESSION")

    async def read(store: "SessionStore") -> "list[Message]":
        if session is None:
            newest = await store.recent(flow, limit=limit)
            if not newest and not await store.has_flow(flow):
                no_flow(flow)
            return newest[::-1]
        found = await store.history(
            flow,
            session,
            limit=limit,
            before=before,
            user_id=user_id,
            sender=sent_by,
            sender_name=sender_name,
        )
        if found or (narrowed and await store.history(flow, session, limit=1)):
            return found
        return await no_session(store, flow, session)

    found = run(Where.of(ctx, url, prefix, deadline), read)
    if json:
        dump([as_json(message) for message in found])
        return
    if session is None:
        rows = [[moment(m.timestamp), visible(m.session_id), sender(m), excerpt(m.text)] for m in found]
        table(["Time (UTC)", "Session", "From", "Text"], rows, wide="Text")
    else:
        table(
            ["Time (UTC)", "From", "Text"],
            [[moment(m.timestamp), sender(m), excerpt(m.text)] for m in found],
            wide="Text",
        )
    if len(found) == limit:
        more = f"--limit {limit * 5}, or name a SESSION" if session is None else f"--before {found[0].cursor}"
        notice(f"older messages: {more}")
