"""People who sign in with their own account at a real OpenID provider: a member, a team's admin, an operator; and what
the browser keeps of a session.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Visit, go, settled
from tests.dashboard.operator import row, secret_shown
from tests.edge.conftest import StartEdge, start_module_edge
from tests.processes import RunningProxy, free_tcp_port
from tests.sign_in.conftest import CONFIG, Gateway, provider, settings
from tests.sign_in.provider import OpenIdProvider

__all__ = ["provider", "start_module_edge"]
pytestmark = pytest.mark.asyncio(loop_scope="session")
_POST = """([url, fields, own]) => fetch(url, {
  method: "POST",
  credentials: "include",
  headers: { "content-type": "application/json", ...(own && { "x-litellm-router-session": "1" }) },
  body: JSON.stringify(fields),
}).then(async (answer) => ({ status: answer.status, body: await answer.json() }), () => null)"""


@pytest.fixture(scope="module")
def office(provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with RunningProxy(CONFIG, tmp_path_factory.mktemp("proxy"), environment=settings(provider, "{url}")) as proxy:
        yield furnished(Gateway(proxy.url, provider))


@pytest.fixture(scope="module")
def office_at_the_edge(provider: OpenIdProvider, start_module_edge: StartEdge) -> Gateway:
    port = free_tcp_port()
    url = f"http://127.0.0.1:{port}"
    start_module_edge(CONFIG, vars=settings(provider, url), port=port)
    return furnished(Gateway(url, provider))


@pytest.fixture(scope="module", params=["office", "office_at_the_edge"])
def door(request: pytest.FixtureRequest) -> Gateway:
    return request.getfixturevalue(request.param)


def furnished(gateway: Gateway) -> Gateway:
    """Makes two teams, each with a key that is nobody's own."""
    for team, budget in (("blue", 50), ("red", None)):
        fields = {"team_id": team, "team_alias": team.capitalize(), "max_budget": budget}
        assert gateway.call("/team/new", fields).status_code == 200
        gateway.made(key_alias=f"{team}-bot", team_id=team)
    return gateway


async def sign_in(page: Page, name: str) -> None:
    """Follows the link to the provider, signs in there, agrees, and comes back to the same view."""
    await page.get_by_role("link", name="Sign in with your account").click()
    await page.locator("[name=login]").fill(name)
    await page.locator("[name=password]").fill("anything")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()
    await page.locator("#app").wait_for()
    await settled(page)


async def sections(page: Page) -> list[str]:
    return await page.get_by_role("navigation", name="Sections").get_by_role("link").all_inner_texts()


async def ask(office: Gateway, key: str, model: str = "gpt") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return office.call("/v1/chat/completions", body, key=key)


