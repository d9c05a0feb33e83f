"""One Langflow application in this process, for the tests of this folder; each makes users of its own.

==============  ============================================================================================
fixture         gives
==============  ============================================================================================
``langflow``    the application, with the plug-in
``store``       the plug-in's store
``person``      a user with a client that is logged in
``flow``        the id of an empty flow of theirs
==============  ============================================================================================
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.servers import Server, valkey_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.langflow.inside.people import Person

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)
            item.add_marker(pytest.mark.timeout(300))  # the first one makes the application


@pytest.fixture(scope="package")
def redis_of_langflow() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def langflow(
    redis_of_langflow: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Application]:
    from tests.langflow.inprocess import application

    folder = tmp_path_factory.mktemp("inside")
    async with application(folder, REDIS_SESSIONS_URL=redis_of_langflow.url) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="package")
async def store(langflow: Application) -> SessionStore:
    from redis_sessions.langflow import runtime

    return await runtime.store()


@pytest_asyncio.fixture(loop_scope="package")
async def person(langflow: Application) -> AsyncIterator[Person]:
    from tests.langflow.inside.people import Person

    name = f"user-{uuid.uuid4().hex[:8]}"
    async with await langflow.new_user(name) as client:
        me = (await client.get("/api/v1/users/whoami")).raise_for_status().json()
        yield Person(client, me["id"], name)


@pytest_asyncio.fixture(loop_scope="package")
async def flow(person: Person) -> str:
    return await person.new_flow()
