"""Waiting until replicas have a write, before it is acknowledged.

WAIT (or WAITAOF) follows a write on its connection, in the same round trip: the server answers it when enough
replicas have everything up to that connection's last write. A script that finds its call carried out by an
earlier attempt writes too, for that reason (``lua/shared/feed.lua``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from redis_sessions.errors import NotReplicatedError
from redis_sessions.faults import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.connection import Connection
    from redis_sessions.settings import Settings
    from redis_sessions.transport import Command, Transport

_PART_OF_AN_ATTEMPT = 0.75
"""Of the time that an attempt has: the write itself takes some of it too."""


class Replication:
    """Sends writes, and waits for the replicas that the settings ask for."""

    def __init__(self, transport: Transport, connection: Connection, settings: Settings) -> None:
        self._transport = transport
        self._replicas = settings.wait_replicas
        self._aof = settings.wait_aof
        self._seconds = connection.attempt_timeout * _PART_OF_AN_ATTEMPT
        ms = int(self._seconds * 1_000)
        self._waiting: tuple[Command, ...] = ()
        if self._aof:
            self._waiting = (("WAITAOF", 1, self._replicas, ms),)
        elif self._replicas:
            self._waiting = (("WAIT", self._replicas, ms),)

    @property
    def waits(self) -> bool:
        """Whether writes are waited for at all."""
        return bool(self._waiting)

    async def run(self, key: bytes, command: Command, wrote: Callable[[Any], bool]) -> Any:
        """The reply to a command that may write; ``wrote`` tells from it whether it did.

        Raises:
            redis.exceptions.RedisError: as :meth:`Transport.run`.
            NotReplicatedError: it was carried out, and too few replicas have it.
        """
        reply, *answers = await self._transport.replies(key, command, *self._waiting)
        if isinstance(reply, RedisError):
            raise reply
        if answers and wrote(reply):
            self._check(answers[0])
        return reply

    def _check(self, answer: Any) -> None:
        if isinstance(answer, RedisError):
            if classify(answer).retry:
                raise answer  # a primary that was demoted meanwhile: the next attempt finds out what is left
            msg = (
                "the write was carried out, but Redis refuses to wait for it to be safe "
                "(WAIT, WAITAOF: the cause has its words); do not repeat it"
            )
            raise NotReplicatedError(msg, wanted=self._replicas) from answer
        local, replicas = answer if self._aof else (1, answer)
        if local >= 1 and replicas >= self._replicas:
            return
        of_replicas = f"{replicas} of {self._replicas} replicas only"
        if not self._aof:
            where = f"it is on {of_replicas}"
        elif local:
            where = f"it is in the append-only files of the primary and {of_replicas}"
        else:
            where = "it is not in the append-only file of the primary yet"
            where += f", and in those of {of_replicas}" if self._replicas else ""
        msg = (
            f"the write was carried out, but after {self._seconds:g} s {where}: "
            "a failover or a crash now could lose it; do not repeat it"
        )
        raise NotReplicatedError(msg, replicas=replicas, wanted=self._replicas)
