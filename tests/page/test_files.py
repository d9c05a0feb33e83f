"""What is served, and how: content types, caching, and what the browser is told to refuse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import SESSION, address, message, said

if TYPE_CHECKING:
    import httpx

    from redis_sessions import SessionStore

    from .conftest import Watched

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
)
TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


async def files_of(client: httpx.AsyncClient) -> list[str]:
    """The addresses of all files that the page loads, of modules also what they import."""
    found = re.findall(r'(?:href|src)="(page/[^"]+)"', (await client.get("/")).text)
    for path in found:
        if path.endswith(".js"):
            folder = path.rpartition("/")[0]
            imported = re.findall(r'from "\./([^"]+)"', (await client.get(f"/{path}")).text)
            found += [f"{folder}/{name}" for name in imported if f"{folder}/{name}" not in found]
    return found


async def test_the_page_and_all_that_it_loads_are_served_with_their_types_and_a_strict_policy(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    files = await files_of(client)
    assert len(files) > 20
    for path in files:
        answer = await client.get(f"/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == TYPES[path.rpartition(".")[2]]
        for headers in (page.headers, answer.headers):
            assert headers["content-security-policy"].startswith(POLICY)
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"


async def test_the_page_is_asked_for_each_time_and_its_files_never_again(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")

    (path, *_) = await files_of(client)
    file = await client.get(f"/{path}")
    assert "immutable" in file.headers["cache-control"]
    again = await client.get(f"/{path}", headers={"if-none-match": file.headers["etag"]})
    assert again.status_code == 304
    other = re.sub("[0-9a-f]{16}", "0" * 16, path)
    assert (await client.get(f"/{other}")).status_code == 404


@pytest.mark.parametrize("name", ["index.html", "..%2Ffiles.py", "%2e%2e", "none.js", "__init__.py"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    path = next(iter(await files_of(client)))
    answer = await client.get(f"/{path.rpartition('/')[0]}/{name}")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not Found"}


async def test_files_hold_no_inline_script_style_or_foreign_address(client: httpx.AsyncClient) -> None:
    for path in ["", *await files_of(client)]:
        text = (await client.get(f"/{path}")).text
        assert not re.search(
            r"\bstyle=|<style|\son\w+=\"|javascript:|innerHTML|outerHTML|insertAdjacent", text
        ), path
        assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}, path


@pytest.mark.asyncio(loop_scope="session")
async def test_the_browser_takes_no_html_from_a_script(
    store: SessionStore, flow: str, url: str, pages: Watched
) -> None:
    from playwright.async_api import Error, expect

    pages.expect("TrustedHTML")
    await store.append_many(flow, [said(SESSION, "hello")])
    page = await pages.open(address(url, flow, SESSION))
    await expect(message(page, "hello")).to_be_visible()

    with pytest.raises(Error, match="TrustedHTML"):
        await page.evaluate("() => { document.querySelector('main').innerHTML = '<b>x</b>'; }")
