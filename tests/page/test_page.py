"""What one sees and does on the session page."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redis_sessions import MessageUpdate

from .conftest import SESSION, address, heading, message, row, said, talk

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need playwright")
expect = playwright.expect

if TYPE_CHECKING:
    from playwright.async_api import Route

    from redis_sessions import SessionStore

    from .conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def greet(store: SessionStore, flow: str, *sessions: str) -> None:
    """Sessions with two messages each, the first one named the newest."""
    for age, session in reversed(list(enumerate(sessions))):
        ago = timedelta(minutes=age + 1)
        await store.append_many(
            flow,
            [said(session, f"hello {session}", ago=ago), said(session, "How can I help?", ago=ago, who="AI")],
        )


async def test_sessions_are_listed_newest_first_with_their_last_message(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, "third", "second", "first")

    page = await pages.open(url)

    await expect(page.locator(".row-name")).to_have_text(["third", "second", "first"])
    await expect(row(page, "third")).to_contain_text("AI: How can I help?")
    await expect(heading(page, "Choose a session")).to_be_visible()


async def test_flows_are_chosen_newest_first(store: SessionStore, url: str, pages: Watched) -> None:
    flows = [f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3)]
    for flow in (flows[2], flows[0], flows[1]):
        await greet(store, flow, f"in {flow[0]}")
    await store.append("no-uuid", text="x", sender="User", sender_name="Ada")

    page = await pages.open(url)

    await expect(page.get_by_label("Flow").locator("option")).to_have_text([flows[1], flows[0], flows[2]])
    await expect(row(page, "in 2")).to_be_visible()
    await page.get_by_label("Flow").select_option(flows[2])
    await expect(page.locator(".row-name")).to_have_text(["in 3"])
    await page.go_back()
    await expect(page.locator(".row-name")).to_have_text(["in 2"])


async def test_a_conversation_opens_at_its_end_and_has_an_address(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, SESSION, "other")
    page = await pages.open(url)

    await row(page, SESSION).get_by_role("link").click()

    await expect(heading(page, SESSION)).to_be_visible()
    await expect(message(page, f"hello {SESSION}")).to_be_visible()
    await expect(page.get_by_role("link", name=SESSION)).to_have_attribute("aria-current", "page")
    await expect(page).to_have_title(f"{SESSION} · Sessions")
    again = await pages.open(page.url)
    await expect(message(again, "How can I help?")).to_be_visible()


async def test_the_filter_looks_through_all_sessions(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, "Billing/acme", "returns", "billing-7")
    page = await pages.open(url)
    await expect(page.locator(".row")).to_have_count(3)

    await page.keyboard.press("/")
    await page.keyboard.type("BILL")

    await expect(page.locator(".row-name")).to_have_text(["Billing/acme", "billing-7"])
    await expect(page.locator("#filter-result")).to_have_text("2 sessions found")
    await page.keyboard.type("<b>")
    await expect(page.get_by_text("No session has “BILL<b>” in its name.")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".row")).to_have_count(3)


async def test_older_messages_come_as_one_scrolls_up_and_what_one_reads_stays_in_place(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, talk(SESSION, 350))
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "message 350")).to_be_in_viewport()
    scroll = page.locator("#feed-scroll")
    arrive = asyncio.Event()

    async def hold(route: Route) -> None:
        await arrive.wait()
        await route.continue_()

    await page.route("**/messages?*before=*", hold)
    await scroll.evaluate("element => { element.scrollTop = 0; }")
    reading = message(page, "message 253")
    await expect(reading).to_be_in_viewport()
    before = await reading.bounding_box()
    arrive.set()
    await expect(message(page, "message 250")).to_have_count(1)
    after = await reading.bounding_box()

    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 1.5
    while not await page.get_by_text("The beginning of the conversation").count():
        await scroll.evaluate("element => { element.scrollTop = 0; }")
        await page.evaluate("() => new Promise(requestAnimationFrame)")
    await scroll.evaluate("element => { element.scrollTop = 0; }")
    await expect(message(page, "message 1")).to_be_in_viewport()
    await page.get_by_role("button", name="To the newest").click()
    await expect(message(page, "message 350")).to_be_in_viewport()


async def test_a_message_from_another_client_arrives_and_is_announced(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, "busy", SESSION)
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, f"hello {SESSION}")).to_be_visible()

    sent = await store.append(flow, text="good news", sender="Machine", sender_name="AI", session_id=SESSION)

    await expect(message(page, "good news")).to_be_in_viewport()
    await expect(page.get_by_role("log")).to_have_text("AI: good news")
    await expect(page.locator(".row-name")).to_have_text([SESSION, "busy"])
    await expect(row(page, SESSION)).to_contain_text("AI: good news")
    await store.update(sent.id, MessageUpdate(text="better news"), flow_id=flow)
    await expect(message(page, "better news")).to_contain_text("edited")
    await expect(row(page, SESSION)).to_contain_text("AI: better news")
    await store.delete_messages([sent.id], flow_id=flow)
    await expect(message(page, "better news")).to_have_count(0)
    await expect(row(page, SESSION)).to_contain_text("AI: How can I help?")


async def test_who_reads_further_up_is_told_of_new_messages_and_stays(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, talk(SESSION, 80))
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "message 80")).to_be_in_viewport()
    scroll = page.locator("#feed-scroll")
    place = await scroll.evaluate("element => { element.scrollTop -= 1_500; return element.scrollTop; }")
    await expect(message(page, "message 80")).not_to_be_in_viewport()

    await store.append_many(flow, [said(SESSION, "new one"), said(SESSION, "new two")])

    button = page.get_by_role("button", name="2 new messages")
    await expect(button).to_be_visible()
    assert await scroll.evaluate("element => element.scrollTop") == place
    await button.click()
    await expect(message(page, "new two")).to_be_in_viewport()
    await expect(button).to_be_hidden()


async def test_new_sessions_and_new_flows_appear_by_themselves(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    page = await pages.open(url)
    await expect(heading(page, "Nothing has been said yet")).to_be_visible()

    await greet(store, flow, "first")
    await expect(row(page, "first")).to_be_visible(timeout=15_000)
    await greet(store, flow, "second")
    await expect(page.locator(".row-name")).to_have_text(["second", "first"])


async def test_a_session_is_renamed_in_place(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    other_flow = f"{flow[:-1]}{'0' if flow[-1] != '0' else '1'}"
    await greet(store, other_flow, SESSION)
    await greet(store, flow, SESSION, "other")
    page = await pages.open(address(url, flow, SESSION))
    other = await pages.open(address(url, flow, SESSION))
    await expect(message(other, "How can I help?")).to_be_visible()

    await page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("textbox", name="Name of the session")
    await expect(field).to_be_focused()
    await field.press("Escape")
    await expect(page.get_by_role("button", name="Rename")).to_be_focused()
    await page.keyboard.press("Enter")
    await field.fill("a better name")
    await field.press("Enter")

    for seen in (page, other):
        await expect(heading(seen, "a better name")).to_be_visible()
        await expect(seen.locator(".row-name")).to_have_text(["a better name", "other"])
        await expect(message(seen, f"hello {SESSION}")).to_be_visible()
        await expect(seen).to_have_url(address(url, flow, "a better name"))
    assert await store.sessions(other_flow) == [SESSION]  # what is done here concerns this flow only


async def test_a_merge_happens_only_after_one_has_said_so(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    pages.expect("412")
    await greet(store, flow, SESSION, "returns")
    page = await pages.open(address(url, flow, SESSION))
    await page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("textbox", name="Name of the session")
    await field.fill("returns")
    await field.press("Enter")

    question = page.get_by_role("dialog", name="Merge the two sessions?")
    await expect(question).to_contain_text("There is a session “returns” already")
    await question.press("Escape")
    await expect(question).to_be_hidden()
    assert sorted(await store.sessions(flow)) == [SESSION, "returns"]
    await field.press("Enter")
    await question.get_by_role("button", name="Merge").click()

    await expect(heading(page, "returns")).to_be_visible()
    await expect(page.locator(".row-name")).to_have_text(["returns"])
    await expect(page.locator(".message-text")).to_have_text(
        ["hello returns", "How can I help?", f"hello {SESSION}", "How can I help?"]
    )
    assert await store.sessions(flow) == ["returns"]


async def test_a_session_is_deleted_after_a_question(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, "first", "second", "third")
    page = await pages.open(address(url, flow, "second"))
    other = await pages.open(address(url, flow, "second"))
    await expect(heading(other, "second")).to_be_visible()
    remove = page.get_by_role("group", name="This session").get_by_role("button", name="Delete")

    await remove.click()
    question = page.get_by_role("dialog", name="Delete this session?")
    await expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(question).to_be_hidden()
    await expect(remove).to_be_focused()
    await remove.click()
    await question.get_by_role("button", name="Delete").click()

    await expect(page.locator(".row-name")).to_have_text(["first", "third"])
    await expect(page.get_by_role("link", name="third")).to_be_focused()
    await expect(heading(page, "Choose a session")).to_be_visible()
    await expect(heading(other, "This session is gone")).to_be_visible()
    assert await store.sessions(flow) == ["first", "third"]


async def test_a_message_is_edited_in_place(store: SessionStore, flow: str, url: str, pages: Watched) -> None:
    await greet(store, flow, SESSION)
    page = await pages.open(address(url, flow, SESSION))
    mine = message(page, f"hello {SESSION}")

    await mine.hover()
    await mine.get_by_role("button", name="Edit").click()
    field = page.get_by_role("textbox", name="Text of the message")
    await expect(field).to_have_value(f"hello {SESSION}")
    await field.fill("not this")
    await field.press("Escape")
    await expect(mine).to_be_visible()
    await expect(mine.get_by_role("button", name="Edit")).to_be_focused()
    await page.keyboard.press("Enter")
    await field.fill("two\nlines")
    await field.press("Control+Enter")

    changed = message(page, "two\nlines")
    await expect(changed).to_contain_text("edited")
    await expect(changed.get_by_role("button", name="Edit")).to_be_focused()
    assert [one.text for one in await store.history(flow, SESSION)] == ["two\nlines", "How can I help?"]


async def test_what_is_being_written_survives_a_change_by_somebody_else(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    sent = await store.append(flow, text="one", sender="User", sender_name="Ada", session_id=SESSION)
    page = await pages.open(address(url, flow, SESSION))
    await message(page, "one").hover()
    await page.get_by_role("button", name="Edit").click()
    field = page.get_by_role("textbox", name="Text of the message")
    await field.fill("mine")

    await store.update(sent.id, MessageUpdate(text="theirs"), flow_id=flow)
    await expect(row(page, SESSION)).to_contain_text("Ada: theirs")

    await expect(field).to_have_value("mine")
    await field.press("Escape")
    await expect(message(page, "theirs")).to_be_visible()


async def test_a_message_is_deleted_after_a_question(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, SESSION)
    page = await pages.open(address(url, flow, SESSION))
    mine = message(page, f"hello {SESSION}")

    await mine.hover()
    await mine.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete this message?")
    await expect(question).to_contain_text(f"“hello {SESSION}”")
    await question.get_by_role("button", name="Delete").click()

    await expect(mine).to_have_count(0)
    assert [one.text for one in await store.history(flow, SESSION)] == ["How can I help?"]


async def test_a_message_is_copied_as_it_is(store: SessionStore, flow: str, url: str, pages: Watched) -> None:
    await store.append(flow, text="a <b>\n  b", sender="User", sender_name="Ada", session_id=SESSION)
    page = await pages.open(address(url, flow, SESSION), permissions=["clipboard-read", "clipboard-write"])

    await message(page, "a <b>\n  b").hover()
    await page.get_by_role("button", name="Copy").click()

    await expect(page.locator("#toast")).to_have_text("Copied")
    assert await page.evaluate("() => navigator.clipboard.readText()") == "a <b>\n  b"


async def test_a_session_is_downloaded_as_json_lines(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append_many(flow, talk("2026/refund: 1", 250))
    page = await pages.open(address(url, flow, "2026/refund: 1"))

    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download").click()
    download = await downloading.value

    assert download.suggested_filename == "2026-refund-1.jsonl"
    lines = Path(await download.path()).read_text().splitlines()  # noqa: ASYNC240
    assert [json.loads(line)["text"] for line in lines] == [f"message {number}" for number in range(1, 251)]


async def test_a_session_of_those_who_name_none_is_called_so(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await store.append(flow, text="hello", sender="User", sender_name="Ada")
    page = await pages.open(url)

    await row(page, "Default session").get_by_role("link").click()

    await expect(heading(page, "Default session")).to_be_visible()
    await expect(page.locator("#subtitle")).to_have_text(flow)


async def test_on_a_phone_the_list_and_the_conversation_are_two_views(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    await greet(store, flow, SESSION, "other")
    page = await pages.open(url, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    await expect(page.get_by_role("main")).to_be_hidden()

    await row(page, SESSION).get_by_role("link").tap()

    await expect(message(page, f"hello {SESSION}")).to_be_visible()
    await expect(heading(page, SESSION)).to_be_focused()
    await expect(page.get_by_role("navigation")).to_be_hidden()
    width = await page.evaluate("() => document.documentElement.scrollWidth")
    assert width == 390
    await page.get_by_role("link", name="Back to the sessions").tap()
    await expect(row(page, "other")).to_be_visible()


async def test_the_conversation_shows_what_else_a_message_holds(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    steps = [{"title": "Agent Steps", "contents": [{"type": "text", "text": "<i>thinking</i>"}]}]
    await store.append_many(
        flow,
        [
            said(SESSION, "look", files=[f"{flow}/photo.png"]),
            said(SESSION, "limit reached", who="AI", category="error", error=True),
            said(SESSION, "done", who="AI", content_blocks=steps),
        ],
    )
    page = await pages.open(address(url, flow, SESSION))

    await expect(message(page, "look").get_by_role("list", name="Attachments")).to_have_text("photo.png")
    await expect(message(page, "limit reached")).to_contain_text("error")
    await message(page, "done").get_by_text("Agent Steps").click()
    await expect(message(page, "done").locator("pre")).to_contain_text("<i>thinking</i>")
