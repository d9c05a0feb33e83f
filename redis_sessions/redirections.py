"""Slots on the move: MOVED and ASK followed by commands that belong together.

What follows a redirected command in its pipeline is carried out after it, also what was answered already: the
second HGET of a record tells nothing about a range that was read after it (``reader.py``), and a WAIT stays
with its write on one connection, for it waits for what that connection has written.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from redis.exceptions import AskError, MovedError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio.cluster import ClusterNode

    from redis_sessions.clients import Cluster

    Commands = Sequence[tuple[Any, ...]]
    Talk = Callable[[ClusterNode, Commands], Awaitable[list[Any]]]
    """Sends commands to a node, one behind the other on one connection, and gives the replies."""

REDIRECTIONS = (MovedError, AskError, TryAgainError)
WAITING = frozenset({"WAIT", "WAITAOF"})
"""Commands without a key, about what was sent before them."""
_MOST = 5
"""Redirections that a command follows: a resharding moves a slot once."""


async def follow(
    client: Cluster,
    key: bytes,
    commands: Commands,
    replies: Sequence[Any],
    talk: Talk,
) -> list[Any]:
    """The replies of commands, some of which were answered with a redirection.

    From the first of these on they are carried out again, in order; what was carried out before it is not.
    TRYAGAIN (some of the keys have moved, some have not) stays a reply, as does a redirection to a node that
    is not known yet: the attempt ends with it, and the next one begins later.
    """
    place = next(place for place, reply in enumerate(replies) if isinstance(reply, REDIRECTIONS))
    done = list(replies[:place])
    redirection = replies[place]
    while place < len(commands):
        end = place + 1
        while end < len(commands) and commands[end][0] in WAITING:
            end += 1
        answers = await _carry_out(client, key, commands[place:end], redirection, talk)
        done += answers
        place, redirection = end, None
    return done


async def _carry_out(client: Cluster, key: bytes, unit: Commands, redirection: Any, talk: Talk) -> list[Any]:
    """One command, and what waits for it, wherever redirections lead."""
    answers: list[Any] = [redirection] * len(unit)
    if redirection is None:
        answers = await talk(await client.primary_of(key), unit)
    for _ in range(_MOST):
        match answers[0]:
            case MovedError() as moved:
                done = client.nodes_manager.move_slot(moved)
                if inspect.isawaitable(done):  # since redis-py 8
                    await done
                before: Commands = ()
            case AskError():
                before = (("ASKING",),)
            case _:
                break
        node = client.nodes_manager.get_node(host=answers[0].host, port=answers[0].port)
        if node is None:
            break
        answers = (await talk(node, (*before, *unit)))[len(before) :]
    return answers
