"""From options to an open store in an event loop of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from redis_sessions.cli.exits import failures
from redis_sessions.cli.options import DEFAULT_URL
from redis_sessions.cli.output import notice
from redis_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from redis_sessions.cli.options import Where
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore

T = TypeVar("T")


def run(where: Where, work: Callable[[SessionStore], Awaitable[T]]) -> T:
    """The result of ``work`` on an open store. Errors of the package end the command."""
    with failures():
        settings = where.settings() or _settings_of_this_machine(where)
    with failures(safe_url(settings)):
        return asyncio.run(_with_store(settings, work))


async def _with_store(settings: Settings, work: Callable[[SessionStore], Awaitable[T]]) -> T:
    from redis_sessions.store import SessionStore

    async with SessionStore(settings) as store:
        return await work(store)


def safe_url(settings: Settings) -> str | None:
    """Where Redis is, without credentials; None for a URL that cannot work (opening it says why)."""
    from redis_sessions.urls import parse_url

    try:
        return parse_url(settings.url.get_secret_value() if settings.url else "").safe_url
    except ConfigurationError:
        return None


def _settings_of_this_machine(where: Where) -> Settings:
    """The store that ``serve`` made here.

    Only one that is there: a message for a Redis whose URL was forgotten must not get lost in a new store.
    """
    folder = default_folder()
    if folder is None or not (folder / "appendonlydir").is_dir():
        raise ConfigurationError(
            "there is no URL: give --url or set REDIS_SESSIONS_URL, as in redis://localhost:6379/0 "
            "(embedded:// is a store on this machine)"
        )
    notice(f"no URL is set: using {DEFAULT_URL}, the store in {folder}")
    return where.load(DEFAULT_URL)


def default_folder() -> Path | None:
    """The folder of ``embedded://``; None where that does not run."""
    try:
        from redis_sessions import embedded
    except ImportError:
        return None
    return embedded.folder_of("")
