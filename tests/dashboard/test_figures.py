"""What the page shows of the ledger, models and requests, in a real Chromium."""

import re
from datetime import UTC, datetime

import pytest
from playwright.async_api import expect

from tests.dashboard.conftest import Gateway, Visit, go, settled
from tests.dashboard.operator import ask, row, told
from tests.fakes.behaviour import failing
from tests.processes import MASTER_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_figures_match_the_ledger(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    today = await told(gateway, f"/spend/activity?from={datetime.now(UTC).date()}")
    requests = sum(line["requests"] for line in today["data"])
    assert int((await page.locator("#requests-today").inner_text()).replace(",", "")) == requests
    spend = sum(line["spend"] for line in today["data"])
    await expect(page.locator("#spend-today")).to_have_text(f"${spend:.2f}")
    await expect(page.locator("#budget")).to_contain_text("of $5.00 a day, resets in")
    meter = page.get_by_role("meter", name="Global budget used")
    assert await meter.get_attribute("aria-valuenow") == str(round(100 * spend / 5))


async def test_the_charts_match_the_ledgers_rows(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    for choice, query in (
        ("24 h", "bucket=hour"),
        ("7 days", "bucket=day"),
        ("key", "bucket=day&group_by=key"),
        ("user", "bucket=day&group_by=user"),
    ):
        if choice in ("key", "user"):
            await page.get_by_label("Group by").select_option(choice)
        else:
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
    description = await page.get_by_role("img", name=re.compile("Requests by user")).get_attribute("aria-label")
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


async def test_models_show_their_health_and_missing_variables(visit: Visit, gateway: Gateway, trouble):
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
    await go(page, "Requests")
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
    await filters.get_by_label("Key").fill("nightly-batch")
    await filters.get_by_label("Key").press("Enter")
    await expect(page.locator("#requests-rows tr td[data-name=Key]").first).to_have_text("nightly-batch")
    keys = await page.locator("#requests-rows td[data-name=Key]").all_inner_texts()
    assert set(keys) == {"nightly-batch"}
    await filters.get_by_label("Key").fill("")
    await filters.get_by_label("Model").fill("gpt-4o")
    await filters.get_by_label("Status").select_option("failure")
    await settled(page)
    assert set(await page.locator("#requests-rows td[data-name=Model]").all_inner_texts()) == {"gpt-4o"}
    statuses = await page.locator("#requests-rows td[data-name=Status]").all_inner_texts()
    assert statuses
    assert all(int(status) >= 400 for status in statuses)


async def test_a_refresh_does_not_move_the_layout(visit: Visit, gateway: Gateway):
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
