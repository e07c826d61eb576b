"""What an operator sees and does, in a real Chromium."""

import json
import re
from datetime import UTC, datetime

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Gateway, Visit, settled, sign_in
from tests.fakes.behaviour import failing
from tests.processes import MASTER_KEY, ROOT, StartProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


async def ask(gateway: Gateway, key: str, model: str = "gpt-4o") -> int:
    """The status of a request."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    async with httpx.AsyncClient() as client:
        url = f"{gateway.url}/v1/chat/completions"
        return (await client.post(url, json=body, headers={"authorization": f"Bearer {key}"})).status_code


async def told(gateway: Gateway, path: str) -> dict:
    async with httpx.AsyncClient() as client:
        return (await client.get(gateway.url + path, headers={"authorization": f"Bearer {MASTER_KEY}"})).json()


async def violations(page: Page) -> list[str]:
    """What axe-core finds. It is put in by the debugger, which the page's policy does not bind."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [f"{v['id']}: {v['help']} ({n['target']})" for v in found["violations"] for n in v["nodes"]]


def row(page: Page, name: str):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


async def secret_shown(page: Page) -> str:
    """The secret that the dialog shows."""
    field = page.get_by_label("Secret", exact=True)
    await expect(field).to_have_value(re.compile("^sk-"))
    return await field.input_value()


async def create(page: Page, name: str) -> str:
    """The new key's secret."""
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_role("button", name="Create", exact=True).click()
    secret = await secret_shown(page)
    await page.get_by_role("button", name="Done").click()
    await settled(page)
    return secret


