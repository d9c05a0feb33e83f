"""Tests that need Langflow: ``make test-langflow`` has it, in an environment of its own.

==============  ============================================================================================
fixture         gives
==============  ============================================================================================
``valkey``      a Valkey of this pytest worker
``plugged``     a Langflow with the plug-in
``pair``        two of them, on one Redis and one SQL database; ``plugged``, and one with the frontend
``stock``       a Langflow without the plug-in
``redis``       the plug-in's store under a prefix of the test, for tests that need no Langflow server
==============  ============================================================================================

Servers take long to start: they are those of the pytest worker, and each test makes flows of its own.
"""

from __future__ import annotations

import importlib
import uuid
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.langflow import LangflowServer, langflow_server
from tests.support.servers import Server, valkey_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

if find_spec("langflow") is None:
    collect_ignore_glob = ["*"]
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("langflow.main")

_HERE = str(Path(__file__).parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(_HERE):  # warnings of Langflow's are Langflow's business
            item.add_marker(pytest.mark.filterwarnings("error:::redis_sessions"), append=False)
            item.add_marker(pytest.mark.filterwarnings("ignore"), append=False)
            item.add_marker(pytest.mark.timeout(600))  # the first test of a worker waits for its servers


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="session")
def plugged(valkey: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangflowServer]:
    with langflow_server(tmp_path_factory.mktemp("plugged"), REDIS_SESSIONS_URL=valkey.url) as server:
        yield server


@pytest.fixture(scope="session")
def pair(
    plugged: LangflowServer, valkey: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LangflowServer, LangflowServer]]:
    folder = tmp_path_factory.mktemp("other")
    with langflow_server(
        folder, database=plugged.database, frontend=True, REDIS_SESSIONS_URL=valkey.url
    ) as other:
        yield plugged, other


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangflowServer]:
    with langflow_server(tmp_path_factory.mktemp("stock")) as server:
        yield server


@pytest.fixture
async def redis(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The plug-in's store is on Valkey, under a prefix of this test. Nothing of Langflow is replaced."""
    from redis_sessions.langflow import runtime

    monkeypatch.setenv("REDIS_SESSIONS_URL", valkey.url)
    monkeypatch.setenv("REDIS_SESSIONS_PREFIX", f"t{uuid.uuid4().hex[:12]}")
    runtime.reset()
    yield
    await runtime.aclose()
    runtime.reset()
