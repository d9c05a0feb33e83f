"""What is said about the server."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import redis_sessions
from redis_sessions import SessionStore
from redis_sessions.doctor import examine
from redis_sessions.doctor.commands import needed_commands
from tests.support import poll, valkey_server
from tests.support.talk import say

if TYPE_CHECKING:
    import pytest

    from redis_sessions.doctor import Fact
    from tests.conftest import Backend

PACKAGE = Path(redis_sessions.__file__).parent


async def facts(url: str, **options: object) -> dict[str, Fact]:
    async with SessionStore.from_url(url, **options) as store:  # type: ignore[arg-type]
        return {fact.name: fact for fact in (await examine(store)).facts}


async def test_every_question_is_answered(store: SessionStore, backend: Backend) -> None:
    found = {fact.name.partition(" of ")[0]: fact for fact in (await examine(store)).facts}

    asked = {"connection", "format", "persistence"}
    if backend.kind != "memory":
        asked |= {"version", "eviction", "expiry", "memory", "replication", "clock", "acl"}
    if backend.kind == "cluster":
        asked |= {"slots"}
    assert set(found) == asked
    assert not [fact for fact in found.values() if fact.state == "problem"]


async def test_a_sound_server_is_praised() -> None:
    with valkey_server(appendonly=True, maxmemory="500mb") as server:
        found = await facts(server.url)
    assert {fact.state for fact in found.values()} == {"ok"}
    assert "Valkey 9." in found["version"].text


async def test_a_server_that_evicts_is_a_problem() -> None:
    with valkey_server(maxmemory="50mb", maxmemory_policy="allkeys-lru") as server:
        found = await facts(server.url)
    assert (found["eviction"].state, found["persistence"].state) == ("problem", "warning")


async def test_a_server_that_frees_what_expires_at_once_is_warned_of_where_sessions_expire() -> None:
    with valkey_server(lazyfree_lazy_expire=False) as server:
        assert (await facts(server.url))["expiry"].state == "note"
        assert (await facts(server.url, ttl=timedelta(days=1)))["expiry"].state == "warning"
        server.client().config_set("lazyfree-lazy-expire", "yes")
        assert (await facts(server.url, ttl=timedelta(days=1)))["expiry"].state == "ok"


async def test_a_server_that_evicts_what_expires_is_a_problem_for_sessions_that_do() -> None:
    with valkey_server(maxmemory="50mb", maxmemory_policy="volatile-lru") as server:
        assert (await facts(server.url))["eviction"].state == "warning"
        assert (await facts(server.url, ttl=timedelta(days=1)))["eviction"].state == "problem"


async def test_a_server_that_is_nearly_full_is_a_problem() -> None:
    with valkey_server(appendonly=True) as server:
        ballast = "for i = 1, 50 do redis.call('SET', 'ballast' .. i, string.rep('x', 1000000)) end"
        server.client().eval(ballast, 0)  # type: ignore[no-untyped-call]
        used = server.client().info("memory")["used_memory"]
        server.client().config_set("maxmemory", used * 100 // 85)
        assert (await facts(server.url))["memory"].state == "warning"
        server.client().config_set("maxmemory", used * 100 // 98)
        assert (await facts(server.url))["memory"].state == "problem"


async def test_a_replica_is_a_problem_and_too_few_of_them_are() -> None:
    with valkey_server() as primary, valkey_server(replicaof=("127.0.0.1", primary.port)) as replica:
        poll(lambda: replica.client().info("replication")["master_link_status"] == "up", timeout=30)
        assert "refuses writes" in (await facts(replica.url))["replication"].text
        found = await facts(primary.url)
        assert (found["replication"].state, found["replication"].text[:20]) == ("ok", "1 of 1 replicas onli")
        assert (await facts(primary.url, wait_replicas=2))["replication"].state == "problem"


async def test_a_clock_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    with valkey_server() as server:
        monkeypatch.setattr(time, "time", lambda: now() + 30)
        assert (await facts(server.url))["clock"].state == "warning"
        monkeypatch.setattr(time, "time", lambda: now() + 100_000)
        assert (await facts(server.url))["clock"].state == "problem"


async def test_what_the_acl_forbids_is_named_and_nothing_is_written() -> None:
    user = [("default", "on", "nopass", "~*", "&*", "+@all", "-xadd", "-rename", "-evalsha", "-info")]
    with valkey_server(user=user) as server:
        found = await facts(server.url)
        assert server.client().dbsize() == 0
    assert found["acl"].state == "problem"
    assert "EVALSHA, RENAME, XADD" in ", ".join(sorted(re.findall("[A-Z]{3,}", found["acl"].text)))
    assert "INFO" in found["version"].text


async def test_a_user_who_may_use_no_transaction_is_told_that_nothing_can_be_said() -> None:
    user = [("default", "on", "nopass", "~*", "&*", "+@all", "-multi")]
    with valkey_server(user=user) as server:
        assert (await facts(server.url))["acl"].state == "warning"
        assert server.client().dbsize() == 0


def test_the_commands_that_are_asked_for_are_those_that_the_package_sends() -> None:
    """Every command that a module spells as the first of a tuple, but for those of the tools."""
    tools = {"bench.py", "faults.py", "mend_scripts.py", "migration.py", "nodes.py", "otel.py", "stats.py"}
    sent = set()
    for file in [file for file in PACKAGE.glob("*.py") if file.name not in tools]:
        sent |= set(re.findall(r'\(\s*"([A-Z]{3,})",', file.read_text("utf-8")))
    optional = {"ASKING", "INFO", "EVAL", "EVALSHA", "WAIT", "WAITAOF"}
    assert sent - optional <= set(needed_commands())


async def test_findings_are_kept_to_a_hundred_and_all_counted(store: SessionStore, backend: Backend) -> None:
    await say(store)
    raw = backend.raw(store)
    await raw.zadd(f"{backend.prefix}:{{flow}}:sessions", {f"nothing {number}": 1 for number in range(150)})

    kind = (await examine(store)).kinds["name_without_log"]

    assert (kind.found, len(kind.first)) == (150, 100)