async def test_a_members_day(visit: Visit, office_at_the_edge: Gateway):
    door = office_at_the_edge
    visit.expected = ["400 (Bad Request)", "401 (Unauthorized)"]
    page = await visit(door.url, signed_in=False)
    await sign_in(page, "bob")
    assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    await expect(page.locator("#person")).to_have_text("Bob")
    assert await sections(page) == ["Overview", "Keys", "Teams", "Requests", "Try it"]
    await go(page, "Keys")
    await expect(page.get_by_text("There are no keys yet.")).to_be_visible()

    await page.get_by_role("button", name="Create a key").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("User")).to_have_count(0)
    await dialog.get_by_label("Name", exact=True).fill("bobs")
    await dialog.get_by_label("Budget in US dollars").fill("60")
    await dialog.get_by_role("button", name="Create", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("max_budget")  # more than the team has
    await dialog.get_by_label("Budget in US dollars").fill("2")
    await dialog.get_by_role("button", name="Create", exact=True).click()
    secret = await secret_shown(page)
    await page.get_by_role("button", name="Done").click()
    line = row(page, "bobs")
    await expect(line).to_contain_text("bob · team blue")
    await expect(line.get_by_role("button", name="Block")).to_have_count(0)

    await go(page, "Try it")
    form = page.locator("#try-form")
    await form.get_by_label("Model").fill("gpt")
    await form.get_by_label("Key").fill(secret)
    await form.get_by_label("Prompt").fill("Hello?")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#try-answer")).to_have_text("Hello")
    await expect(page.locator("#try-line")).to_contain_text("bobs")

    await go(page, "Overview")
    await expect(page.locator("#requests-today")).to_have_text("1")
    await expect(page.locator("#budget")).to_have_text("You have no budget of your own")
    door.call("/v1/chat/completions", {"model": "gpt", "messages": []})
    assert (await ask(door, door.made(key_alias="others")["key"])).status_code == 200
    await go(page, "Requests")
    await expect(page.locator("#requests-rows tr")).to_have_count(1)
    await expect(page.locator("#requests-rows")).to_contain_text("bobs")

    await go(page, "Teams")
    await expect(page.get_by_role("button", name="Create a team")).to_have_count(0)
    await page.get_by_role("link", name="Blue").click()
    await settled(page)
    await expect(page.locator("#team-facts")).to_contain_text("$50.00")
    await expect(page.locator("#team-members")).to_be_hidden()

    await go(page, "Keys")
    await line.get_by_role("button", name="Rotate").click()
    await page.get_by_role("dialog").get_by_role("combobox").select_option("")
    await page.get_by_role("dialog").get_by_role("button", name="Rotate", exact=True).click()
    rotated = await secret_shown(page)
    await page.get_by_role("button", name="Done").click()
    assert ((await ask(door, secret)).status_code, (await ask(door, rotated)).status_code) == (401, 200)
    await line.get_by_role("button", name="Edit").click()
    await page.get_by_role("dialog").get_by_label("Requests a minute").fill("5")
    await page.get_by_role("button", name="Save").click()
    await expect(line).to_contain_text("5 requests/min")
    await line.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await expect(line).to_have_count(0)
    assert (await ask(door, rotated)).status_code == 401

    await page.reload()
    await page.locator("#app").wait_for()
    await settled(page)
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()  # at the provider
    await expect(page.get_by_role("link", name="Sign in with your account")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("link", name="Sign in with your account")).to_be_visible()
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_team_admin_makes_a_key_that_is_nobodys_own(visit: Visit, office: Gateway):
    page = await visit(office.url, signed_in=False)
    await sign_in(page, "ada")
    await go(page, "Keys")
    for name, whose in (("for-an-app", "team blue"), ("adas", "ada · team blue")):
        await page.get_by_role("button", name="Create a key").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name", exact=True).fill(name)
        if name == "for-an-app":
            await dialog.get_by_label("nobody's own").check()
        await dialog.get_by_role("button", name="Create", exact=True).click()
        secret = await secret_shown(page)
        await page.get_by_role("button", name="Done").click()
        info = office.call(f"/key/info?key={secret}").json()["info"]
        assert (info["user_id"], info["team_id"]) == (None if name == "for-an-app" else "ada", "blue")
        await expect(row(page, name)).to_contain_text(whose)
    member = await visit(office.url, signed_in=False)
    await sign_in(member, "bob")
    await go(member, "Keys")
    await member.get_by_role("button", name="Create a key").click()
    await expect(member.get_by_role("dialog").get_by_label("Name", exact=True)).to_be_visible()
    await expect(member.get_by_role("dialog").get_by_label("nobody's own")).to_have_count(0)


async def test_a_team_admin_manages_the_teams_keys_and_members(visit: Visit, office: Gateway):
    page = await visit(office.url, signed_in=False)
    await sign_in(page, "ada")
    await go(page, "Keys")
    line = row(page, "blue-bot")
    await line.get_by_role("button", name="Block").click()
    await page.get_by_role("dialog").get_by_role("button", name="Block", exact=True).click()
    await expect(line).to_contain_text("Blocked")
    await expect(row(page, "red-bot")).to_have_count(0)
    await go(page, "Teams")
    await expect(row(page, "Red")).to_have_count(0)
    await page.get_by_role("link", name="Blue").click()
    await page.get_by_role("button", name="Add a member").click()
    await page.get_by_role("dialog").get_by_label("User").fill("carol")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(row(page, "carol")).to_be_visible()
    await page.goto(f"{office.url}/dashboard#/users")
    await settled(page)
    await expect(page.locator("#create-account")).to_be_hidden()


async def test_an_operator_sees_everything_and_ends_a_session(visit: Visit, office: Gateway):
    visit.expected = ["401 (Unauthorized)"]
    bob = await visit(office.url, signed_in=False)
    await sign_in(bob, "bob")
    root = await visit(office.url, signed_in=False)
    await sign_in(root, "root")
    await go(root, "Keys")
    await expect(row(root, "red-bot")).to_be_visible()
    await go(root, "Accounts")
    await root.get_by_role("navigation", name="Kinds of accounts").get_by_role("link", name="Users", exact=True).click()
    await settled(root)
    await root.get_by_role("button", name=re.compile("Sign out bob", re.IGNORECASE)).click()
    await root.get_by_role("dialog").get_by_role("button", name="Sign out", exact=True).click()
    await expect(root.get_by_role("status").last).to_contain_text("ended")
    await bob.get_by_role("button", name="Refresh").click()
    await expect(bob.locator("#sign-in-error")).to_contain_text("session has ended")
    await expect(bob.locator("#app")).to_be_hidden()


async def test_a_sign_in_that_fails_says_why(visit: Visit, office: Gateway):
    page = await visit(office.url, signed_in=False)
    await page.goto(f"{office.url}/dashboard?sign_in_error=state")
    await expect(page.get_by_role("alert")).not_to_be_empty()
    assert "sign_in_error" not in page.url
    await expect(page.get_by_role("link", name="Sign in with your account")).to_be_visible()


async def test_a_member_signs_in_makes_a_key_and_signs_out(visit: Visit, door: Gateway):
    page = await visit(door.url, signed_in=False)
    await sign_in(page, "dan")
    assert page.url.startswith(f"{door.url}/dashboard")
    assert "code=" not in page.url
    await expect(page.locator("#person")).to_have_text("Dan")
    cookies = {cookie.get("name"): cookie for cookie in await page.context.cookies(door.url)}
    session = cookies["litellm-router-session"]
    assert (session.get("httpOnly"), session.get("sameSite")) == (True, "Strict")
    assert "litellm-router-sign-in" not in cookies
    assert "litellm-router-session" not in await page.evaluate("document.cookie")
    made = await page.evaluate(_POST, ["/key/generate", {"key_alias": "dans"}, True])
    assert (made["status"], made["body"]["user_id"], made["body"]["team_id"]) == (200, "dan", "blue")
    visit.expected.append("403")
    refused = await page.evaluate(_POST, ["/team/new", {}, True])
    assert refused["status"] == 403
    await page.reload()
    await expect(page.locator("#person")).to_have_text("Dan")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()  # at the provider
    await expect(page.get_by_role("link", name="Sign in with your account")).to_be_visible()
    await page.reload()
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_person_who_cancels_is_told_and_comes_back_to_the_view_that_was_asked_for(visit: Visit, door: Gateway):
    page = await visit(door.url, signed_in=False)
    await page.goto(f"{door.url}/dashboard#requests")
    await page.get_by_role("link", name="Sign in with your account").click()
    await page.get_by_role("link", name="Cancel").click()
    await expect(page.locator("#sign-in-error")).to_contain_text("did not let you in")
    await expect(page.locator("#app")).to_be_hidden()
    await page.goto(f"{door.url}/dashboard#requests")
    await sign_in(page, "root")
    assert page.url == f"{door.url}/dashboard#requests"


async def test_a_page_of_another_origin_can_do_nothing(visit: Visit, door: Gateway, elsewhere: str):
    """At the same host with another port, so that the browser sends the cookie although it is SameSite=Strict."""
    page = await visit(door.url, signed_in=False)
    await sign_in(page, "root")
    before = door.call("/key/list").json()["total_count"]
    visit.expected += ["CORS", "ERR_FAILED", "403"]
    await page.goto(elsewhere)
    for path in ("/key/generate", "/dashboard/sign-out", "/dashboard/sessions/revoke"):
        await page.evaluate(
            "(url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => 1)",
            door.url + path,
        )
        with_header = await page.evaluate(_POST, [door.url + path, {}, True])
        assert with_header is None  # a preflight is refused
    read = await page.evaluate(
        "(url) => fetch(url, { credentials: 'include' }).then((a) => a.text(), () => null)", f"{door.url}/key/list"
    )
    assert read is None
    assert door.call("/key/list").json()["total_count"] == before
    await page.goto(f"{door.url}/dashboard")
    await expect(page.locator("#person")).to_have_text("Root")
