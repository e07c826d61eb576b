"""Keys on the page, in a real Chromium: create, block, rotate, delete."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from container.stores import SqliteStore
from tests.dashboard.conftest import Gateway, Visit, config, go, settled
from tests.dashboard.operator import ask, create, row, secret_shown, told
from tests.ledger.support import Ledger
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


async def test_the_lifecycle_of_a_key(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await go(page, "Keys")
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill("one-life")
    await page.get_by_role("textbox", name="Models").fill("gpt-4o, gpt-4o-mini")
    await page.get_by_label("Budget in US dollars").fill("2.5")
    await page.get_by_label("Requests a minute").fill("60")
    await page.get_by_role("button", name="Create", exact=True).click()
    secret = await secret_shown(page)
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("status")).to_have_text("The secret is on the clipboard.")
    assert await page.evaluate("navigator.clipboard.readText()") == secret
    await page.get_by_role("button", name="Done").click()
    await settled(page)
    assert secret not in await page.content()
    line = row(page, "one-life")
    await expect(line).to_contain_text("$0.00 of $2.50 a day")
    await expect(line).to_contain_text("60 requests/min")
    await expect(line).to_contain_text("gpt-4o, gpt-4o-mini")
    assert await ask(gateway, secret) == 200

    await line.get_by_role("button", name="Block").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.get_by_role("dialog").get_by_role("button", name="Block", exact=True).click()
    await expect(line).to_contain_text("Blocked")
    await expect(line.get_by_role("button", name="Unblock")).to_be_focused()
    assert await ask(gateway, secret) == 401
    await line.get_by_role("button", name="Unblock").click()
    await expect(line).to_contain_text("Active")
    assert await ask(gateway, secret) == 200

    for grace, old in (("24h", 200), ("", 401)):
        before = secret
        await line.get_by_role("button", name="Rotate").click()
        await page.get_by_label("The old secret works on for").select_option(grace)
        await page.get_by_role("dialog").get_by_role("button", name="Rotate", exact=True).click()
        secret = await secret_shown(page)
        await page.keyboard.press("Escape")
        await settled(page)
        assert secret != before
        assert (await ask(gateway, secret), await ask(gateway, before)) == (200, old)

    await line.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(line).to_be_visible()
    await line.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await expect(line).to_have_count(0)
    await expect(page.get_by_role("button", name="Create a key")).to_be_focused()
    assert await ask(gateway, secret) == 401


async def test_errors_of_the_gateway_are_shown_in_the_form(visit: Visit, gateway: Gateway):
    visit.expected = ["400 (Bad Request)"]
    page = await visit(gateway.url)
    await go(page, "Keys")
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill("web-app")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(re.compile("'web-app' already"))
    await expect(page.get_by_role("button", name="Create", exact=True)).to_be_enabled()


async def test_a_key_is_edited(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await create(page, "before")
    sent: list[dict] = []
    page.on("request", lambda request: sent.append(request.post_data_json) if "/key/update" in request.url else None)

    async def save(name: str, **fields: str) -> None:
        await page.get_by_role("button", name=f"Edit {name}").click()
        for label, value in fields.items():
            field = page.get_by_role("dialog").get_by_label(re.compile(f"^{label.replace('_', ' ')}"))
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)
        await page.get_by_role("button", name="Save").click()

    await save("before", Name="after", User="ada", Budget_in_US_dollars="2.5", each="7d", Tags="a, b", Valid_for="30d")
    line = row(page, "after")
    await expect(line).to_contain_text("$0.00 of $2.50 a week")
    await expect(line).to_contain_text("for 30 days more")
    [key] = (await told(gateway, "/key/list?key_alias=after&return_full_object=true"))["keys"]
    assert (key["user_id"], key["tags"], key["max_budget"], key["budget_duration"]) == ("ada", ["a", "b"], 2.5, "7d")
    await save("after", User="", Tags="", Valid_for="-1")
    await expect(line).not_to_contain_text("more")
    assert {**sent[-1], "key": ""} == {"key": "", "user_id": None, "tags": None, "duration": "-1"}
    await save("after")
    await expect(page.get_by_role("status").last).to_have_text("Nothing was changed.")
    assert len(sent) == 2


async def test_metadata_is_edited_as_json(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await create(page, "noted")
    for text in ('{"a": [1, 2]}', "{nothing"):
        await page.get_by_role("button", name="Edit noted").click()
        more = page.get_by_role("dialog").locator("details")
        if await more.get_attribute("open") is None:
            await more.locator("summary").click()
        await page.get_by_label("Metadata").fill(text)
        await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Metadata is not valid JSON.")
    [key] = (await told(gateway, "/key/list?key_alias=noted&return_full_object=true"))["keys"]
    assert key["metadata"] == {"a": [1, 2]}


@pytest_asyncio.fixture(loop_scope="session")
async def crowded(tmp_path: Path, gateway: Gateway) -> AsyncIterator[RunningProxy]:
    """A proxy with a thousand keys."""
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    ledger = Ledger(store, now=int(time.time() * 1000))
    for number in range(1000):
        ledger.now += 1
        await ledger.key(key_alias=f"bot-{number:03}")
    await store.close()
    with RunningProxy(config(gateway.fake), tmp_path) as proxy:
        yield proxy


async def test_a_thousand_keys_are_searched_and_paged(visit: Visit, crowded: RunningProxy):
    page = await visit(crowded.url)
    await go(page, "Keys")
    await expect(page.locator("#keys-note")).to_have_text("1,000 in all")
    rows = page.locator("#keys-rows tr")
    await expect(rows).to_have_count(20)
    pages = page.get_by_role("navigation", name="Pages of keys")
    await expect(pages).to_contain_text("Page 1 of 50")
    await pages.get_by_role("button", name="Older").click()
    await expect(pages).to_contain_text("Page 2 of 50")
    await page.get_by_role("searchbox", name="Find").fill("BOT-12")
    await expect(page.locator("#keys-note")).to_have_text("10 found")
    assert sorted(await rows.get_by_role("rowheader").get_by_role("link").all_inner_texts()) == [
        f"bot-{n}" for n in range(120, 130)
    ]
    await page.get_by_label("State").select_option("revoked")
    await expect(page.get_by_text("No keys like this")).to_be_visible()
    await go(page, "Requests")
    await page.get_by_role("combobox", name="Key").fill("bot-77")
    await expect(page.locator("#filter-keys option")).to_have_count(11)


async def test_a_key_shows_what_running_requests_hold(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await create(page, "holding")
    await page.route(
        "**/key/list?*",
        lambda route: _changed(route, "holding", {"reserved": 1.25, "running_requests": 3, "max_budget": 5.0}),
    )
    await page.get_by_role("button", name="Refresh").click()
    await expect(row(page, "holding")).to_contain_text("$1.25 of $5.00")
    await expect(row(page, "holding")).to_contain_text("$1.25 held by 3 running")


async def _changed(route: Route, alias: str, fields: dict[str, object]) -> None:
    answer = await route.fetch()
    body = await answer.json()
    for key in body["keys"]:
        if key["key_alias"] == alias:
            key |= fields
    await route.fulfill(response=answer, json=body)


async def test_text_is_never_interpreted_as_markup(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    secret = await create(page, HOSTILE)
    await expect(row(page, HOSTILE)).to_be_visible()
    assert await ask(gateway, secret) == 200
    await row(page, HOSTILE).get_by_role("button", name="Edit").click()
    await expect(page.get_by_role("dialog", name=f"Edit {HOSTILE}")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("link", name=HOSTILE).click()
    await settled(page)
    await expect(page.locator("#requests-rows tr")).to_have_count(1)
    await expect(page.locator("#requests-rows tr").first).to_contain_text(HOSTILE)
    await page.locator("#requests-rows a").first.click()
    await expect(page.locator("#request-lines")).to_contain_text(HOSTILE)
    await go(page, "Overview")
    await page.get_by_label("Group by").select_option("key")
    await expect(page.locator("#requests-legend")).to_contain_text(HOSTILE)
    assert await page.locator("#main img, dialog img").count() == 0
    assert await page.title() == "Overview · LiteLLM Router"


async def test_the_page_works_with_the_keyboard_alone(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url, signed_in=False)
    await page.keyboard.type(MASTER_KEY)
    await page.keyboard.press("Enter")
    await page.locator("#app").wait_for()
    await settled(page)
    await _tab(page, "Shift+Tab", "Keys")
    await page.keyboard.press("Enter")
    await settled(page)
    await _tab(page, "Shift+Tab", "Skip to the content")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Keys")).to_be_visible()
    await _tab(page, "Tab", "Create a key")
    await page.keyboard.press("Enter")
    await page.keyboard.type("by-keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row(page, "by-keyboard")).to_be_visible()
    await expect(page.get_by_role("button", name="Create a key")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.type("by-key")
    await expect(page.locator("#keys-note")).to_have_text("1 found")
    await _tab(page, "Tab", "Edit")
    await page.keyboard.press("Enter")
    await page.keyboard.press("End")
    await page.keyboard.type("-alone")
    await page.keyboard.press("Enter")
    await expect(row(page, "by-keyboard-alone")).to_be_visible()
    await expect(page.get_by_role("button", name="Edit by-keyboard-alone")).to_be_focused()


async def _tab(page: Page, key: str, name: str) -> None:
    """Presses a key until the element with this text has the focus."""
    passed: list[str] = []
    while name not in passed:
        assert len(passed) < 30, passed
        await page.keyboard.press(key)
        passed.append(await page.evaluate("document.activeElement.textContent"))


async def test_without_a_master_key_an_empty_field_signs_in(visit: Visit, module_proxy: StartProxy):
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    proxy = module_proxy({"model_list": [model]}, master_key=None)
    page = await visit(proxy.url, key="")
    secret = await create(page, "here")
    assert secret.startswith("sk-")
    await expect(row(page, "here")).to_be_visible()
