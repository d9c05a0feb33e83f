from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_formats import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Cli
    from tests.conftest import Backend


@pytest.mark.backends("valkey", "memory")
def test_migrate_counts_converts_and_has_nothing_left(cli: Cli, in_store: Callable[..., object]) -> None:
    in_store(lambda store: load(store, 1))
    assert "Of an older format than 3: 12 messages in 3 of 3 sessions" in cli("migrate", "--dry-run").out
    assert "Converted to format 3: 12 messages in 3 of 3 sessions." in cli("migrate").out
    assert cli("migrate", "--json").json == {
        "format": 3,
        "stored": 3,
        "sessions": 3,
        "old_sessions": 0,
        "old_messages": 0,
        "converted": True,
    }


@pytest.mark.backends("valkey")
def test_a_later_format_is_an_error_that_says_what_to_do(cli: Cli, backend: Backend) -> None:
    backend.redis.set(f"{backend.prefix}:format", 4)
    outcome = cli("sessions")
    assert outcome.code == 2
    assert "upgrade redis-sessions here" in outcome.err
