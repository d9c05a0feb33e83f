"""The server behind `serve`: from options to an answering port, and down again in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

from redis_sessions.cli.exits import Exit, fail, failures
from redis_sessions.cli.options import DEFAULT_URL
from redis_sessions.cli.output import notice, say, visible
from redis_sessions.cli.running import safe_url
from redis_sessions.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import uvicorn

    from redis_sessions.cli.options import Where
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore

_INSIST = 1.0
_GRACE = 5
"""Seconds that requests under way may take when the server stops."""


def serve_until_stopped(where: Where, host: str, port: int, *, demo: bool) -> None:
    """Serve until SIGINT or SIGTERM; errors end the command with their exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with failures():
        _check_extras()
        settings = where.settings() or _settings_of_this_machine(where)
    with contextlib.closing(_listen(host, port)) as listener, failures(safe_url(settings)):
        asyncio.run(_Serving(settings, listener, demo=demo).run())


class _Serving:
    """One run of the server. SIGINT and SIGTERM end it at any point; SIGINT again leaves no grace."""

    def __init__(self, settings: Settings, listener: socket.socket, *, demo: bool) -> None:
        self._settings = settings
        self._listener = listener
        self._demo = demo
        self._server: uvicorn.Server | None = None

    async def run(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            if self._server is not None:
                self._server.handle_exit(number, None)
            elif task is not None and not task.done():
                task.cancel()
                # Once may not do: redis-py connects through asyncio.wait_for, which in Python 3.11 can
                # lose a cancellation.
                loop.call_later(_INSIST, stop, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve()

    async def _serve(self) -> None:
        from redis_sessions.store import SessionStore

        async with SessionStore(self._settings) as store:
            if self._demo:
                await self._load_demo(store)
            self._server = _server(store)
            say(await self._greeting(store))
            await self._server.serve([self._listener])
            notice("stopped")

    async def _load_demo(self, store: SessionStore) -> None:
        from redis_sessions.cli.demo import FLOW, load_demo

        if await load_demo(store):
            notice(f"loaded the demo: flow {FLOW}")
        else:
            notice("the store is not empty: the demo is not loaded again")

    async def _greeting(self, store: SessionStore) -> str:
        from redis_sessions.cli.demo import FLOW, SESSION

        base = _http_url(self._listener)
        where = visible(store.connection.safe_url)
        forgets = " (in this process only: gone when it ends)" if store.connection.kind == "memory" else ""
        example = f"{base}/api/v1/monitor/messages/sessions"
        if self._demo and await store.history(FLOW, SESSION, limit=1):
            example = f"{base}/api/v1/monitor/messages?flow_id={FLOW}&session_id={SESSION}"
        return f"data:    {where}{forgets}\ntry:     curl '{example}'\nserving: {base}  (Ctrl-C stops)"


def _server(store: SessionStore) -> uvicorn.Server:
    import uvicorn

    from redis_sessions.monitor import monitor_app

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are handled in _Serving, which also has the time before and after

    app: Any = monitor_app(store)
    return Server(
        uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE
        )
    )


def _check_extras() -> None:
    try:
        for name in ("starlette", "uvicorn"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"serve needs {error.name}: pip install 'redis-sessions[serve]'") from None


def _settings_of_this_machine(where: Where) -> Settings:
    reason = _why_not_embedded()
    if reason is None:
        return where.load(DEFAULT_URL)
    notice(f"no URL is set, and {reason}; serving from memory://")
    return where.load("memory://")


def _why_not_embedded() -> str | None:
    try:
        from redis_sessions import embedded

        embedded._find_binary()
    except ImportError:
        return "embedded:// runs on Linux and macOS only"
    except ConfigurationError as error:
        return str(error)
    return None


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address of this machine. Ends the command when there is none."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        fail(
            Exit.BAD_INPUT, f"--host {host!r} is not an address of this machine", "127.0.0.1 is the usual one"
        )
    if not all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found):
        fail(
            Exit.BAD_INPUT,
            f"--host {host!r} can be reached from other machines, and there is no login yet: "
            "everybody there could read and delete all sessions",
            "listen on 127.0.0.1, and put a proxy that authenticates in front",
        )
    family, _, _, _, address = found[0]
    try:
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fail(
                Exit.FAILED,
                f"port {port} of {host} is in use",
                "choose another with --port, or 0 for any free one",
            )
        fail(Exit.BAD_INPUT, f"cannot listen on {host} port {port}: {error.strerror or error}")


def _http_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
