"""Each user of the rendered ACL files may do what it is there for, and of all other commands none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions import acl
from tests.chart.pods import role, tier
from tests.chart.rendering import merged
from tests.chart.tiers import RUNS, SENTINEL, cluster_of
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

pytestmark = RUNS
EXPORTER = {"valkey": {"exporter": {"enabled": True}}}
FAILOVER = {"ping", "info", "role", "multi", "exec", "replicaof", "slaveof", "failover", "config|rewrite"}
FAILOVER |= {f"client|{name}" for name in ("setname", "kill", "pause", "unpause")}
FAILOVER |= {"script|kill", "subscribe", "publish"}
MAY = {
    "sentinel": {
        "redis-sessions": {*acl.commands()},
        "replication": {"ping", "psync", "sync", "replconf"},
        "probe": {"ping", "info"},
        "failover": FAILOVER,
        "exporter": {"ping", "info", "client|setname", "cluster|info", "slowlog|len", "slowlog|get", "select"}
        | {"latency|latest", "latency|histogram"},
    },
    "cluster": {
        "redis-sessions": {*acl.commands()},
        "probe": {"ping", "info", "cluster|info"},
        "failover": {"ping", "role"}
        | {f"cluster|{name}" for name in ("failover", "info", "meet", "myid", "nodes")},
    },
    "sentinels": {
        "redis-sessions": {*acl.SENTINEL, "client|setinfo"},
        "probe": {"ping", "info"},
    },
}
ALWAYS = {"auth", "hello", "quit", "reset"}  # which no rule forbids


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, redis.Redis]]:
    with tier(merged(SENTINEL, EXPORTER)) as sentinel, tier(cluster_of(3, 0)) as cluster:
        sentinel.start()
        cluster.start([0])
        sentinel.wait_until_ready()
        poll(lambda: role(cluster.client(0)))
        found = {
            "sentinel": sentinel.client(0),
            "sentinels": sentinel.sentinel_client(0),
            "cluster": cluster.client(0),
        }
        for client in found.values():
            client.response_callbacks.clear()
        yield found


def commands(entries: list[Any]) -> dict[str, int]:
    """Every command and subcommand of a server's answer to COMMAND, with the words that it takes at least."""
    found: dict[str, int] = {}
    for name, words, *_, subcommands in entries:
        if not subcommands:
            found[_text(name)] = abs(words)
        found |= commands(subcommands)
    return found


def _text(answer: bytes | str) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


@pytest.mark.parametrize(
    ("server", "user"), [(server, user) for server, users in MAY.items() for user in users]
)
def test_a_user_may_do_what_it_is_there_for_and_nothing_else(
    clients: dict[str, redis.Redis], server: str, user: str
) -> None:
    client = clients[server]
    words = commands(client.execute_command("COMMAND"))
    allowed = set()
    for name, count in words.items():
        command = name.split("|")
        arguments = [*command, *["rs:1"] * (count - len(command))]
        answer = _text(client.execute_command("ACL", "DRYRUN", user, *arguments))
        if "no permissions to run" not in answer:
            allowed.add(name)

    wanted = MAY[server][user]
    assert len(words) > (15 if server == "sentinels" else 300)
    # "+client" allows what is below it, too.
    assert {name for name in allowed - ALWAYS if not {name, name.split("|")[0]} & wanted} == set()
    assert wanted <= allowed | {name.split("|")[0] for name in allowed}
