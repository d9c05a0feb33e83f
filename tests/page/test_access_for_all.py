"""Keys, names, colours and motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import SESSION, address, heading, message, row, said, talk

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need playwright")
expect = playwright.expect

if TYPE_CHECKING:
    from redis_sessions import SessionStore

    from .conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMELESS = """() =>
  [...document.querySelectorAll("a, button, input, select, textarea, dialog, nav, main, article")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.ariaLabel || one.title || one.textContent.trim()))
  .filter((one) => !(one.labels?.length || one.ariaLabelledByElements?.length))
  .map((one) => one.outerHTML)"""
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!/(, 0\\)|\\/ 0\\))$/.test(color) && color !== "transparent") return color;
    }
    return "white";
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility({ opacityProperty: true })) continue;
    const both = [light(getComputedStyle(element).color), light(ground(element))];
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.className} ${walker.currentNode.data.trim()}`);
  }
  return low;
}"""


async def test_everything_can_be_done_with_keys(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    for session in ("third", "second", "first"):
        await store.append_many(flow, talk(session, 3))
    page = await pages.open(url)
    await expect(row(page, "first")).to_be_visible()
    link = {name: page.get_by_role("link", name=name) for name in ("first", "second", "third")}

    await page.keyboard.press("/")
    await expect(page.get_by_label("Filter sessions by name")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(link["first"]).to_be_focused()
    await page.keyboard.press("End")
    await expect(link["third"]).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(link["second"]).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(heading(page, "second")).to_be_visible()
    await expect(link["second"]).to_be_focused()
    await page.keyboard.press("F2")
    field = page.get_by_role("textbox", name="Name of the session")
    await expect(field).to_be_focused()
    await page.keyboard.type("2nd")
    await page.keyboard.press("Enter")
    await expect(heading(page, "2nd")).to_be_visible()
    await expect(page.get_by_role("button", name="Rename")).to_be_focused()

    for _ in range(3):
        await page.keyboard.press("Tab")
    await expect(message(page, "message 3")).to_be_focused()
    await page.keyboard.press("PageUp")
    await expect(message(page, "message 2")).to_be_focused()
    await page.keyboard.press("e")
    await expect(page.get_by_role("textbox", name="Text of the message")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(message(page, "message 2").get_by_role("button", name="Edit")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    await expect(message(page, "message 3")).to_be_focused()
    await link["first"].focus()
    await page.keyboard.press("Delete")
    await expect(page.get_by_role("dialog", name="Delete this session?")).to_contain_text("“first”")
    await page.keyboard.press("Escape")
    await expect(link["first"]).to_be_focused()


async def test_the_first_stop_leads_to_the_conversation(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, talk(SESSION, 3))
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "message 3")).to_be_visible()

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the conversation")).to_be_focused()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("main")).to_be_focused()
    await expect(page).to_have_url(address(url, flow, SESSION))


async def test_a_row_that_moves_keeps_the_focus(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    for session in ("third", "second", "first"):
        await store.append_many(flow, talk(session, 1))
    page = await pages.open(url)
    await page.get_by_role("link", name="third").focus()

    await store.append(flow, text="up", sender="User", sender_name="Ada", session_id="third")

    await expect(page.locator(".row-name")).to_have_text(["third", "first", "second"])
    await expect(page.get_by_role("link", name="third")).to_be_focused()


async def test_what_can_be_used_has_a_name(store: SessionStore, flow: str, url: str, pages: Watched) -> None:
    await store.append_many(flow, [said(SESSION, "hello", files=[f"{flow}/a.png"])])
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "hello")).to_be_visible()

    assert await page.evaluate(NAMELESS) == []
    await message(page, "hello").hover()
    await page.get_by_role("button", name="Edit").click()
    assert await page.evaluate(NAMELESS) == []
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Rename").click()
    assert await page.evaluate(NAMELESS) == []
    await expect(page.get_by_role("navigation", name="Sessions")).to_be_visible()
    await expect(page.get_by_role("main", name=SESSION)).to_be_visible()
    await expect(page.get_by_role("feed")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(
    store: SessionStore, flow: str, url: str, pages: Watched, scheme: str
) -> None:
    await store.append_many(
        flow,
        [
            said("other", "x"),
            said(SESSION, "hello"),
            said(SESSION, "no", who="AI", category="error"),
            said(SESSION, ""),
        ],
    )
    page = await pages.open(address(url, flow, SESSION), color_scheme=scheme)
    await expect(message(page, "hello")).to_be_visible()

    assert await page.evaluate(CONTRAST) == []
    await page.get_by_role("group", name="This session").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await page.locator("dialog").first.evaluate(CONTRAST) == []


async def test_who_wants_no_motion_sees_none(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, talk(SESSION, 1))
    page = await pages.open(address(url, flow, SESSION), reduced_motion="reduce")
    await store.append(flow, text="new", sender="User", sender_name="Ada", session_id=SESSION)
    await expect(message(page, "new")).to_be_visible()

    moving = await page.evaluate(
        "() => document.getAnimations().filter((one) => one.effect.getComputedTiming().duration > 0).length"
    )

    assert moving == 0