async def test_a_wrong_key_is_told_and_shows_nothing(visit: Visit, gateway: Gateway):
    visit.expected = ["401 (Unauthorized)"]
    page = await visit(gateway.url, signed_in=False)
    await expect(page.get_by_label("Master key", exact=True)).to_be_focused()
    await page.get_by_label("Master key", exact=True).fill("sk-wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(re.compile("not valid"))
    await expect(page.locator("#app")).to_be_hidden()
    await sign_in(page)
    await expect(page.locator("#sign-in")).to_be_hidden()


async def test_a_virtual_key_is_not_enough(visit: Visit, gateway: Gateway):
    visit.expected = ["403 (Forbidden)"]
    page = await visit(gateway.url, signed_in=False)
    await page.get_by_label("Master key", exact=True).fill(gateway.secrets["web-app"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(re.compile("master key only"))


async def test_the_key_is_kept_nowhere(visit: Visit, gateway: Gateway):
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


async def test_the_figures_are_the_ledgers(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    today = await told(gateway, f"/spend/activity?from={datetime.now(UTC).date()}")
    requests = sum(line["requests"] for line in today["data"])
    assert int((await page.locator("#requests-today").inner_text()).replace(",", "")) == requests
    spend = sum(line["spend"] for line in today["data"])
    await expect(page.locator("#spend-today")).to_have_text(f"${spend:.2f}")
    await expect(page.locator("#budget")).to_contain_text("of $5.00 a day, resets in")
    meter = page.get_by_role("meter", name="Global budget used")
    assert await meter.get_attribute("aria-valuenow") == str(round(100 * spend / 5))


async def test_the_charts_show_the_ledgers_rows(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    for choice, query in (("24 h", "bucket=hour"), ("7 days", "bucket=day"), ("By key", "bucket=day&group_by=key")):
        await page.locator("#activity").get_by_text(choice, exact=True).click()
        await settled(page)
        days = 0 if choice == "24 h" else 6
        begin = int(datetime.now(UTC).timestamp()) - days * 86400 - (23 * 3600 if not days else 0)
        found = await told(gateway, f"/spend/activity?from={begin}&{query}")
        names = [group["name"] for group in found["groups"]]
        assert await page.locator("#requests-legend li span").all_inner_texts() == names
        counts = await page.locator("#requests-legend li b").all_inner_texts()
        assert [int(text.replace(",", "")) for text in counts] == [group["requests"] for group in found["groups"]]
        assert await page.locator("#spend-chart canvas").count() == 1
        drawn = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
        assert await page.locator("#requests-chart canvas").evaluate(drawn) > 10  # it is not blank
    description = await page.get_by_role("img", name=re.compile("Requests by key")).get_attribute("aria-label")
    assert description
    assert all(name in description for name in names)
    await page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="Activity as a table")
    assert await table.get_by_role("columnheader").all_inner_texts() == ["Time", *names]
    assert await table.get_by_role("row").count() == 8


async def test_the_legend_follows_the_pointer(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    whole = await page.locator("#requests-at").inner_text()
    await page.locator("#requests-chart .u-over").hover()
    await expect(page.locator("#requests-at")).to_have_text(re.compile(r".+: \d+$"))
    await page.mouse.move(0, 0)
    await expect(page.locator("#requests-at")).to_have_text(whole)


async def test_a_keys_life(visit: Visit, gateway: Gateway):
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


async def test_what_the_gateway_refuses_stands_in_the_form(visit: Visit, gateway: Gateway):
    visit.expected = ["400 (Bad Request)"]
    page = await visit(gateway.url)
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill("web-app")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(re.compile("'web-app' already"))
    await expect(page.get_by_role("button", name="Create", exact=True)).to_be_enabled()


async def test_text_stays_text(visit: Visit, gateway: Gateway):
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


async def test_models_say_how_they_are_and_what_to_set(visit: Visit, gateway: Gateway, trouble):
    page = await visit(gateway.url)
    await expect(row(page, "gemini-flash").first).to_contain_text("Set GEMINI_API_KEY")
    await expect(row(page, "claude-sonnet").first).to_contain_text("Healthy")
    trouble.queue(failing(429, retry_after=120))
    assert await ask(gateway, MASTER_KEY, "claude-sonnet") == 429
    await page.get_by_role("button", name="Refresh").click()
    await expect(page.locator("#models-rows tr").first).to_contain_text("claude-sonnet")
    await expect(page.locator("#models-rows tr").first).to_contain_text("Cooling down, 1")


async def test_requests_are_paged_and_filtered(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    times = page.locator("#requests-rows time")
    first = await times.first.get_attribute("title")
    pages = page.get_by_role("navigation", name="Pages of requests")
    await pages.get_by_role("button", name="Older").click()
    await settled(page)
    await expect(pages).to_contain_text("Page 2")
    assert await times.count() == 25
    assert await times.first.get_attribute("title") != first
    await pages.get_by_role("button", name="Newer").click()
    await settled(page)
    assert await times.first.get_attribute("title") == first
    filters = page.get_by_role("search", name="Filter requests")
    await filters.get_by_label("Key").select_option("nightly-batch")
    await settled(page)
    keys = await page.locator("#requests-rows td[data-name=Key]").all_inner_texts()
    assert set(keys) == {"nightly-batch"}
    await filters.get_by_label("Key").select_option("")
    await filters.get_by_label("Model").select_option("gpt-4o")
    await filters.get_by_label("Status").select_option("failure")
    await settled(page)
    assert set(await page.locator("#requests-rows td[data-name=Model]").all_inner_texts()) == {"gpt-4o"}
    statuses = await page.locator("#requests-rows td[data-name=Status]").all_inner_texts()
    assert statuses
    assert all(int(status) >= 400 for status in statuses)


async def test_the_keyboard_alone_is_enough(visit: Visit, gateway: Gateway):
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1280])
async def test_it_is_accessible_and_fits(visit: Visit, gateway: Gateway, width: int, scheme):
    page = await visit(gateway.url, signed_in=False, width=width, height=740, color_scheme=scheme)
    assert await violations(page) == []
    await sign_in(page)
    await page.get_by_text("The same as a table").click()
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.get_by_role("button", name="Create a key").click()
    assert await violations(page) == []
    box = await page.get_by_role("dialog").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(14, 17, 22)") == (scheme == "dark")


async def test_nothing_moves_when_it_is_brought_up_to_date(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await page.evaluate(
        "() => { window.shifts = [];"
        "new PerformanceObserver(list => shifts.push(...list.getEntries().map(entry => entry.value)))"
        ".observe({ type: 'layout-shift', buffered: false }) }"
    )
    for _ in range(2):
        await page.get_by_role("button", name="Refresh").click()
        await expect(page.get_by_role("status")).to_have_text("Up to date.")
    assert sum(await page.evaluate("shifts")) < 0.01


async def test_a_part_that_cannot_be_loaded_says_so_and_can_be_tried_again(visit: Visit, gateway: Gateway):
    visit.expected = ["503 (Service Unavailable)"]
    page = await visit(gateway.url)
    refusal = {"error": {"message": "The ledger cannot be used now.", "type": "service_unavailable"}}

    async def refuse(route):
        await route.fulfill(status=503, body=json.dumps(refusal))

    await page.route("**/key/list*", refuse)
    await page.get_by_role("button", name="Refresh").click()
    keys = page.get_by_role("region", name="Keys")
    await expect(keys.get_by_role("alert")).to_have_text("The ledger cannot be used now.")
    await expect(keys.get_by_role("rowheader").first).to_be_visible()  # what is known stays
    await page.unroute("**/key/list*")
    await keys.get_by_role("button", name="Try again").click()
    await expect(keys.get_by_role("alert")).to_have_count(0)


async def test_a_master_key_that_is_not_valid_any_more_signs_out(visit: Visit, gateway: Gateway):
    visit.expected = ["401 (Unauthorized)"]
    page = await visit(gateway.url)

    async def refuse(route):
        await route.fulfill(status=401, body=json.dumps({"error": {"message": "This API key is not valid here."}}))

    await page.route("**/global/spend", refuse)
    await page.get_by_role("button", name="Refresh").click()
    await expect(page.locator("#sign-in-error")).to_have_text("This API key is not valid here.")
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_ledger_without_a_past(visit: Visit, module_proxy: StartProxy):
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    proxy = module_proxy({"model_list": [model]})
    page = await visit(proxy.url)
    await expect(page.get_by_text("No requests in this time").first).to_be_visible()
    await expect(page.get_by_text("There are no keys yet.", exact=False)).to_be_visible()
    await expect(page.get_by_text("No requests yet")).to_be_visible()
    await expect(page.get_by_text("No global budget is set")).to_be_visible()
    assert await violations(page) == []


async def test_without_a_master_key_an_empty_field_is_enough(visit: Visit, module_proxy: StartProxy):
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    proxy = module_proxy({"model_list": [model]}, master_key=None)
    page = await visit(proxy.url, key="")
    secret = await create(page, "here")
    assert secret.startswith("sk-")
    await expect(row(page, "here")).to_be_visible()
