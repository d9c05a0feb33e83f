"""A Langflow application in this process: for what has to be looked at from inside.

It has services and a database of its own, as a worker has after its start, and no background tasks. All of it
belongs to one event loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import Counter
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
import sqlalchemy
import structlog
from lfx.log.logger import logger
from lfx.services import manager

from redis_sessions.langflow import runtime, seams, startup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fastapi import FastAPI

_OURS = "redis_sessions.langflow"
PASSWORD = "a-password-for-the-tests"
_ENVIRONMENT = {
    "LANGFLOW_AUTO_LOGIN": "false",
    "LANGFLOW_SUPERUSER": "root",
    "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
    "LANGFLOW_NEW_USER_IS_ACTIVE": "true",
    "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
    "LANGFLOW_MCP_SERVER_ENABLED": "false",
    "LANGFLOW_ADD_PROJECTS_TO_MCP_SERVERS": "false",
    "LANGFLOW_DEACTIVATE_TRACING": "false",
    "LANGFLOW_RATE_LIMIT_ENABLED": "false",
    "LANGFLOW_LOG_LEVEL": "error",
    "DO_NOT_TRACK": "true",
}


class Application:
    """An application and its way in.

    Attributes:
        app: Langflow's.
        statements: every SQL statement that its database was sent.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.statements: list[str] = []

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://langflow", headers=headers)

    async def log_in(self, name: str, password: str = PASSWORD) -> str:
        """An access token."""
        async with self.client() as client:
            answer = await client.post("/api/v1/login", data={"username": name, "password": password})
            return str(answer.raise_for_status().json()["access_token"])

    async def new_user(self, name: str) -> httpx.AsyncClient:
        """A client that is logged in as a new user."""
        async with self.client() as client:
            (
                await client.post("/api/v1/users/", json={"username": name, "password": PASSWORD})
            ).raise_for_status()
        return self.client(authorization=f"Bearer {await self.log_in(name)}")

    @contextlib.contextmanager
    def stock(self) -> Iterator[None]:
        """Langflow answers itself inside, from its SQL tables."""
        with patch.object(runtime._state, "active", False):
            yield

    @contextlib.contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """SQL statements inside, by their first word."""
        before = len(self.statements)
        found: Counter[str] = Counter()
        yield found
        found.update(statement.split()[0].upper() for statement in self.statements[before:])


@contextlib.asynccontextmanager
async def application(folder: Path, **env: str) -> AsyncIterator[Application]:
    """Langflow's application with its services, its SQLite database in ``folder``."""
    from langflow.main import create_app
    from langflow.services.deps import get_db_service
    from langflow.services.utils import initialize_services, teardown_services

    database = f"sqlite:///{folder / 'langflow.db'}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANGFLOW_", "REDIS_"))}
    environment = (
        kept | _ENVIRONMENT | {"LANGFLOW_CONFIG_DIR": str(folder), "LANGFLOW_DATABASE_URL": database} | env
    )
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(manager, "_service_manager", None),
        _logging_as_before(),
    ):
        switch_off()
        try:
            made = Application(create_app())
            await initialize_services()
            engine = get_db_service().engine.sync_engine

            @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
            def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
                made.statements.append(statement)

            yield made
            await teardown_services()
        finally:
            try:
                await runtime.aclose()
            finally:
                switch_off()
            assert imported_of_ours() == []


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    """An application logs from ERROR on. Without one nothing is, and Langflow, which then looks in vain for a
    database at each step of a run, would draw a traceback of it each time."""
    before = structlog.get_config()
    try:
        yield
    finally:
        structlog.configure(**before)
        vars(logger).pop("bind", None)  # it keeps what it was configured with at its first use


def switch_off() -> None:
    """This process is as one in which the plug-in never was."""
    seams.restore()
    runtime.reset()
    startup.forget()


def switched_on() -> list[str]:
    """What is in this process of a plug-in that is on."""
    manager_ = manager._service_manager
    classes = () if manager_ is None else manager_.service_classes.values()
    return [
        *(".".join(place) for place in seams._seams),
        *(f"{name} of startup" for name in startup._checked),
        *(f"a store of {loop}" for loop in runtime._state.stores),
        *(f"the service {one.__name__}" for one in classes if one.__module__.startswith(_OURS)),
        *(["what was decided"] if runtime._state.active is not None else []),
        *(["settings with a URL"] if runtime.settings.cache_info().currsize and runtime.active() else []),
        *(["a log from ERROR on"] if _log_level() < logging.CRITICAL else []),
    ]


def _log_level() -> int:
    return int(structlog.get_config()["wrapper_class"].min_level)


def imported_of_ours() -> list[str]:
    """Functions of the plug-in that modules of Langflow have under a name."""
    modules: list[Any] = list(sys.modules.values())
    return [
        f"{module.__name__}.{name}"
        for module in modules
        if isinstance(module, ModuleType) and module.__name__.startswith(("langflow", "lfx"))
        for name, value in list(vars(module).items())
        if isinstance(value, FunctionType) and str(value.__module__).startswith(_OURS)
    ]
