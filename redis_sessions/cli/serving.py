"""The server behind `serve`: from options to an answering port, and down again in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from redis_sessions.cli.exits import Exit, fail, failures
from redis_sessions.cli.extras import need
from redis_sessions.cli.options import DEFAULT_URL
from redis_sessions.cli.output import notice, say, visible
from redis_sessions.cli.running import safe_url
from redis_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import uvicorn

    from redis_sessions.cli.options import Where
    from redis_sessions.monitor import Access, MonitorSettings
    from redis_sessions.settings import Settings
    from redis_sessions.store import SessionStore

_INSIST = 1.0
_GRACE = 5
"""Seconds that requests under way may take when the server stops."""


def serve_until_stopped(where: Where, host: str, port: int, *, demo: bool, options: dict[str, Any]) -> None:
    """Serve until SIGINT or SIGTERM; errors end the command with their exit code.

    Args:
        options: those of :class:`~redis_sessions.monitor.MonitorSettings`; None for what was not given.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with failures():
        need("serve", "starlette", "uvicorn", "redis_sessions.monitor")
        from redis_sessions.monitor import MonitorSettings, configured_access
        from redis_sessions.store import SessionStore

        monitor = MonitorSettings.load(**options)
        _check_options(monitor, options)
        store = SessionStore(where.settings() or _settings_of_this_machine(where))
        access = configured_access(monitor, store)
    with (
        contextlib.closing(_listen(host, port, monitor)) as listener,
        failures(safe_url(store.settings)),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(_Serving(store, access, monitor, listener, demo=demo).run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """That of uvloop, which takes up to a tenth less of the processor for a request, where it is there."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _check_options(monitor: MonitorSettings, options: dict[str, Any]) -> None:
    """An option that would be passed over was meant for something."""
    for name, kind in (("keys_file", "keys"), ("langflow_url", "langflow")):
        if options[name] is not None and monitor.access != kind:
            option = name.replace("_", "-")
            msg = f"--{option} is for --access {kind}; access is {monitor.access}"
            raise ConfigurationError(msg)


class _Serving:
    """One run of the server. SIGINT and SIGTERM end it at any point; SIGINT again leaves no grace."""

    def __init__(
        self,
        store: SessionStore,
        access: Access,
        monitor: MonitorSettings,
        listener: socket.socket,
        *,
        demo: bool,
    ) -> None:
        self._store = store
        self._access = access
        self._monitor = monitor
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
        from redis_sessions.monitor import LangflowAccess, monitor_app

        async with contextlib.AsyncExitStack() as stack:
            if isinstance(self._access, LangflowAccess):
                stack.push_async_callback(self._access.aclose)
            store = await stack.enter_async_context(self._store)
            if self._demo:
                await self._load_demo(store)
            self._server = _server(monitor_app(store, access=self._access, settings=self._monitor))
            say(await self._greeting(store))
            if not _is_loopback(self._listener):
                notice("other machines can connect, without encryption: put a proxy with TLS in front")
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
        key = "" if self._monitor.access == "open" else " -H 'x-api-key: …'"
        return (
            f"data:    {where}{forgets}\n"
            f"access:  {self._who()}\n"
            f"try:     curl{key} '{example}'\n"
            f"page:    {base}/\n"
            f"serving: {base}  (Ctrl-C stops)"
        )

    def _who(self) -> str:
        match self._monitor.access:
            case "keys":
                return "who has an API key, to its owner's flows"
            case "langflow":
                where = _without_password(self._monitor.langflow_url)
                return f"who {visible(where)} knows, to their own flows"
            case _:
                return "everybody on this machine, to everything"


def _server(app: Any) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are handled in _Serving, which also has the time before and after

    return Server(
        uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE
        )
    )


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


def _listen(host: str, port: int, monitor: MonitorSettings) -> socket.socket:
    """A socket that listens on an address of this machine. Ends the command when there is none."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        fail(
            Exit.BAD_INPUT, f"--host {host!r} is not an address of this machine", "127.0.0.1 is the usual one"
        )
    if monitor.access == "open":
        _check_is_here(host, [str(address[0]).partition("%")[0] for *_, address in found])
    family, _, _, _, address = found[0]
    try:
        listener = socket.create_server((str(address[0]), port), family=family)
        # asyncio does so itself only for sockets that name their protocol. Without it a short answer, whose
        # head and body are sent apart, waits 40 ms for the head's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
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


def _check_is_here(host: str, addresses: list[str]) -> None:
    from redis_sessions.monitor import OpenAccess

    try:
        for address in addresses:
            OpenAccess.check_address(address)
    except ConfigurationError:
        fail(
            Exit.BAD_INPUT,
            f"--host {host!r} can be reached from other machines, and access is open: "
            "everybody there could read and delete all sessions",
            "listen on 127.0.0.1, or say who gets in with --access keys or --access langflow",
        )


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(str(listener.getsockname()[0]).partition("%")[0]).is_loopback


def _without_password(url: str | None) -> str:
    parts = urlsplit(url or "")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
