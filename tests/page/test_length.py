"""Ten thousand of anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .conftest import SESSION, address, message, row, said, talk

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need playwright")
expect = playwright.expect

if TYPE_CHECKING:
    from playwright.async_api import Page

    from redis_sessions import SessionStore

    from .conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 10_000
MOST_ELEMENTS = 6_000
"""Of the whole document: what is in sight and some around it."""
SLOWEST_MS = 1_500
"""The longest that the page may not react, on the slow and busy machines that run tests."""

WATCH = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
  }).observe({ type: "longtask", buffered: true });
}"""


async def elements(page: Page) -> int:
    return int(await page.evaluate("() => document.querySelectorAll('*').length"))


async def scroll_until(page: Page, selector: str, position: str, condition: str) -> int:
    """Scrolls to ``position`` each frame until ``condition`` holds; the most elements there were."""
    most: Any = await page.locator(selector).evaluate(
        f"""(element) => new Promise((resolve) => {{
          let most = 0;
          const step = () => {{
            most = Math.max(most, document.querySelectorAll("*").length);
            if ({condition}) resolve(most);
            else {{
              element.scrollTop = {position};
              requestAnimationFrame(step);
            }}
          }};
          step();
        }})"""
    )
    return int(most)


async def test_ten_thousand_sessions(store: SessionStore, flow: str, url: str, pages: Watched) -> None:
    for first in range(0, MANY, 500):
        await store.append_many(
            flow, [said(f"session-{number:05}", "hello") for number in range(first, first + 500)]
        )
    page = await pages.open(url)
    await page.evaluate(WATCH)
    await expect(row(page, "session-09999")).to_be_visible()

    most = await scroll_until(
        page, "#rows-scroll", "element.scrollHeight", "document.querySelector('.row[aria-setsize=\"10000\"]')"
    )
    await page.locator("#rows-scroll").evaluate("element => { element.scrollTop = element.scrollHeight; }")

    await expect(row(page, "session-00000")).to_be_visible()
    assert most < 1_000
    assert await page.evaluate("() => window.longest") < SLOWEST_MS
    await row(page, "session-00001").get_by_role("link").click()
    await expect(message(page, "hello")).to_be_visible()
    await page.get_by_label("Filter sessions by name").fill("-0777")
    await expect(page.locator(".row-name").first).to_have_text("session-07779")
    await expect(page.locator("#filter-result")).to_have_text("10 sessions found")


async def test_ten_thousand_messages(store: SessionStore, flow: str, url: str, pages: Watched) -> None:
    messages = talk(SESSION, MANY)
    for first in range(0, MANY, 500):
        await store.append_many(flow, messages[first : first + 500])
    page = await pages.open(address(url, flow, SESSION))
    await page.evaluate(WATCH)
    await expect(message(page, f"message {MANY}")).to_be_in_viewport()

    most = await scroll_until(
        page,
        "#feed-scroll",
        "0",
        "document.querySelector('#beginning').textContent.startsWith('The beginning')",
    )
    await page.locator("#feed-scroll").evaluate("element => { element.scrollTop = 0; }")

    await expect(message(page, "message 1")).to_be_in_viewport()
    assert most < MOST_ELEMENTS
    assert await page.evaluate("() => window.longest") < SLOWEST_MS
    await expect(page.locator(".sheet")).to_have_count(MANY // 50)
    await page.get_by_role("button", name="To the newest").click()
    await expect(message(page, f"message {MANY}")).to_be_in_viewport()
    await store.append(flow, text="one more", sender="User", sender_name="Ada", session_id=SESSION)
    await expect(message(page, "one more")).to_be_in_viewport()
    assert await elements(page) < MOST_ELEMENTS
