"""SessionStore: chat sessions in Redis.

Every write is one Lua script and atomic within its flow; every read is plain commands. All methods may raise
:class:`~redis_sessions.StoreUnavailableError` (Redis did not do it before the deadline; tells whether a write
may have happened), :class:`~redis_sessions.WrongTypeError` (a key of ours holds something else) and
:class:`~redis_sessions.StoreClosedError`; the methods name what else they raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from redis_sessions.connection import open_connection
from redis_sessions.formats import check_format
from redis_sessions.parts import Parts
from redis_sessions.reading import Reading
from redis_sessions.recording import Recording
from redis_sessions.server import check_server
from redis_sessions.settings import Settings, settings_of
from redis_sessions.writing import Writing

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

    from redis_sessions.calls import Counters
    from redis_sessions.connection import Connection

    Id = str | UUID


class SessionStore(Writing, Reading, Recording):
    """Chat sessions in Redis. Use it as an async context manager; it may be shared by any number of tasks.

    Args:
        settings: where Redis is, and the limits. Without it, from ``REDIS_SESSIONS_*``. For a URL there is
            :meth:`from_url`.

    Raises:
        TypeError: that are no settings.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings: Settings = settings_of(settings)
        self._open: Parts | None = None

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        prefix: str | None = None,
        ttl: timedelta | None = None,
        max_messages: int | None = None,
        deadline: timedelta | None = None,
        **options: Any,
    ) -> Self:
        """A store at ``url``; further options are the fields of :class:`~redis_sessions.Settings`.

        Arguments come before ``REDIS_SESSIONS_*``, which come before the defaults.

        Raises:
            ConfigurationError: an option is unknown or cannot work.
        """
        return cls(
            Settings.load(
                url, prefix=prefix, ttl=ttl, max_messages=max_messages, deadline=deadline, **options
            )
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect, and check that the server can be used. ``async with`` does it.

        Raises:
            ConfigurationError: the URL or a setting cannot work.
            UnsupportedServerError: the server is older than Redis 6.2.
            UnsupportedFormatError: a later version of this package has stored the data.
            MissingExtraError: what the URL or a setting needs is not installed.
        """
        if self._open is not None:
            return
        connection = await self._connect()
        parts: Parts | None = None
        try:
            parts = Parts(self.settings, connection)
            await check_server(parts.calls, parts.transport, wait_aof=self.settings.wait_aof)
            await check_format(parts.calls, parts.transport, parts.keys)
        except BaseException:
            if parts is not None:
                await parts.transport.aclose()
            await connection.aclose()
            raise
        self._open = parts
        if self.settings.otel:
            try:
                await self._instrument()
            except BaseException:
                await self.aclose()
                raise

    async def _connect(self) -> Connection:
        return await open_connection(self.settings)

    async def _instrument(self) -> None:
        from redis_sessions.otel import instrument  # the extra `otel`

        await instrument(self)

    async def aclose(self) -> None:
        """Close all connections. May be repeated."""
        parts, self._open = self._open, None
        if parts is not None:
            await parts.hub.aclose()
            await parts.transport.aclose()
            await parts.connection.aclose()

    def __repr__(self) -> str:
        where = self._open.connection.safe_url if self._open else "closed"
        return f"<SessionStore {where} prefix={self.settings.prefix!r}>"

    @property
    def connection(self) -> Connection:
        """The connection to Redis, for inspection."""
        return self._parts.connection

    @property
    def counters(self) -> Counters:
        """Calls, retries, faults and corrupt entries since the store was opened."""
        return self._parts.calls.counters

    @property
    def round_trips(self) -> int:
        """Round trips to Redis since the store was opened."""
        return self._parts.transport.round_trips

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            StoreUnavailableError: it does not, within the deadline.
        """
        parts = self._parts
        await parts.calls.read(lambda: parts.transport.run(parts.keys.flows, ("EXISTS", parts.keys.flows)))
