from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import ssl
import time
import traceback
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trustme
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from redis_sessions import SessionStore
from redis_sessions.connection import RESET_INTERVAL, Connection, attempt_timeout, open_connection
from redis_sessions.errors import ConfigurationError
from redis_sessions.settings import Settings
from tests.support import (
    HOST,
    REDIS_SERVER,
    Proxy,
    Server,
    redis_server,
    sentinel_trio,
    valkey_server,
    wait_until,
)
from tests.support.servers import a_sentinel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SECRET = "hunter2 p@ss/w#rd?:%41{}ü"
"""A password that breaks a URL unless it is encoded. Its first word is in no other text."""


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    connection = await open_connection(Settings.load(url, **options))
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
def secured() -> Iterator[Server]:
    with valkey_server(requirepass=SECRET, user=("app", "on", f">{SECRET}", "~*", "+@all")) as server:
        yield server


# What is reached, and as whom


async def test_one_server_is_reached_over_tcp(server: Server) -> None:
    async with connected(f"redis://{HOST}:{server.port}/3") as connection:
        assert connection.kind == "standalone"
        assert connection.safe_url == f"redis://{HOST}:{server.port}/3"
        assert (await connection.client.client_info())["db"] == 3


async def test_one_server_is_reached_over_its_socket(server: Server) -> None:
    async with connected(f"{server.unix_url}?db=2") as connection:
        assert connection.safe_url == f"unix://{server.socket}?db=2"
        assert (await connection.client.client_info())["db"] == 2


@pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server from Debian not installed")
async def test_redis_itself_is_reached_too() -> None:
    with redis_server(requirepass=SECRET) as server:
        async with connected(server.url) as connection:
            assert await connection.client.ping() is True


async def test_the_client_tells_its_name_and_answers_in_bytes(server: Server) -> None:
    async with connected(server.url) as connection:
        assert await connection.client.execute_command("CLIENT", "GETNAME") == b"redis-sessions"


async def test_the_password_may_be_encoded_in_the_url(secured: Server) -> None:
    async with connected(f"redis://:{quote(SECRET, safe='')}@{HOST}:{secured.port}") as connection:
        assert await connection.client.execute_command("ACL", "WHOAMI") == b"default"
    async with connected(f"redis://app:{quote(SECRET, safe='')}@{HOST}:{secured.port}") as connection:
        assert await connection.client.execute_command("ACL", "WHOAMI") == b"app"


async def test_the_password_may_be_a_plain_setting(secured: Server) -> None:
    url = f"redis://nobody:wrong@{HOST}:{secured.port}"
    async with connected(url, username="app", password=SECRET) as connection:
        assert await connection.client.execute_command("ACL", "WHOAMI") == b"app"


async def test_the_password_may_be_in_a_file(secured: Server, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET + "\n")
    async with connected(f"redis://{HOST}:{secured.port}", password_file=tmp_path / "password") as connection:
        assert await connection.client.execute_command("ACL", "WHOAMI") == b"default"


