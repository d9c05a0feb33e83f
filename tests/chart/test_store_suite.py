"""The store's own suite, on the rendered tier, with the rendered user, password and URL.

CI runs a part of it; ``CHART_SUITE=all`` runs all of ``MODULES``.
"""

from __future__ import annotations

import importlib
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import SessionStore
from tests.chart.tiers import RUNS
from tests.conftest import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chart.pods import Tier

pytestmark = RUNS
# Kinds that the suite's tests are marked with, and the tiers that are of that kind.
BACKENDS = [
    pytest.param("valkey", id="standalone"),
    pytest.param("valkey", id="sentinel"),
    pytest.param("cluster", id="cluster"),
]
PART = ("append", "rename", "ttl")
MODULES = (
    *PART,
    *("delete", "flows", "history", "jobs", "moved", "recent", "session_names", "sessions", "trim", "update"),
    "watch",
)
# Helpers that look past the store, through its own client, with commands that its user does not have.
PAST_THE_STORE = {"all_keys", "dump", "expire", "nothing_changes"}


class TierBackend(Backend):
    """The rendered user's keys are below ``rs``; what tests look at besides, they see as the admin."""

    admin: SessionStore

    def raw(self, store: SessionStore) -> Any:
        return self.admin.connection.client


@pytest.fixture
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[TierBackend]:
    ids = request.node.callspec.id.split("-")
    tier: Tier = request.getfixturevalue(next(str(row.id) for row in BACKENDS if row.id in ids))
    options: dict[str, Any] = tier.client_settings()
    url = options.pop("url")
    made = TierBackend(request.param, url, None, options=options)
    made.prefix = f"{options.pop('prefix')}:{made.prefix}"
    as_admin = options | {"username": "admin", "password": tier.password("admin-password")}
    async with AsyncExitStack() as stack:
        made.admin = await stack.enter_async_context(SessionStore.from_url(url, **as_admin))
        yield made


def _tests() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in MODULES if os.environ.get("CHART_SUITE") == "all" else PART:
        functions = vars(importlib.import_module(f"tests.test_{module}"))
        mine = {
            name: function
            for name, function in functions.items()
            if name.startswith("test_") and PAST_THE_STORE.isdisjoint(function.__code__.co_names)
        }
        assert not found.keys() & mine.keys(), found.keys() & mine.keys()
        found |= mine
    return found


globals().update(_tests())
