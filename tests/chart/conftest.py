"""One tier of each mode for all tests of a worker. A test that does harm to it leaves it whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.pods import Tier, tier
from tests.chart.rendering import values
from tests.chart.tiers import SENTINEL, cluster_of, join

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def standalone() -> Iterator[Tier]:
    with tier(values()) as made:
        made.start()
        made.wait_until_ready()
        yield made


@pytest.fixture(scope="session")
def sentinel() -> Iterator[Tier]:
    with tier(SENTINEL) as made:
        made.start()
        made.wait_until_ready()
        yield made


@pytest.fixture(scope="session")
def cluster() -> Iterator[Tier]:
    with tier(cluster_of(3, 1)) as made:
        made.start()
        join(made)
        made.wait_until_ready()
        yield made


@pytest.fixture(params=["standalone", "sentinel", "cluster"])
def running(request: pytest.FixtureRequest) -> Tier:
    made: Tier = request.getfixturevalue(request.param)
    return made