async def test_the_settings_may_come_from_the_environment(
    secured: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_URL", f"valkey://{HOST}:{secured.port}/0\n")
    monkeypatch.setenv("REDIS_SESSIONS_PASSWORD", SECRET)
    async with contextlib.aclosing(await open_connection(Settings.load())) as connection:
        assert await connection.client.ping() is True


@pytest.mark.parametrize("url", [None, "", "  "])
async def test_without_a_url_the_error_names_the_variable(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_SESSIONS_URL"):
        await open_connection(Settings.load(url))


async def test_opening_sends_nothing() -> None:
    async with connected("redis://nowhere.invalid") as connection:
        assert connection.safe_url == "redis://nowhere.invalid:6379/0"
    async with connected("redis+sentinel://nowhere.invalid/service"):
        pass
    async with connected("redis+cluster://nowhere.invalid"):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "redis://{}@host",
        "unix://{}@/nowhere",
        "redis+sentinel://{}@one,two/service",
        "redis+cluster://{}@one,two",
    ],
)
@pytest.mark.parametrize("where", ["url", "settings"])
async def test_no_repr_error_or_log_shows_a_credential(
    url: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user = f"{quote('hunter2 me')}:{quote(SECRET, safe='')}" if where == "url" else ""
    both = {"username": "hunter2 me", "password": SECRET} if where == "settings" else {}
    sentinel = {"sentinel_username": "hunter2 s", "sentinel_password": SECRET}
    settings = Settings.load(url.format(user).replace("//@", "//"), deadline=0.2, **both, **sentinel)
    connection = await open_connection(settings)
    texts = [repr(connection), str(connection), connection.safe_url, repr(connection.client)]
    try:
        await connection.client.execute_command("GET", "k")
    except Exception as error:  # noqa: BLE001 - whatever it is
        texts.append("".join(traceback.format_exception(error)))
    await connection.reset()
    await connection.aclose()
    assert len(texts) == 5
    assert "hunter2" not in "".join(texts) + caplog.text


async def test_a_refused_password_is_not_repeated(secured: Server) -> None:
    async with connected(f"redis://app:hunter2@{HOST}:{secured.port}") as connection:
        with pytest.raises(RedisError) as caught:
            await connection.client.ping()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def tls_for(authority: trustme.CA, name: str, *, clients: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    if clients:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_tls_works_with_the_right_authority(
    server: Server, authority: trustme.CA, ca_file: Path
) -> None:
    async with Proxy(server, ssl=tls_for(authority, HOST)) as proxy:
        async with connected(proxy.url, tls_ca_file=ca_file) as connection:
            assert await connection.client.ping() is True
        async with connected(f"{proxy.url}?ssl_ca_certs={ca_file}") as connection:
            assert await connection.client.ping() is True


async def test_a_client_certificate_is_shown(
    server: Server, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    issued = authority.issue_cert("client")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"tls_cert_file": tmp_path / "cert.pem", "tls_key_file": tmp_path / "key.pem"}
    async with (
        Proxy(server, ssl=tls_for(authority, HOST, clients=True)) as proxy,
        connected(proxy.url, tls_ca_file=ca_file, **files) as connection,
    ):
        assert await connection.client.ping() is True


@pytest.mark.parametrize(("name", "with_ca"), [(HOST, False), ("other.example", True)])
async def test_tls_refuses_a_stranger(
    server: Server, authority: trustme.CA, ca_file: Path, name: str, with_ca: bool
) -> None:
    async with Proxy(server, ssl=tls_for(authority, name)) as proxy:
        async with connected(proxy.url, tls_ca_file=ca_file if with_ca else None) as connection:
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await connection.client.ping()
        assert proxy.requests == []


# Faults


@pytest.mark.parametrize(("deadline", "timeout"), [(5, 2), (60, 2), (1, 0.5), (0.01, 0.005)])
def test_an_attempt_waits_two_seconds_and_half_the_deadline_at_most(deadline: float, timeout: float) -> None:
    assert attempt_timeout(timedelta(seconds=deadline)) == timeout


async def test_a_server_that_hangs_holds_a_call_for_one_attempt_only(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url, deadline=0.4) as connection:
        assert connection.attempt_timeout == 0.2
        await connection.client.ping()
        with proxy.black_hole():
            for _ in "with the old connection", "with a new one":
                started = time.monotonic()
                with pytest.raises(RedisError, match="Timeout"):
                    await connection.client.ping()
                assert 0.15 < time.monotonic() - started < 2


async def test_no_command_is_sent_twice(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url) as connection:
        for fault in (proxy.drop_reply, proxy.drop_request, proxy.reset_mid_reply):
            await connection.client.ping()
            proxy.forget()
            fault()
            with pytest.raises(RedisConnectionError):
                await connection.client.execute_command("INCR", "n")
            assert proxy.commands == ["INCR"]


async def test_a_call_waits_for_a_free_connection(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url, max_connections=1) as connection:
        held = proxy.hold_reply(matching=b"first")
        first = asyncio.create_task(connection.client.echo("first"))
        await held.reached()
        second = asyncio.create_task(connection.client.echo("second"))
        held.release()
        assert [await first, await second] == [b"first", b"second"]


async def test_a_call_waits_for_a_free_connection_no_longer_than_an_attempt(server: Server) -> None:
    async with connected(server.url, deadline=0.4, max_connections=1) as connection:
        pool = connection.client.connection_pool
        only = await pool.get_connection()
        started = time.monotonic()
        with pytest.raises(RedisConnectionError, match="No connection available"):
            await connection.client.ping()
        assert 0.15 < time.monotonic() - started < 2
        await pool.release(only)
        assert await connection.client.ping() is True


async def test_a_cancelled_call_leaves_its_answer_to_nobody(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url, max_connections=1) as connection:
        held = proxy.hold_reply(matching=b"cancelled")
        call = asyncio.create_task(connection.client.echo("cancelled"))
        await held.reached()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        held.release()
        assert await connection.client.echo("mine") == b"mine"


async def test_calls_cancelled_at_any_step_disturb_no_other(server: Server) -> None:
    numbers = itertools.count()

    async def call(connection: Connection) -> None:
        text = f"{next(numbers)}".encode()
        assert await connection.client.echo(text) == text

    async with connected(server.url, max_connections=3) as connection:
        for steps in range(60):
            calls = [asyncio.create_task(call(connection)) for _ in range(6)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for cancelled in calls[::2]:
                cancelled.cancel()
            await asyncio.gather(*calls[1::2])
            await asyncio.wait(calls)
        assert len(await connection.client.client_list()) <= 3 + 1


# reset()


async def test_a_reset_replaces_idle_connections_at_once_and_others_after_use(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url) as connection:
        held = proxy.hold_reply(matching=b"busy")
        busy = asyncio.create_task(connection.client.echo("busy"))
        await held.reached()
        await connection.client.ping()
        await connection.reset()
        await wait_until(lambda: len(proxy.connections) == 1)
        held.release()
        assert await busy == b"busy"
        await wait_until(lambda: not proxy.connections)
        assert await connection.client.ping() is True


async def test_an_idle_connection_is_dropped_in_one_step(server: Server) -> None:
    # Or a call could take it half way, connect it anew, and have it cut off.
    async with connected(server.url) as connection:
        await connection.client.ping()
        with pytest.raises(StopIteration):
            connection.client.connection_pool.disconnect(inuse_connections=False).send(None)


async def test_concurrent_resets_are_one_and_disturb_no_call(server: Server) -> None:
    async with Proxy(server) as proxy, connected(proxy.url, max_connections=5) as connection:

        async def call(text: str) -> None:
            assert await connection.client.echo(text) == text.encode()

        started = time.monotonic()
        for _ in range(10):
            resets = (connection.reset() for _ in range(50))
            await asyncio.gather(*resets, *(call(uuid.uuid4().hex) for _ in range(50)))
        possible_resets = 1 + (time.monotonic() - started) / RESET_INTERVAL
        assert proxy.accepted <= 5 * (1 + possible_resets)


async def test_a_cancelled_reset_does_not_cancel_the_others(server: Server) -> None:
    async with connected(server.url) as connection:
        resets = [asyncio.create_task(connection.reset()) for _ in range(2)]
        await asyncio.sleep(0)
        resets[0].cancel()
        await resets[1]
        assert await connection.client.ping() is True


@pytest.mark.parametrize(
    "url",
    [
        "redis://nowhere.invalid",
        "redis+sentinel://nowhere.invalid/service",
        "redis+cluster://nowhere.invalid",
        "memory://",
    ],
)
async def test_a_reset_raises_nothing(url: str) -> None:
    async with connected(url, deadline=0.2) as connection:
        await connection.reset()
    await connection.reset()


# aclose()


@pytest.mark.parametrize("kind", ["tcp", "unix", "memory"])
async def test_closing_twice_is_closing_once_and_leaves_nothing_open(server: Server, kind: str) -> None:
    url = {"tcp": server.url, "unix": server.unix_url, "memory": "memory://"}[kind]
    before = server.client().info("clients")["connected_clients"]
    connection = await open_connection(Settings.load(url))
    await asyncio.gather(*(connection.client.ping() for _ in range(3)))
    await connection.aclose()
    await connection.aclose()
    await wait_until(lambda: server.client().info("clients")["connected_clients"] == before)
    del connection
    gc.collect()


async def test_closing_raises_nothing_when_the_server_hangs() -> None:
    with valkey_server() as server:
        async with connected(server.url, deadline=0.2) as connection:
            await connection.client.ping()
            server.pause()


# memory://


async def test_memory_stores_share_their_data_by_name_and_warn_that_it_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"memory://{uuid.uuid4().hex}"
    async with connected(name) as one, connected(name) as two, connected("memory://") as three:
        assert one.kind == "memory"
        await one.client.set("k", "v")
        assert await two.client.get("k") == b"v"
        assert await three.client.get("k") is None
    async with connected(name) as again:
        assert await again.client.get("k") == b"v"
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"{name} keeps sessions in this process only" in caplog.text


async def test_nameless_memory_stores_share_nothing() -> None:
    async with connected("memory://") as one, connected("memory://") as two:
        await one.client.set("k", "v")
        assert await two.client.get("k") is None


async def test_memory_runs_lua() -> None:
    async with connected("memory://") as connection:
        assert await connection.client.eval("return redis.call('ECHO', ARGV[1])", 0, "x") == b"x"


# Sentinel


async def succeeds(connection: Connection, *command: str) -> bool:
    """One attempt as ``calls.py`` makes them: a reset after each failure."""
    with contextlib.suppress(RedisError):
        return bool(await connection.client.execute_command(*command))
    await connection.reset()
    return False


async def test_sentinel_leads_to_the_primary_and_past_its_hanging_to_the_next() -> None:
    with sentinel_trio(requirepass=SECRET, sentinel_password=SECRET[::-1]) as trio:
        old = trio.primary
        async with connected(f"{trio.url}/1", deadline=1, sentinel_password=SECRET[::-1]) as connection:
            assert connection.kind == "sentinel"
            assert (await connection.client.client_info())["db"] == 1
            old.pause()
            started = time.monotonic()
            with pytest.raises(RedisError, match="Timeout"):
                await connection.client.get("k")
            assert time.monotonic() - started < 2
            await wait_until(lambda: succeeds(connection, "SET", "k", "after"), 30)
            assert trio.primary is not old
            old.resume()


async def test_a_demoted_primary_loses_its_connections_and_then_its_clients() -> None:
    with sentinel_trio() as trio:
        old = trio.primary
        successor = next(node for node in trio.nodes if node is not old)
        async with connected(trio.url, deadline=2) as connection:
            before = await connection.client.client_id()
            old.client().replicaof(HOST, successor.port)
            with pytest.raises(RedisConnectionError, match="previous master is now a slave"):
                await connection.client.set("k", "v")
            old.client().replicaof("NO", "ONE")
            assert await connection.client.client_id() != before

            trio.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", trio.service)
            await wait_until(lambda: trio.primary is not old, 30)

            async def arrives() -> bool:
                # Until it learns of its demotion, the old primary accepts writes, which are then lost.
                return await succeeds(connection, "SET", "k", "v") and trio.primary.client().exists("k")

            await wait_until(arrives, 30)


async def test_a_primary_that_was_replaced_and_goes_on_answering_is_left_for_the_new_one() -> None:
    """As after two failovers in a row: for some 10 s the first successor thinks that it is primary still."""
    with (
        valkey_server() as old,
        valkey_server() as new,
        a_sentinel("valkey", sentinel=[("monitor", "sessions", HOST, old.port, 1)]) as sentinel,
    ):
        async with SessionStore.from_url(f"redis+sentinel://{HOST}:{sentinel.port}/sessions") as store:
            await store.append("flow", text="before", sender="User", sender_name="Ann")
            sentinel.client().execute_command("SENTINEL REMOVE", "sessions")
            sentinel.client().execute_command("SENTINEL MONITOR", "sessions", HOST, new.port, 1)

            async def arrives() -> bool:
                await store.append("flow", text="after", sender="User", sender_name="Ann")
                return bool(new.client().exists("rs:{flow}:log:flow"))

            await wait_until(arrives, 5)
            assert [message.text for message in await store.history("flow", "flow")] == ["after"]


async def test_sentinels_that_hang_cost_one_attempt_together() -> None:
    with sentinel_trio() as trio, contextlib.ExitStack() as resumed:
        async with connected(trio.url, deadline=2) as connection:
            for sentinel in trio.sentinels[:2]:
                sentinel.pause()
                resumed.callback(sentinel.resume)
            started = time.monotonic()
            assert await connection.client.ping() is True
            assert time.monotonic() - started < 1
            await asyncio.gather(*(connection.client.ping() for _ in range(20)))


async def test_closing_closes_the_sentinels_connections_too() -> None:
    with sentinel_trio() as trio:
        clients = trio.sentinels[0].client()
        before = clients.info("clients")["connected_clients"]
        async with connected(trio.url) as connection:
            await connection.client.ping()
        await wait_until(lambda: clients.info("clients")["connected_clients"] == before)
