from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.talk import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions import SessionStore
    from tests.cli.conftest import Cli


async def fill(store: SessionStore) -> None:
    for number in range(12):
        await say(store, session=f"session {number}")


def test_stats_draws_what_there_is(cli: Cli, in_store: Callable[..., object]) -> None:
    in_store(fill)
    outcome = cli("stats")
    assert outcome.code == 0
    assert "Sessions:  12\nMessages:  12\n" in outcome.out
    assert re.search(r"within an hour +12 +█{40}\n", outcome.out)
    assert len(re.findall(r"^session \d+ +flow +1 ", outcome.out, re.MULTILINE)) == 10
    assert outcome.err == "" or "memory://" in outcome.err


def test_stats_says_that_it_estimates(cli: Cli, in_store: Callable[..., object]) -> None:
    in_store(fill)
    outcome = cli("stats", "--sample", "3")
    assert "Messages:  about 12" in outcome.out
    assert "3 sessions, drawn at random" in outcome.err


def test_stats_of_nothing(cli: Cli) -> None:
    assert "Sessions:  0" in cli("stats").out
    assert cli("stats", "--json").json["ages"][0] == {"last_written": "within an hour", "sessions": 0}
