"""Langflow's own Playground in a real browser, its page and its data served by either of two servers."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.support.langflow import LangflowServer, langflow_server

from .flows import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

CHROMIUM = shutil.which("chromium")
PATIENCE = 120_000
"""Milliseconds: the editor is large, and machines of CI are slow."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            if CHROMIUM is None:
                pytest.skip("needs a browser: apt install chromium, or playwright install chromium")
            raise error
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def one(
    plugged: LangflowServer, valkey: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LangflowServer]:
    folder = tmp_path_factory.mktemp("one")
    with langflow_server(
        folder, database=plugged.database, frontend=True, REDIS_SESSIONS_URL=valkey.url
    ) as server:
        yield server


class Playground:
    """A flow's Playground in a page of its own."""

    def __init__(self, browser: Browser, server: LangflowServer, flow: str) -> None:
        self.page: Page = browser.new_context(viewport={"width": 1500, "height": 900}).new_page()
        self.page.set_default_timeout(PATIENCE)
        self._url = f"{server.url}/flow/{flow}"
        self._flow = flow
        self.reload()

    def reload(self) -> None:
        self.page.goto(self._url)
        self.page.get_by_test_id("playground-btn-flow-io").click()
        self.page.get_by_test_id("input-chat-playground").wait_for()

    def say(self, text: str) -> None:
        """Send a message, and wait for the answer, which repeats it."""
        self.page.get_by_test_id("input-chat-playground").fill(text)
        self.page.get_by_test_id("button-send").click()
        self.page.get_by_test_id(f"chat-message-AI-{text}").wait_for()

    def shows(self, *texts: str) -> None:
        """Wait until the conversation is these, each said and answered."""
        spoken = self.page.locator('[data-testid^="chat-message-User-"], [data-testid^="chat-message-AI-"]')
        expected = [text for text in texts for _ in range(2)]
        expect(spoken).to_have_text(expected, timeout=PATIENCE)

    def lists(self, *names: str) -> None:
        """Wait until these are the sessions; the default one is the flow's."""
        expect(self.page.get_by_test_id("session-selector")).to_have_text(list(names), timeout=PATIENCE)

    def open(self, name: str) -> None:
        self.page.get_by_test_id("session-selector").filter(has_text=name).click()

    def start_session(self) -> None:
        self.page.get_by_test_id("new-chat").click()

    def choose(self, name: str, option: str) -> None:
        session = self._flow if name == "Default Session" else name
        self.page.get_by_test_id(f"session-{session}-more-menu").click()
        self.page.get_by_test_id(f"{option}-session-option").click()

    def rename(self, name: str, wanted: str) -> None:
        self.choose(name, "rename")
        field = self.page.get_by_test_id("session-rename-input")
        field.fill(wanted)
        field.press("Enter")


def test_sessions_are_listed_read_renamed_and_deleted_on_either_server(
    browser: Browser, one: LangflowServer, pair: tuple[LangflowServer, LangflowServer]
) -> None:
    other = pair[1]
    flow = one.create_flow(chat(f"playground {uuid4()}"))

    here = Playground(browser, one, flow)
    here.say("first words")
    here.start_session()
    here.say("second words")
    here.lists("Default Session", "New Session 0")

    there = Playground(browser, other, flow)
    there.lists("Default Session", "New Session 0")
    there.shows("first words")
    there.open("New Session 0")
    there.shows("second words")
    there.rename("New Session 0", "renamed over there")
    there.lists("Default Session", "renamed over there")
    there.say("third words")

    here.reload()
    here.lists("Default Session", "renamed over there")
    here.open("renamed over there")
    here.shows("second words", "third words")
    here.choose("renamed over there", "delete")
    here.lists("Default Session")
    here.reload()
    here.lists("Default Session")
    here.shows("first words")

    there.reload()
    there.lists("Default Session")
    there.shows("first words")
    assert one.sessions(flow) == [flow]
