"""A flow and a person; ``run`` runs a flow for them in this process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "langflow/component" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # of Langflow's own there are many


@pytest.fixture
def flow_id() -> str:
    return str(uuid4())


@pytest.fixture
def user_id() -> str:
    return str(uuid4())


@pytest.fixture
def run(flow_id: str, user_id: str) -> Iterator[Callable[..., Awaitable[Any]]]:
    from redis_sessions.langchain.pool import close_shared_stores
    from tests.langflow.component import flows

    yield functools.partial(flows.run, flow_id=flow_id, user_id=user_id)
    close_shared_stores()
