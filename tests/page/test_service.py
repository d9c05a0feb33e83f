"""The page and what it depends on: access, a Redis that goes away, a server that does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from redis_sessions import SessionStore
from redis_sessions.monitor import KeyAccess, new_key
from tests.support import valkey_server
from tests.support.secrets import remember
from tests.support.talk import keys_of

from .conftest import SESSION, address, heading, message, row, said, served, talk

playwright = pytest.importorskip("playwright.async_api", reason="the page's tests need playwright")
expect = playwright.expect

if TYPE_CHECKING:
    from .conftest import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAY = "The session store is away."
QUICK = timedelta(seconds=0.5)


async def test_a_key_is_asked_for_once_and_kept_for_the_tab(
    store: SessionStore, flow: str, pages: Watched
) -> None:
    pages.expect("403")
    key, digest = new_key()
    remember(key)
    await store.append_many(flow, [said(SESSION, "mine")], owner="ada")
    await store.append(
        "20000000-0000-4000-8000-000000000000", text="x", sender="U", sender_name="U", owner="bob"
    )
    async with served(store, KeyAccess(store, {digest: "ada"})) as url:
        page = await pages.open(address(url, flow, SESSION))
        question = page.get_by_role("dialog", name="API key")
        field = question.get_by_label("Key")
        await expect(field).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(question).to_be_visible()  # there is nothing behind it
        await field.fill("ключ")
        await field.press("Enter")
        await expect(question.get_by_role("alert")).to_have_text(
            "A key is letters, digits and signs, without spaces."
        )
        await field.fill("wrong")
        await field.press("Enter")
        await expect(question.get_by_role("alert")).to_have_text("Invalid API key")
        await field.fill(key)
        await field.press("Enter")

        await expect(message(page, "mine")).to_be_visible()
        await expect(page.get_by_label("Flow").locator("option")).to_have_text([flow])
        await store.append(flow, text="live", sender="User", sender_name="Ada", session_id=SESSION)
        await expect(message(page, "live")).to_be_visible()
        await page.reload()
        await expect(message(page, "mine")).to_be_visible()
        kept = await page.evaluate("() => [JSON.stringify(localStorage), document.cookie, location.href]")
        assert key not in "".join(kept)
        await page.get_by_role("button", name="Forget key").click()
        await expect(question).to_be_visible()
        await expect(message(page, "mine")).to_have_count(0)


async def test_who_is_refused_is_told_why(url: str, pages: Watched) -> None:
    pages.expect("403")
    page = await pages.open("about:blank")
    refusal = {"detail": "Open access is for callers on the same machine only"}
    await page.route("**/flows", lambda route: route.fulfill(status=403, json=refusal))

    await page.goto(url)

    await expect(heading(page, "You may not look in here")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text(refusal["detail"])


async def test_redis_goes_away_and_comes_back(flow: str, pages: Watched) -> None:
    pages.expect("503")
    with valkey_server(appendonly=True) as server:
        async with SessionStore.from_url(server.url, deadline=QUICK) as store, served(store) as url:
            await store.append_many(flow, talk(SESSION, 3))
            page = await pages.open(address(url, flow, SESSION))
            await expect(message(page, "message 3")).to_be_visible()

            server.kill()
            await expect(page.get_by_role("status").get_by_text(AWAY)).to_be_visible(timeout=15_000)
            await expect(message(page, "message 3")).to_be_visible()  # what one sees stays
            await message(page, "message 3").hover()
            await message(page, "message 3").get_by_role("button", name="Edit").click()
            await page.get_by_role("textbox", name="Text of the message").fill("changed")
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("alert")).to_contain_text("nothing was changed")

            server.restart()
            await expect(page.get_by_text(AWAY)).to_be_hidden(timeout=15_000)
            await page.get_by_role("button", name="Save").click()
            await expect(message(page, "changed")).to_be_visible()
            await store.append(flow, text="back", sender="User", sender_name="Ada", session_id=SESSION)
            await expect(message(page, "back")).to_be_visible()
            await page.close()


async def test_a_page_that_is_opened_while_redis_is_away_shows_all_once_it_is_back(
    flow: str, pages: Watched
) -> None:
    pages.expect("503")
    with valkey_server(appendonly=True) as server:
        async with SessionStore.from_url(server.url, deadline=QUICK) as store, served(store) as url:
            await store.append_many(flow, talk(SESSION, 3))
            server.kill()
            page = await pages.open(address(url, flow, SESSION))
            await expect(page.get_by_text(AWAY)).to_be_visible()
            server.restart()
            await expect(message(page, "message 3")).to_be_visible(timeout=15_000)
            await expect(page.get_by_text(AWAY)).to_be_hidden()
            await page.close()


async def test_what_happened_while_the_server_was_away_is_there_when_it_is_back(
    store: SessionStore, flow: str, pages: Watched
) -> None:
    pages.expect("ERR_CONNECTION_REFUSED")
    pages.expect("ERR_INCOMPLETE_CHUNKED_ENCODING")
    await store.append_many(flow, talk(SESSION, 3))
    async with served(store) as url:
        page = await pages.open(address(url, flow, SESSION))
        await expect(message(page, "message 3")).to_be_visible()
    await expect(page.get_by_text("The server does not answer.")).to_be_visible(timeout=15_000)
    await store.append(flow, text="meanwhile", sender="User", sender_name="Ada", session_id=SESSION)
    await store.rename_session(flow, SESSION, "renamed meanwhile")

    async with served(store, port=int(url.rstrip("/").rpartition(":")[2])):
        await expect(message(page, "meanwhile")).to_be_visible(timeout=15_000)
        await expect(heading(page, "renamed meanwhile")).to_be_visible()
        await page.close()


async def test_a_feed_that_does_not_reach_back_is_made_up_for(
    store: SessionStore, flow: str, pages: Watched
) -> None:
    pages.expect("ERR_CONNECTION_REFUSED")
    pages.expect("ERR_INCOMPLETE_CHUNKED_ENCODING")
    await store.append_many(flow, talk(SESSION, 250))
    async with served(store) as url:
        page = await pages.open(address(url, flow, SESSION))
        await expect(message(page, "message 250")).to_be_visible()
    await expect(page.get_by_text("The server does not answer.")).to_be_visible(timeout=15_000)
    await store.append(flow, text="lost to the feed", sender="User", sender_name="Ada", session_id=SESSION)
    await store.connection.client.delete(keys_of(store, flow).feed)
    await store.append(flow, text="after it", sender="User", sender_name="Ada", session_id="new")

    async with served(store, port=int(url.rstrip("/").rpartition(":")[2])):
        await expect(message(page, "lost to the feed")).to_be_visible(timeout=15_000)
        await expect(page.locator(".row-name")).to_have_text(["new", SESSION])
        await page.close()


async def test_a_flow_that_is_deleted_makes_room_for_the_next(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    other = "20000000-0000-4000-8000-000000000000"
    await store.append_many(other, [said("in the other", "x", ago=timedelta(minutes=1))])
    await store.append_many(flow, talk(SESSION, 3))
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "message 3")).to_be_visible()

    await store.delete_flow(flow)

    await expect(row(page, "in the other")).to_be_visible()
    await expect(page.get_by_label("Flow").locator("option")).to_have_text([other])
