"""The page in a real Chromium: sign-in, failed loads, accessibility."""

import json
import re
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Gateway, Visit, go, settled, sign_in
from tests.processes import MASTER_KEY, ROOT, StartProxy

pytestmark = pytest.mark.asyncio(loop_scope="session")
VIEWS = ("Overview", "Keys", "Accounts", "Requests", "Try it")
Scheme = Literal["dark", "light"]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


async def violations(page: Page) -> list[str]:
    """Violations found by axe-core, which is injected through the debugger, where the page's policy does not apply."""
    if await page.evaluate("!window.axe"):
        await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [f"{v['id']}: {v['help']} ({n['target']})" for v in found["violations"] for n in v["nodes"]]


async def test_a_wrong_key_is_reported_and_shows_nothing(visit: Visit, gateway: Gateway):
    visit.expected = ["401 (Unauthorized)"]
    page = await visit(gateway.url, signed_in=False)
    await expect(page.get_by_label("Master key", exact=True)).to_be_focused()
    await page.get_by_label("Master key", exact=True).fill("sk-wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(re.compile("not valid"))
    await expect(page.locator("#app")).to_be_hidden()
    await sign_in(page)
    await expect(page.locator("#sign-in")).to_be_hidden()


async def test_a_virtual_key_is_refused(visit: Visit, gateway: Gateway):
    visit.expected = ["403 (Forbidden)"]
    page = await visit(gateway.url, signed_in=False)
    await page.get_by_label("Master key", exact=True).fill(gateway.secrets["web-app"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(re.compile("needs the master key"))


async def test_the_key_is_not_stored(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    stored = await page.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]")
    assert stored == ["{}", "{}", ""]
    assert MASTER_KEY not in await page.content()
    assert await page.get_by_label("Master key", exact=True).input_value() == ""
    await page.reload()
    await expect(page.get_by_label("Master key", exact=True)).to_be_visible()
    await sign_in(page)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Master key", exact=True)).to_be_focused()
    assert await page.locator("#app tbody tr, .legend li, .uplot").count() == 0


@pytest.mark.parametrize(
    "looks", [[(360, "dark"), (360, "light")], [(1280, "dark"), (800, "light")]], ids=["narrow", "wide"]
)
async def test_the_page_is_accessible_and_fits(visit: Visit, gateway: Gateway, looks: list[tuple[int, Scheme]]):
    page = await visit(gateway.url, signed_in=False)

    async def look(width: int, scheme: Scheme, where: str) -> None:
        await page.set_viewport_size({"width": width, "height": 740})
        await page.emulate_media(color_scheme=scheme)
        await settled(page)
        assert await violations(page) == [], (where, width, scheme)
        assert await page.evaluate("document.documentElement.scrollWidth") == width, (where, scheme)
        if where == "dialog":
            box = await page.get_by_role("dialog").bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(14, 17, 22)") == (scheme == "dark")

    async def look_at(where: str) -> None:
        for width, scheme in looks:
            await look(width, scheme, where)

    await look_at("sign-in")
    await sign_in(page)
    await page.get_by_text("The same as a table").click()
    for view in VIEWS:
        await go(page, view)
        await look_at(view)
    await go(page, "Requests")
    await page.locator("#requests-rows a").first.click()
    await settled(page)
    await look_at("a request")
    await go(page, "Keys")
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_role("dialog").get_by_text("More").click()
    await look_at("dialog")


async def test_a_part_that_fails_to_load_says_so_and_can_be_retried(visit: Visit, gateway: Gateway):
    visit.expected = ["503 (Service Unavailable)"]
    page = await visit(gateway.url)
    await go(page, "Keys")
    refusal = {"error": {"message": "The ledger cannot be used now.", "type": "service_unavailable"}}

    async def refuse(route):
        await route.fulfill(status=503, body=json.dumps(refusal))

    await page.route("**/key/list*", refuse)
    await page.get_by_role("button", name="Refresh").click()
    keys = page.get_by_role("region", name="Keys")
    await expect(keys.get_by_role("alert")).to_have_text("The ledger cannot be used now.")
    await expect(keys.get_by_role("rowheader").first).to_be_visible()  # data already loaded stays
    await page.unroute("**/key/list*")
    await keys.get_by_role("button", name="Try again").click()
    await expect(keys.get_by_role("alert")).to_have_count(0)


async def test_a_master_key_that_is_no_longer_valid_signs_out(visit: Visit, gateway: Gateway):
    visit.expected = ["401 (Unauthorized)"]
    page = await visit(gateway.url)

    async def refuse(route):
        await route.fulfill(status=401, body=json.dumps({"error": {"message": "This API key is not valid here."}}))

    await page.route("**/global/spend", refuse)
    await page.get_by_role("button", name="Refresh").click()
    await expect(page.locator("#sign-in-error")).to_have_text("This API key is not valid here.")
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_ledger_without_history(visit: Visit, module_proxy: StartProxy):
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    proxy = module_proxy({"model_list": [model]})
    page = await visit(proxy.url)
    await expect(page.get_by_text("No requests in this time").first).to_be_visible()
    await expect(page.get_by_text("No global budget is set")).to_be_visible()
    assert await violations(page) == []
    await go(page, "Keys")
    await expect(page.get_by_text("There are no keys yet.", exact=False)).to_be_visible()
    await go(page, "Requests")
    await expect(page.get_by_text("No requests yet")).to_be_visible()
