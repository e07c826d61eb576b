"""Teams, users, end users, tags and budgets on the page, in a real Chromium."""

import re
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Gateway, Visit, go, settled
from tests.dashboard.operator import ask, row, told
from tests.processes import MASTER_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


async def make(gateway: Gateway, path: str, **fields: Any) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        answer = await client.post(gateway.url + path, json=fields, headers={"authorization": f"Bearer {MASTER_KEY}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def open_kind(page: Page, name: str) -> None:
    await go(page, "Accounts")
    await page.get_by_role("navigation", name="Kinds of accounts").get_by_role("link", name=name, exact=True).click()
    await settled(page)


async def fill(page: Page, fields: dict[str, str]) -> None:
    for label, value in fields.items():
        field = page.get_by_role("dialog").get_by_label(re.compile(f"^{label}"))
        if await field.evaluate("field => field.tagName") == "SELECT":
            await field.select_option(value)
        else:
            await field.fill(value)


@pytest.mark.parametrize(
    ("kind", "id_label", "path", "id"),
    [
        ("Teams", "Id", "/team/info?team_id=", "red"),
        ("Users", "Id", "/user/info?user_id=", "eve"),
        ("End users", "Id", "/customer/info?end_user_id=", "customer-7"),
        ("Tags", "Tag", "/tag/list?search=", "nightly"),
        ("Budgets", "Id", "/budget/list?search=", "small"),
    ],
)
async def test_the_lifecycle_of_an_account(
    visit: Visit, gateway: Gateway, kind: str, id_label: str, path: str, id: str
):
    page = await visit(gateway.url)
    await open_kind(page, kind)
    await page.locator("#create-account").click()
    await fill(page, {id_label: id, "Budget in US dollars": "2.5", "each": "7d", "Requests a minute": "60"})
    await page.get_by_role("button", name="Create", exact=True).click()
    line = row(page, id)
    await expect(line).to_contain_text("$2.50 a week")
    await expect(line).to_contain_text("60 requests/min")
    await line.get_by_role("button", name="Edit").click()
    await fill(page, {"Budget in US dollars": "4", "Requests a minute": ""})
    await page.get_by_role("button", name="Save").click()
    await expect(line).to_contain_text("$4.00 a week")
    await expect(line.get_by_role("button", name="Edit")).to_be_focused()
    found = str(await told(gateway, path + id))
    assert "'max_budget': 4.0" in found
    assert "'rpm_limit': None" in found
    for word, said in (("Block", "Blocked"), ("Unblock", "Active")) if kind != "Budgets" else ():
        await line.get_by_role("button", name=word, exact=False).click()
        await page.get_by_role("dialog").get_by_role("button", name=word, exact=True).click()
        await expect(line).to_contain_text(said)
    await line.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await expect(line).to_have_count(0)


@pytest.mark.parametrize(("kind", "path"), [("Teams", "/team/info?team_id="), ("Users", "/user/info?user_id=")])
async def test_metadata_is_edited_as_json(visit: Visit, gateway: Gateway, kind: str, path: str):
    visit.expected = ["400 (Bad Request)"]
    page = await visit(gateway.url)
    await open_kind(page, kind)
    await page.locator("#create-account").click()
    dialog = page.get_by_role("dialog")
    await fill(page, {"Id": f"noted-{kind}"})
    await dialog.locator("details summary").click()
    for text, said in (
        ("{nothing", "Metadata is not valid JSON."),
        ("[1]", "'metadata' has to be a JSON object of at most 16 KB."),
    ):
        await fill(page, {"Metadata": text})
        await page.get_by_role("button", name="Create", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_have_text(said)
    await fill(page, {"Metadata": '{"cost_center": [1, 2]}'})
    await page.get_by_role("button", name="Create", exact=True).click()
    await row(page, f"noted-{kind}").get_by_role("button", name="Edit").click()
    await expect(dialog.get_by_label("Metadata")).to_have_value(re.compile("cost_center"))
    await fill(page, {"Metadata": '{"cost_center": 3}'})
    await page.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    assert "'cost_center': 3" in str(await told(gateway, f"{path}noted-{kind}"))


async def test_a_new_user_has_no_key(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await open_kind(page, "Users")
    await page.locator("#create-account").click()
    await fill(page, {"Id": "no-key", "Role": "internal_user_viewer"})
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(row(page, "no-key")).to_contain_text("member who only looks")
    await expect(row(page, "no-key")).to_contain_text("0 keys")


async def test_the_members_of_a_team(visit: Visit, gateway: Gateway):
    await make(gateway, "/team/new", team_id="crew", team_alias=HOSTILE)
    await make(gateway, "/user/new", user_id="grace", user_email="grace@example.com", auto_create_key=False)
    page = await visit(gateway.url)
    await open_kind(page, "Teams")
    await page.get_by_role("link", name=HOSTILE).click()
    await settled(page)
    await expect(page.get_by_text("Nobody is in this team yet")).to_be_visible()
    await page.get_by_role("button", name="Add a member").click()
    await fill(page, {"User": "grace@example.com"})
    await page.get_by_role("button", name="Add", exact=True).click()
    line = row(page, "grace@example.com")
    await expect(line).to_contain_text("Member")
    await line.get_by_role("button", name="Make admin").click()
    await page.get_by_role("button", name="Change").click()
    await expect(line).to_contain_text("Admin")
    team = (await told(gateway, "/team/info?team_id=crew"))["team_info"]
    assert [(one["user_id"], one["role"]) for one in team["members_with_roles"]] == [("grace", "admin")]
    await line.get_by_role("button", name="Remove").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    await expect(line).to_have_count(0)
    await expect(page.get_by_role("button", name="Add a member")).to_be_focused()
    assert await page.locator("#main img, dialog img").count() == 0


async def test_a_teams_keys_are_one_link_away(visit: Visit, gateway: Gateway):
    await make(gateway, "/team/new", team_id="linked")
    await make(gateway, "/key/generate", key_alias="of-the-team", team_id="linked")
    page = await visit(gateway.url)
    await open_kind(page, "Teams")
    await row(page, "linked").get_by_role("link", name="1 key").click()
    await settled(page)
    await expect(page.locator("#keys-note")).to_have_text("1 found")
    await expect(row(page, "of-the-team")).to_contain_text("team linked")


async def test_an_owners_requests_are_one_link_away(visit: Visit, gateway: Gateway):
    await make(gateway, "/tag/new", name="watched")
    secret = (await make(gateway, "/key/generate", key_alias="tagged", tags=["watched"]))["key"]
    assert await ask(gateway, secret) == 200
    page = await visit(gateway.url)
    await open_kind(page, "Tags")
    await page.get_by_role("searchbox", name="Find").fill("watched")
    await row(page, "watched").get_by_role("link", name="requests").click()
    await expect(page.locator("#requests-rows tr")).to_have_count(1)
    await expect(page.locator("#requests-rows")).to_contain_text("tagged")
    await page.locator("#requests-rows a").first.click()
    await expect(page.locator("#request-lines")).to_contain_text("watched")


async def test_errors_of_the_gateway_are_shown(visit: Visit, gateway: Gateway):
    visit.expected = ["400 (Bad Request)", "404 (Not Found)"]
    await make(gateway, "/budget/new", budget_id="taken")
    page = await visit(gateway.url)
    await open_kind(page, "Budgets")
    await page.locator("#create-account").click()
    await fill(page, {"Id": "taken"})
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("exists already")
    await page.keyboard.press("Escape")
    await page.goto(f"{gateway.url}/dashboard#/team/unknown")
    await expect(page.locator("#team").get_by_role("alert")).to_contain_text("unknown")


async def test_many_accounts_are_searched_and_paged(visit: Visit, gateway: Gateway):
    for number in range(25):
        await make(gateway, "/tag/new", name=f"tag-{number:02}")
    page = await visit(gateway.url)
    await open_kind(page, "Tags")
    await expect(page.locator("#accounts-rows tr")).to_have_count(20)
    await page.get_by_role("navigation", name="Pages of accounts").get_by_role("button", name="Older").click()
    await expect(page.locator("#accounts-pages")).to_contain_text("Page 2 of 2")
    await page.get_by_role("searchbox", name="Find").fill("G-1")
    await expect(page.locator("#accounts-note")).to_have_text("10 found")
