"""Whatever somebody writes is shown, and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import SESSION, address, message, said

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need playwright")
expect = playwright.expect

if TYPE_CHECKING:
    from redis_sessions import SessionStore

    from .conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = {
    "image": "<img src=x onerror=\"document.title='owned'\">",
    "script": "</p><script>document.title = 'owned'</script>",
    "style": "<style>body { display: none }</style>",
    "template": "${document.title} {{7*7}} &lt;b&gt; &#x202e;",
    "override": "\u202etxet desrever\u2066 ﷽",
    "unclosed": "\u2067" * 50 + "right to left",
    "separators": "one\u2028two\u2029three",
    "zalgo": "Z" + "\u0310\u0320\u0331" * 40,
}
# Shown, with what would not be seen spelled out.
NAMES = {
    "a/b/../c": "a/b/../c",
    "..": "..",
    "a%2Fb%252F%": "a%2Fb%252F%",
    "\"quoted\" 'and' `more`": "\"quoted\" 'and' `more`",
    "🦊👩‍👩‍👧": "🦊👩‍👩‍👧",
    "two\nlines\tand a tab": "two↵lines⇥and a tab",
    "<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    "x\u202egpj.exe": "x‹U+202E›gpj.exe",
    "a+b&c=d#e?f;g": "a+b&c=d#e?f;g",
    " leading and trailing ": " leading and trailing ",
    "ü" * 1_024: "ü" * 1_024,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_hostile_message_is_text(
    store: SessionStore, flow: str, url: str, pages: Watched, text: str
) -> None:
    await store.append_many(flow, [said(SESSION, text, who=text[:30]), said(SESSION, "after")])

    page = await pages.open(address(url, flow, SESSION))

    shown = page.locator(".message-text").first
    await expect(message(page, "after")).to_be_visible()
    assert await shown.text_content() == text
    assert await shown.evaluate("element => element.childElementCount") == 0
    assert await page.locator("main :is(img, script, style, iframe)").count() == 0
    await expect(page).to_have_title(f"{SESSION} · Sessions")
    await message(page, "after").hover()
    await expect(message(page, "after").get_by_role("button", name="Edit")).to_be_visible()


async def test_a_very_long_word_breaks_and_the_page_stays_as_wide_as_it_is(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, [said(SESSION, "W" * 20_000, who="V" * 500), said("S" * 500, "x" * 500)])

    page = await pages.open(address(url, flow, SESSION))

    await expect(page.get_by_role("article")).to_be_visible()
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 700})
        for selector in ("html", "#feed-scroll"):
            wide = await page.locator(selector).evaluate(
                "element => element.scrollWidth - element.clientWidth"
            )
            assert wide <= 0


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=[ascii(name[:20]) for name in NAMES])
async def test_a_session_of_any_name_is_opened_renamed_and_deleted(
    store: SessionStore, flow: str, url: str, pages: Watched, name: str, shown: str
) -> None:
    await store.append(flow, text="in it", sender="User", sender_name="Ada", session_id="plain")
    page = await pages.open(address(url, flow, "plain"))
    await page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("textbox", name="Name of the session")

    if "\n" in name:  # which cannot be typed
        await field.press("Escape")
        await store.rename_session(flow, "plain", name)
    else:
        await field.fill(name)
        await field.press("Enter")

    await expect(page.locator("#title")).to_have_text(shown, use_inner_text=False)
    assert await page.locator("#title").text_content() == shown
    assert await store.sessions(flow) == [name]
    await page.reload()
    await expect(message(page, "in it")).to_be_visible()
    assert await page.locator(".row-name").text_content() == shown
    await store.append(flow, text="live", sender="User", sender_name="Ada", session_id=name)
    await expect(message(page, "live")).to_be_visible()
    await page.get_by_role("group", name="This session").get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator("#toast")).to_have_text("Session deleted")
    assert await store.sessions(flow) == []
