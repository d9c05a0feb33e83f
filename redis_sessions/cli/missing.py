"""What to say when something is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from redis_sessions.cli.exits import Exit, fail

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore


def no_flow(flow: str) -> NoReturn:
    """End the command: the flow is not there."""
    fail(Exit.NOT_FOUND, f"there is no flow {flow!r}", "`redis-sessions sessions` lists what there is")


async def no_session(store: SessionStore, flow: str, session: str) -> NoReturn:
    """End the command: the flow has no such session, or is not there itself."""
    if not await store.has_flow(flow):
        no_flow(flow)
    fail(
        Exit.NOT_FOUND,
        f"flow {flow!r} has no session {session!r}",
        "`redis-sessions sessions FLOW` lists those it has",
    )
