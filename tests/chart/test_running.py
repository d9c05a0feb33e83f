"""The rendered configuration and ACL file, run: the tier serves the users it has, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from redis_sessions import MessageUpdate, acl
from tests.chart.tiers import RUNS, open_store
from tests.support.talk import say, texts

if TYPE_CHECKING:
    from tests.chart.pods import Tier

pytestmark = RUNS


async def test_the_store_works_with_the_rendered_user(running: Tier) -> None:
    async with open_store(running) as store:
        first = await say(store, "one")
        for number in range(20):
            await say(store, "x", flow=f"flow-{number}", owner="ann")
        await store.update(first.id, MessageUpdate(text="changed"))
        await store.rename_session("flow", "chat", "talk")
        await say(store, "two", session="talk")

        assert await texts(store, "talk") == ["changed", "two"]
        assert len(await store.flows(owner="ann")) == 20
        assert await store.delete_session("flow", "talk") == 2


@pytest.mark.parametrize(
    "command",
    ["ACL LIST", "CONFIG GET maxmemory", "DEL rs:flows", "FLUSHALL", "GET other:key", "KEYS *", "SHUTDOWN"],
)
def test_the_stores_user_can_do_nothing_else(running: Tier, command: str) -> None:
    client = redis.Redis(host=running.host(0), username="redis-sessions", password=running.password())

    with pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_nobody_gets_in_without_a_password(running: Tier) -> None:
    with pytest.raises(AuthenticationError):
        redis.Redis(host=running.host(0), retry=Retry(NoBackoff(), 0)).ping()


def test_the_rendered_rules_are_those_of_the_store(running: Tier) -> None:
    user = running.client(0).acl_getuser("redis-sessions")

    assert user["keys"] == [f"~{acl.key_pattern('rs')}"]
    assert {*user["commands"]} == {f"+{name}" for name in acl.commands()}
    assert user["channels"] == []


def test_nothing_is_refused_to_the_servers_among_themselves(running: Tier) -> None:
    for number in range(running.nodes):
        refused = [(entry["username"], entry["object"]) for entry in running.client(number).acl_log()]
        assert [one for one in refused if one[0] not in ("redis-sessions", "default")] == []


def test_a_former_password_is_accepted_while_the_secret_has_it(standalone: Tier) -> None:
    secret = standalone.folder / "auth"
    (secret / "password-previous").write_text("the one before")
    pod = standalone.pod("valkey", 0)
    pod.stop()
    pod.start()
    standalone.wait_until_ready()

    for password in (standalone.password(), "the one before"):
        assert redis.Redis(host=pod.host, username="redis-sessions", password=password).ping()
