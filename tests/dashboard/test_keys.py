"""Keys on the page, in a real Chromium: create, block, rotate, delete."""

import re

import pytest
from playwright.async_api import Route, expect

from tests.dashboard.conftest import Gateway, Visit, settled
from tests.dashboard.operator import ask, create, row, secret_shown
from tests.processes import MASTER_KEY, StartProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


async def test_the_lifecycle_of_a_key(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
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
        await page.get_by_role("button", name="Rotate", exact=True).click()
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
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(line).to_have_count(0)
    await expect(page.get_by_role("button", name="Create a key")).to_be_focused()
    assert await ask(gateway, secret) == 401


async def test_errors_of_the_gateway_are_shown_in_the_form(visit: Visit, gateway: Gateway):
    visit.expected = ["400 (Bad Request)"]
    page = await visit(gateway.url)
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill("web-app")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(re.compile("'web-app' already"))
    await expect(page.get_by_role("button", name="Create", exact=True)).to_be_enabled()


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
    assert await ask(gateway, secret) == 200
    await page.get_by_text("By key", exact=True).click()
    await page.get_by_role("button", name="Refresh").click()
    await expect(page.get_by_role("status")).to_have_text("Up to date.")
    await expect(row(page, HOSTILE).first).to_be_visible()
    await expect(page.locator("#requests-rows tr").first).to_contain_text(HOSTILE)
    await expect(page.locator("#requests-legend")).to_contain_text(HOSTILE)
    assert await page.locator("#main img").count() == 0
    assert await page.title() == "LiteLLM Router"


async def test_the_page_works_with_the_keyboard_alone(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url, signed_in=False)
    await page.keyboard.type(MASTER_KEY)
    await page.keyboard.press("Enter")
    await page.locator("#app").wait_for()
    await settled(page)
    for key, name in (("Shift+Tab", "Sign out"), ("Tab", "Create a key")):
        passed: list[str] = []
        while name not in passed:
            assert len(passed) < 30, passed
            await page.keyboard.press(key)
            passed.append(await page.evaluate("document.activeElement.textContent"))
    await page.keyboard.press("Enter")
    await page.keyboard.type("by-keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row(page, "by-keyboard")).to_be_visible()


async def test_without_a_master_key_an_empty_field_signs_in(visit: Visit, module_proxy: StartProxy):
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    proxy = module_proxy({"model_list": [model]}, master_key=None)
    page = await visit(proxy.url, key="")
    secret = await create(page, "here")
    assert secret.startswith("sk-")
    await expect(row(page, "here")).to_be_visible()
