"""The page in a real browser, before a real service and a real Valkey, all in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import re
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
import uvicorn

from redis_sessions import NewMessage, SessionStore
from redis_sessions.monitor import monitor_app
from tests.support import valkey_server, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

    from redis_sessions.monitor import Access
    from tests.support import Server

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SESSION = "refund-4711"


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    with valkey_server() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs playwright: pip install playwright")
    from playwright.async_api import Error, async_playwright

    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except Error as error:
            if CHROMIUM is None:
                pytest.skip("needs a browser: apt install chromium, or playwright install chromium")
            raise error
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def store(valkey: Server) -> AsyncIterator[SessionStore]:
    """What other clients write through."""
    async with SessionStore.from_url(valkey.url, prefix=f"p{uuid.uuid4().hex[:12]}") as store:
        yield store
    valkey.client().flushall()


@pytest.fixture
def flow() -> str:
    return str(uuid.uuid4())


@contextlib.asynccontextmanager
async def served(store: SessionStore, access: Access | None = None, *, port: int = 0) -> AsyncIterator[str]:
    """The address of a service."""
    app = monitor_app(store, access=access)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        connections = list(server.server_state.connections)
        server.should_exit = server.force_exit = True
        await task
        for connection in connections:
            connection.transport.abort()


@pytest_asyncio.fixture(loop_scope="session")
async def url(store: SessionStore) -> AsyncIterator[str]:
    async with served(store) as url:
        yield url


@dataclass
class Watched:
    """Browser pages whose console is watched: at a test's end it must have been silent."""

    browser: Browser
    expected: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def expect(self, text: str) -> None:
        """The console may say this: browsers log answers such as 403 as errors."""
        self.expected.append(text)

    async def open(self, url: str, **options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        context = await self.browser.new_context(**options)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        await page.goto(url)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def check(self) -> None:
        assert [text for text in self.said if not any(known in text for known in self.expected)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser) -> AsyncIterator[Watched]:
    watched = Watched(browser)
    yield watched
    for context in watched.contexts:
        await context.close()
    watched.check()


def said(
    session: str, text: str, *, ago: timedelta = timedelta(0), who: str = "Ada", **fields: Any
) -> NewMessage:
    fields = {"sender": "Machine" if who == "AI" else "User", **fields}
    when = datetime.now(UTC) - ago
    return NewMessage(session_id=session, text=text, sender_name=who, timestamp=when, **fields)


def talk(session: str, count: int) -> list[NewMessage]:
    """``count`` messages, a second apart, the last one now."""
    return [
        said(
            session,
            f"message {number}",
            ago=timedelta(seconds=count - number),
            who="AI" if number % 2 else "Ada",
        )
        for number in range(1, count + 1)
    ]


def address(url: str, flow: str, session: str = "") -> str:
    return f"{url}#/{flow}" + (f"/{quote(session, safe='')}" if session else "")


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")


def row(page: Page, session: str) -> Any:
    """A session in the list."""
    return page.get_by_role("listitem").filter(has=page.locator(".row-name", has_text=exactly(session)))


def message(page: Page, text: str) -> Any:
    """A message of the conversation that is open."""
    return page.get_by_role("article").filter(has=page.locator(".message-text", has_text=exactly(text)))


def heading(page: Page, text: str) -> Any:
    return page.get_by_role("heading", name=text, exact=True)


@pytest.fixture
async def memory_store() -> AsyncIterator[SessionStore]:
    """For what is tested without a browser."""
    async with SessionStore.from_url(f"memory://{uuid.uuid4().hex}") as store:
        yield store


@pytest.fixture
async def client(memory_store: SessionStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(monitor_app(memory_store))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client
