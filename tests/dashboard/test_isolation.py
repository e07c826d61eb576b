"""Tests share Chromium's pages: what one leaves on a page does not reach the next."""

import pytest

from tests.dashboard.conftest import Pages, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEAVE = """async () => {
  document.cookie = "left=1";
  localStorage.left = sessionStorage.left = 1;
  await new Promise((done) => (indexedDB.open("left").onsuccess = done));
}"""
STATE = """async () => ({
  cookie: document.cookie,
  local: localStorage.length,
  session: sessionStorage.length,
  databases: (await indexedDB.databases()).length,
  clipboard: (await navigator.permissions.query({ name: "clipboard-read" })).state,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  width: innerWidth,
})"""
CLEAN = {"cookie": "", "local": 0, "session": 0, "databases": 0, "clipboard": "prompt", "dark": False, "width": 1280}


async def test_a_page_is_clean_for_the_next_test(pages: Pages, elsewhere: str):
    first, second = Visit(pages), Visit(pages)
    page = await first(elsewhere, signed_in=False, width=500, scheme="dark")
    clean = await page.evaluate(STATE)
    assert (clean["width"], clean["dark"]) == (500, True)
    await page.evaluate(LEAVE)
    await page.context.grant_permissions(["clipboard-read"])
    await page.route("**/dashboard", lambda route: route.fulfill(body="changed"))
    async with page.expect_popup():
        await page.evaluate("() => { setInterval(() => console.log('late'), 10); open('/another') }")
    dirty = await page.evaluate(STATE)
    assert all(clean[name] != dirty[name] for name in ("cookie", "local", "session", "databases", "clipboard"))
    await first.end(keep=True)
    again = await second(elsewhere, signed_in=False)
    assert again is page
    assert len(again.context.pages) == 1
    assert "changed" not in await again.content()
    assert await again.evaluate(STATE) == CLEAN
    await second.end(keep=True)
    assert second.said == []


async def test_pages_of_one_test_share_nothing(pages: Pages, elsewhere: str):
    visit = Visit(pages)
    page, other = await visit(elsewhere, signed_in=False), await visit(elsewhere, signed_in=False)
    await page.evaluate(LEAVE)
    assert await other.evaluate(STATE) == CLEAN
    await visit.end(keep=True)


async def test_a_page_of_a_failed_test_is_not_used_again(pages: Pages, elsewhere: str):
    first, second = Visit(pages), Visit(pages)
    page = await first(elsewhere, signed_in=False)
    await first.end(keep=False)
    assert page.is_closed()
    assert await second(elsewhere, signed_in=False) is not page
    await second.end(keep=True)


async def test_after_a_crash_chromium_is_started_again(pages: Pages, elsewhere: str):
    first, second = Visit(pages), Visit(pages)
    page = await first(elsewhere, signed_in=False)
    browser = page.context.browser
    assert browser
    await browser.close()
    await first.end(keep=False)
    assert not (await second(elsewhere, signed_in=False)).is_closed()
    await second.end(keep=True)
