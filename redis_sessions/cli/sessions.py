"""`sessions`, `rename` and `delete`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from redis_sessions.cli.exits import Exit, fail
from redis_sessions.cli.missing import no_flow, no_session
from redis_sessions.cli.options import Deadline, Flow, Json, Prefix, Url, Where
from redis_sessions.cli.output import brief, confirmed, dump, moment, notice, say, sender, table, visible
from redis_sessions.cli.running import run
from redis_sessions.errors import SessionNotFoundError

if TYPE_CHECKING:
    from redis_sessions.models import Message, RenameResult
    from redis_sessions.store import SessionStore

    Listed = tuple[str, str, Message | None]

_AT_ONCE = 20
_COUNTED = 1_000


def register(app: typer.Typer) -> None:
    app.command()(sessions)
    app.command()(rename)
    app.command()(delete)


def sessions(
    ctx: typer.Context,
    flow: Annotated[
        str | None,
        typer.Argument(metavar="FLOW", help="Without it: the sessions of all flows.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many sessions.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out this many first.")] = 0,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """List sessions, newest activity first.

    Without a flow: those of all flows, flow by flow.

    --json prints an array of {"flow_id", "session_id", "last_message_at"}.
    """
    if flow is None and offset:
        fail(Exit.BAD_INPUT, "--offset needs a FLOW")

    async def read(store: "SessionStore") -> "list[Listed]":
        if flow is None:
            names = await _of_all_flows(store, limit)
        else:
            names = [(flow, name) for name in await store.sessions(flow, limit=limit, offset=offset)]
            if not names and not await store.has_flow(flow):
                no_flow(flow)
        return await _with_last_message(store, names)

    found = run(Where.of(ctx, url, prefix, deadline), read)
    if json:
        dump(
            [
                {
                    "flow_id": in_flow,
                    "session_id": name,
                    "last_message_at": last.model_dump(mode="json")["timestamp"] if last else None,
                }
                for in_flow, name, last in found
            ]
        )
        return
    if not found:
        notice("there are no sessions" + (" after this offset" if offset else ""))
        return
    rows = [
        [
            *([visible(in_flow)] if flow is None else []),
            visible(name),
            moment(last.timestamp) if last else "",
            f"{sender(last)}: {brief(last.text)}" if last else "",
        ]
        for in_flow, name, last in found
    ]
    columns = ["Flow"] if flow is None else []
    table([*columns, "Session", "Time (UTC)", "Last message"], rows, wide="Last message")
    if len(found) == limit:
        notice(
            f"more: --limit {limit * 10}" + (f", or --offset {offset + limit}" if flow is not None else "")
        )


async def _of_all_flows(store: "SessionStore", limit: int) -> list[tuple[str, str]]:
    names: list[tuple[str, str]] = []
    for flow in await store.flows():
        names += [(flow, name) for name in await store.sessions(flow, limit=limit - len(names))]
        if len(names) >= limit:
            break
    return names


async def _with_last_message(store: "SessionStore", names: list[tuple[str, str]]) -> "list[Listed]":
    listed: list[Listed] = []
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        newest = await asyncio.gather(*(store.history(flow, name, limit=1) for flow, name in some))
        listed += [
            (flow, name, found[0] if found else None)
            for (flow, name), found in zip(some, newest, strict=True)
        ]
    return listed


def rename(
    ctx: typer.Context,
    flow: Flow,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The session's present id.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The id it gets.", show_default=False)],
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Give a session another id. If NEW is a session already, the two are merged, and stay so.

    --json prints {"flow_id", "old_session_id", "session_id", "outcome", "messages"}; the outcome is
    "renamed", "merged" or "unchanged", and messages counts what is in the session now.
    """

    async def work(store: "SessionStore") -> "RenameResult":
        try:
            return await store.rename_session(flow, old, new)
        except SessionNotFoundError:
            return await no_session(store, flow, old)

    result = run(Where.of(ctx, url, prefix, deadline), work)
    if json:
        dump(
            {
                "flow_id": flow,
                "old_session_id": old,
                "session_id": result.session_id,
                "outcome": result.outcome,
                "messages": result.messages,
            }
        )
        return
    count = _counted(result.messages, "message")
    match result.outcome:
        case "renamed":
            say(f"Renamed session {old!r} to {new!r}: {count}.")
        case "merged":
            say(f"Merged session {old!r} into {new!r}, which was there already: {count} together.")
        case "unchanged":
            say(f"Session {old!r} has this id already: {count}.")


def delete(
    ctx: typer.Context,
    flow: Flow,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="The session to delete.", show_default=False)
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Delete all sessions of the flow instead.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Needed where nobody can answer.")
    ] = False,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Delete a session, or with --all a whole flow, for good.

    --json prints {"flow_id", "session_id", "sessions", "messages"}: how many were deleted; with --all
    session_id and messages are null.
    """
    if (session is None) != everything:
        fail(Exit.BAD_INPUT, "name the SESSION to delete, or give --all to delete every session of the flow")
    where = Where.of(ctx, url, prefix, deadline)
    if not yes:
        if not sys.stdin.isatty():
            fail(
                Exit.BAD_INPUT,
                "nobody can confirm here: nothing was deleted",
                "give --yes to delete without a question",
            )
        question = run(where, lambda store: _question(store, flow, session))
        if not confirmed(question):
            fail(Exit.NOT_FOUND, "not confirmed: nothing was deleted")
    if session is None:
        count = run(where, lambda store: _delete_all(store, flow))
        answer = {"flow_id": flow, "session_id": None, "sessions": count, "messages": None}
        text = f"Deleted flow {flow!r}: {_counted(count, 'session')}."
    else:
        count = run(where, lambda store: _delete_one(store, flow, session))
        answer = {"flow_id": flow, "session_id": session, "sessions": 1, "messages": count}
        text = f"Deleted session {session!r}: {_counted(count, 'message')}."
    if json:
        dump(answer)
    else:
        say(text)


async def _question(store: "SessionStore", flow: str, session: str | None) -> str:
    if session is None:
        names = await store.sessions(flow, limit=_COUNTED)
        if not names and not await store.has_flow(flow):
            no_flow(flow)
        count = _counted(len(names), "session") + (" or more" if len(names) == _COUNTED else "")
        return f"Delete flow {flow!r} with {count}?"
    last = await store.history(flow, session, limit=1)
    if not last:
        return await no_session(store, flow, session)
    return f"Delete session {session!r} of flow {flow!r}, last message {moment(last[0].timestamp)} UTC?"


async def _delete_one(store: "SessionStore", flow: str, session: str) -> int:
    return await store.delete_session(flow, session) or await no_session(store, flow, session)


async def _delete_all(store: "SessionStore", flow: str) -> int:
    if not await store.has_flow(flow):
        no_flow(flow)
    return await store.delete_flow(flow)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
