"""The check before anything of Langflow is replaced: can this process keep its sessions in Redis?

One clear line says what is wrong. Then, with ``REDIS_SESSIONS_STRICT`` (the default), the process ends: a
server that looks well and keeps its sessions elsewhere would be worse. Without it, Langflow runs stock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import importlib.metadata
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from lfx.log.logger import logger

from redis_sessions.errors import RedisSessionsError
from redis_sessions.langflow import runtime, seams
from redis_sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI

OLDEST = (1, 13)
"""Older ones have other functions in the places that are replaced."""
TRIED = ("1.13.0",)
"""Releases that the whole of ``make test-langflow`` passed on."""

EXIT_CODE = 3
"""With this one gunicorn stops, and does not start a worker that will end the same way."""

_DISTRIBUTIONS = ("langflow-base", "lfx")


class RefusedError(SystemExit):
    """Ends the process, with the reason as its last line."""


_checked: dict[str, bool] = {}


def ready() -> bool:
    """Whether the plug-in is on and can work. Checked once in a process; the plug-in off is not checked.

    Raises:
        RefusedError: it cannot, and strict settings end the process.
    """
    try:
        if not runtime.active():
            return False
        if not _checked.get("ready"):
            _check_langflow()
            _check_redis()
            _checked["ready"] = True
    except RedisSessionsError as error:
        refuse(str(error))
        return False
    return True


def forget() -> None:
    """Check again when asked again."""
    _checked.clear()


def install(parts: Iterable[str], application: FastAPI | None = None) -> bool:
    """Put modules of this folder in their places, in this order: all of them or none.

    Raises:
        RefusedError: one cannot be installed, and strict settings end the process.
    """
    try:
        for part in parts:
            importlib.import_module(f"redis_sessions.langflow.{part}").install(application)
    except (RedisSessionsError, ImportError) as error:
        seams.restore()
        refuse(str(error))
        return False
    return True


def announce() -> None:
    """Say once where the sessions are."""
    if not _checked.get("announced"):
        _checked["announced"] = True
        logger.info(f"Langflow's sessions are in Redis: {runtime.settings().safe_where}")


def refuse(reason: str) -> None:
    """Say why the plug-in cannot run; go on with a stock Langflow, where that is allowed.

    Raises:
        RefusedError: it is not allowed.
    """
    where = "redis-sessions cannot keep Langflow's sessions in Redis"
    if _strict():
        _end(f"{where}: {reason}. REDIS_SESSIONS_STRICT=false starts Langflow without it")
    runtime.give_up()
    logger.error(f"{where}: {reason}. Langflow runs stock, with its sessions in its SQL database")


def _strict() -> bool:
    try:
        return runtime.settings().strict
    except RedisSessionsError:
        return True


def _end(line: str) -> NoReturn:
    print(f"error: {line}", file=sys.stderr, flush=True)
    raise RefusedError(EXIT_CODE)


def _check_langflow() -> None:
    for name in _DISTRIBUTIONS:
        version = _installed(name)
        if version is None:
            continue
        if _numbers(version) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            msg = f"{name} {version} is not supported; {oldest} is the oldest that is"
            raise RedisSessionsError(msg)
        if version not in TRIED:
            logger.warning(f"{name} {version} was not tried with redis-sessions; tried: {', '.join(TRIED)}")
        return


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _check_redis() -> None:
    """Open a store and close it again, in a loop and a thread that are gone before workers are forked."""

    async def look() -> None:
        async with SessionStore(runtime.settings().store_settings()):
            pass

    with concurrent.futures.ThreadPoolExecutor(1, "redis-sessions-check") as once:
        once.submit(asyncio.run, look()).result()
