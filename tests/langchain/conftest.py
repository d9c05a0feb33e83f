"""A Valkey for the histories, and a prefix of the test's own in it."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING

import pytest

from redis_sessions import Settings
from redis_sessions.langchain import RedisSessionHistory
from redis_sessions.langchain.pool import close_shared_stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Servers
    from tests.support import Server


@pytest.fixture
def valkey(servers: Servers) -> Server:
    return servers["valkey"]


@pytest.fixture
def settings(valkey: Server) -> Settings:
    return Settings.load(valkey.url, prefix=f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def history(settings: Settings) -> Iterator[Callable[..., RedisSessionHistory]]:
    """Makes histories of the session "monday", which share one store."""
    yield functools.partial(RedisSessionHistory, "monday", settings=settings)
    close_shared_stores()
