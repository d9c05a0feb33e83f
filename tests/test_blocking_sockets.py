"""How threads reach one server: what ``blocking/sockets.py`` does that redis-py's clients do elsewhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trustme
from redis.connection import Connection as TCPConnection
from redis.exceptions import InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_sessions import AuthenticationError, ConfigurationError, TLSError
from redis_sessions.blocking import SessionStore
from redis_sessions.blocking.sockets import Socket
from redis_sessions.blocking.thread import InThread, Step, drive
from tests.support import HOST, Proxy, Server, valkey_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "s3cret p@ss/w#rd?:%41{}ü"
FLOW = "flow"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
def secured() -> Iterator[Server]:
    with valkey_server(requirepass=PASSWORD, user=("app", "on", f">{PASSWORD}", "~*", "+@all")) as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def talk(url: str, **options: Any) -> list[str]:
    """What a store at ``url`` gives back of what it is told."""
    with SessionStore.from_url(url, **options) as store:
        store.delete_session(FLOW, "chat")
        store.append(FLOW, session_id="chat", text="x" * 300_000, sender="User", sender_name="Ann")
        store.append(FLOW, session_id="chat", text="second", sender="User", sender_name="Ann")
        return [message.text[:10] for message in store.history(FLOW, "chat")]


TALKED = ["x" * 10, "second"]


# --- where it is, and who we are --------------------------------------------------------------------


def test_a_server_is_reached_over_its_socket(server: Server) -> None:
    assert talk(f"{server.unix_url}?db=2") == TALKED
    assert server.client().info("keyspace")["db2"]


def test_a_user_and_a_password_may_be_in_the_url_or_a_setting(secured: Server) -> None:
    assert talk(f"redis://app:{quote(PASSWORD, safe='')}@{HOST}:{secured.port}/1") == TALKED
    assert talk(f"redis://{HOST}:{secured.port}/1", username="app", password=PASSWORD) == TALKED


def test_a_refused_password_is_told_and_not_repeated(secured: Server) -> None:
    with pytest.raises(AuthenticationError) as raised:
        talk(f"redis://:wrong-one@{HOST}:{secured.port}/1")
    assert "wrong-one" not in str(raised.value)


async def test_tls_works_with_the_right_authority(
    server: Server, authority: trustme.CA, ca_file: Path
) -> None:
    async with Proxy(server, ssl=tls_for(authority, HOST)) as proxy:
        assert await asyncio.to_thread(talk, proxy.url, tls_ca_file=ca_file) == TALKED


async def test_tls_refuses_a_stranger(server: Server, authority: trustme.CA, ca_file: Path) -> None:
    async with Proxy(server, ssl=tls_for(authority, "other.example")) as proxy:
        with pytest.raises(TLSError):
            await asyncio.to_thread(talk, proxy.url, tls_ca_file=ca_file)
        assert proxy.requests == []


async def test_a_connection_over_tls_is_used_again(
    server: Server, authority: trustme.CA, ca_file: Path
) -> None:
    async with Proxy(server, ssl=tls_for(authority, HOST)) as proxy:
        await asyncio.to_thread(talk, proxy.url, tls_ca_file=ca_file)
        assert proxy.accepted == 1


def test_a_store_that_cannot_be_opened_keeps_no_connection(server: Server) -> None:
    before = len(server.client().client_list())
    with pytest.raises(ConfigurationError, match="no database of that number"):
        talk(f"redis://{HOST}:{server.port}/9999")
    assert len(server.client().client_list()) == before


# --- how threads wait -------------------------------------------------------------------------------


def test_an_operation_has_the_lock_but_for_its_steps() -> None:
    lock = threading.RLock()
    seen: list[bool] = []

    def is_free() -> None:
        def look() -> None:
            free = lock.acquire(blocking=False)
            if free:
                lock.release()
            seen.append(free)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    async def operation() -> str:
        is_free()
        await Step(is_free)
        is_free()
        return "done"

    assert drive(operation(), lock) == "done"
    assert seen == [False, True, False]


def test_a_step_that_fails_fails_in_the_operation() -> None:
    def fail() -> None:
        raise OSError("no way")

    async def operation() -> str:
        try:
            await Step(fail)
        except OSError as error:
            return f"caught {error}"
        return "unreachable"

    assert drive(operation(), threading.RLock()) == "caught no way"


def test_an_interrupted_step_ends_the_operation_in_order() -> None:
    ended: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def operation() -> None:
        try:
            await Step(interrupt)
        finally:
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        drive(operation(), threading.RLock())
    assert ended == ["in order"]


def test_a_time_limit_inside_another_is_never_longer() -> None:
    waiting = InThread()

    async def operation() -> list[float | None]:
        found = [waiting.until]
        async with waiting.timeout(1):
            found.append(waiting.until)
            async with waiting.timeout(60):
                found.append(waiting.until)
            found.append(waiting.until)
        return [*found, waiting.until]

    before, outer, inner, again, after = drive(operation(), threading.RLock())
    assert before is after is None
    assert outer == inner == again is not None


def test_operations_that_are_gathered_run_in_their_order_and_fail_alone() -> None:
    waiting, ran = InThread(), []

    async def operation(number: int) -> int:
        ran.append(number)
        if number == 1:
            raise ValueError(number)
        return number

    outcomes = drive(waiting.gather([operation(number) for number in range(3)]), threading.RLock())
    assert ran == [0, 1, 2]
    assert (outcomes[0], outcomes[2]) == (0, 2)
    assert isinstance(outcomes[1], ValueError)


# --- an exchange ------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[Socket, socket.socket]]:
    """An end of a connection as redis-py has it, and the other one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Socket(SimpleNamespace(_sock=ours, _parser=TCPConnection()._parser), 5.0, 0), theirs


def test_a_reply_in_pieces_is_put_together(ends: tuple[Socket, socket.socket]) -> None:
    line, theirs = ends
    theirs.sendall(b"$5\r\nhe")
    later = threading.Timer(0.05, theirs.sendall, [b"llo\r\n:7\r\n"])
    later.start()
    assert line.exchange(b"*0\r\n", 2, time.monotonic() + 5) == [b"hello", 7]
    later.join()


def test_pieces_that_go_on_coming_do_not_prolong_an_exchange(ends: tuple[Socket, socket.socket]) -> None:
    line, theirs = ends
    over = threading.Event()

    def trickle() -> None:
        theirs.sendall(b"$500\r\n")
        while not over.wait(0.02):
            theirs.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        line.exchange(b"*0\r\n", 1, started + 0.3)
    assert 0.3 <= time.monotonic() - started < 3
    over.set()
    thread.join()


def test_an_error_reply_is_in_its_place(ends: tuple[Socket, socket.socket]) -> None:
    line, theirs = ends
    theirs.sendall(b"+OK\r\n-ERR no\r\n:1\r\n")
    first, error, third = line.exchange(b"*0\r\n", 3, time.monotonic() + 5)
    assert (first, str(error), third) == (b"OK", "no", 1)
    assert isinstance(error, ResponseError)


def test_a_connection_on_which_something_came_unasked_is_not_used(ends: tuple[Socket, socket.socket]) -> None:
    line, theirs = ends
    assert line.usable
    theirs.sendall(b"+OK\r\n")
    assert not line.usable


def test_a_reply_too_many_is_an_error(ends: tuple[Socket, socket.socket]) -> None:
    line, theirs = ends
    theirs.sendall(b"+OK\r\n+OK\r\n")
    with pytest.raises(InvalidResponse):
        line.exchange(b"*0\r\n", 1, time.monotonic() + 5)


def tls_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context
