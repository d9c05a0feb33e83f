from __future__ import annotations

import pytest

from redis_sessions.monitor import hash_key
from redis_sessions.monitor.settings import parse_keys

pytestmark = pytest.mark.backends("memory")
OWNER = "5f1c2f6e-0b57-4a51-9f8e-4d7f5c3b9a10"


def test_a_new_key_is_printed_once_with_the_line_for_the_file(cli) -> None:
    outcome = cli("key", "new", "--owner", OWNER)
    key, line = (text.split(":", 1)[1].strip() for text in outcome.out.splitlines())
    assert parse_keys(line) == {hash_key(key): OWNER}
    assert key not in line
    assert "only now" in outcome.err


def test_each_key_is_another(cli) -> None:
    made = [cli("key", "new", "--owner", OWNER, "--json").json for _ in range(2)]
    assert made[0]["key"] != made[1]["key"]
    assert all(hash_key(one["key"]) == one["hash"] and one["owner"] == OWNER for one in made)


@pytest.mark.parametrize("owner", ["", "a,b", "a\nb", " a", "x" * 129])
def test_an_owner_that_cannot_stand_in_a_file_is_refused(cli, owner: str) -> None:
    outcome = cli("key", "new", "--owner", owner)
    assert outcome.code == 2
    assert outcome.out == ""


def test_a_key_needs_an_owner(cli) -> None:
    assert cli("key", "new").code == 2
