"""`tail`."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from redis_sessions.cli.exits import Exit
from redis_sessions.cli.options import Deadline, Flow, Json, Prefix, Url, Where
from redis_sessions.cli.output import as_json, dump, excerpt, moment, notice, say, sender, visible
from redis_sessions.cli.running import run
from redis_sessions.errors import AuthenticationError, FeedGapError, StoreUnavailableError, TLSError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.models import Event
    from redis_sessions.store import SessionStore

_NO_EVENT = "0-1"
"""Reads as an event's id and is none: asking for what follows it tells where the feed ends."""
_PAUSE = 0.5


def register(app: typer.Typer) -> None:
    app.command()(tail)


def tail(
    ctx: typer.Context,
    flow: Flow,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Only this session.", show_default=False)
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="EVENT",
            help="Go on behind this event (its id in --json); 0-0 for all that the feed has. [default: now]",
        ),
    ] = None,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Follow changes as they happen, until Ctrl-C.

    A session is followed through renames. When Redis goes away, tail waits for it and goes on where it was.

    --json prints one object a line: {"type", "id", "flow_id", "session_id", "message_id", "message",
    "old_session_id"}. The type is "created", "updated", "deleted" or "renamed"; or "gap" when changes were
    missed because the feed no longer had them: then read the history afresh.
    """
    show = _show_json if json else _show

    async def work(store: "SessionStore") -> None:
        start = after if after is not None else await _end_of_feed(store, flow, session)
        what = f"flow {flow!r}" if session is None else f"session {session!r} of flow {flow!r}"
        there = "" if await store.has_flow(flow) else "; nothing is in it yet"
        notice(f"following {what}{there}; Ctrl-C ends")
        await _follow(store, flow, session, start, show, show_gap=_gap_json if json else None)

    try:
        run(Where.of(ctx, url, prefix, deadline), work)
    except typer.Exit as end:
        if end.exit_code != Exit.INTERRUPTED:
            raise


async def _end_of_feed(store: "SessionStore", flow: str, session: str | None) -> str:
    try:
        async with contextlib.aclosing(store.watch(flow, session_id=session, after=_NO_EVENT)) as events:
            await anext(events)
    except FeedGapError as error:
        return error.resume_after
    raise AssertionError


async def _follow(
    store: "SessionStore",
    flow: str,
    session: str | None,
    after: str,
    show: "Callable[[Event], None]",
    show_gap: "Callable[[str, str], None] | None",
) -> None:
    while True:
        try:
            async with contextlib.aclosing(store.watch(flow, session_id=session, after=after)) as events:
                async for event in events:
                    after = event.id
                    show(event)
                    if event.type == "renamed" and session is not None and event.session_id != session:
                        session = event.session_id
                        break
        except FeedGapError as error:
            notice("changes were missed here: the feed no longer has them; going on with what follows")
            after = error.resume_after
            if show_gap is not None:
                show_gap(flow, after)
        except (AuthenticationError, TLSError):
            raise  # waiting does not mend it
        except StoreUnavailableError as error:
            notice(f"{error}; waiting for it, Ctrl-C ends")
            await _until_it_answers(store)
            notice("Redis answers again; going on")


async def _until_it_answers(store: "SessionStore") -> None:
    while True:
        try:
            await store.ping()
        except (AuthenticationError, TLSError):
            raise
        except StoreUnavailableError:
            await asyncio.sleep(_PAUSE)
        else:
            return


def _show(event: "Event") -> None:
    if event.type == "renamed":
        detail = f"was {visible(event.old_session_id or '')}"
    elif event.message is not None:
        message = event.message
        text = excerpt(message.text).replace("\n", "\n    ")
        detail = f"{moment(message.timestamp)}  {sender(message)}: {text}"
    elif event.message_id is not None:
        detail = f"message {event.message_id}" + ("" if event.type == "deleted" else ", which is gone by now")
    else:
        detail = "the whole session"
    say(f"{event.type:<7}  {visible(event.session_id)}  {detail}")


def _show_json(event: "Event") -> None:
    dump(
        _line(event.type, event.id, event.flow_id)
        | {
            "session_id": event.session_id,
            "message_id": event.message_id,
            "message": as_json(event.message) if event.message is not None else None,
            "old_session_id": event.old_session_id,
        }
    )


def _gap_json(flow: str, after: str) -> None:
    dump(_line("gap", after, flow))


def _line(kind: str, place: str, flow: str) -> dict[str, Any]:
    return {
        "type": kind,
        "id": place,
        "flow_id": flow,
        "session_id": None,
        "message_id": None,
        "message": None,
        "old_session_id": None,
    }
