"""Sign-in in a real Chromium, at a real OpenID provider, at both doors."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Visit, browser, chromium, settled, visit
from tests.sign_in.conftest import Gateway

__all__ = ["browser", "chromium", "visit"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def at_provider(page: Page, name: str) -> None:
    """Signs in and agrees on the provider's own pages."""
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def signed_in(visit: Visit, gateway: Gateway, name: str) -> Page:
    page = await visit(gateway.url, signed_in=False)
    await page.get_by_role("link", name="Sign in with your account").click()
    await at_provider(page, name)
    await page.locator("#app").wait_for()
    await settled(page)
    return page


async def test_a_member_signs_in_makes_a_key_and_signs_out(visit: Visit, gateway: Gateway):
    gateway.call("/team/new", {"team_id": "blue", "team_alias": "Blue"})
    page = await signed_in(visit, gateway, "bob")
    assert page.url.startswith(f"{gateway.url}/dashboard")
    assert "code=" not in page.url
    await expect(page.locator("#person")).to_have_text("Bob")
    cookies = {cookie["name"]: cookie for cookie in await page.context.cookies(gateway.url)}
    session = cookies["litellm-router-session"]
    assert (session.get("httpOnly"), session.get("sameSite")) == (True, "Strict")
    assert "litellm-router-sign-in" not in cookies
    assert "litellm-router-session" not in await page.evaluate("document.cookie")
    made = await page.evaluate(_POST, ["/key/generate", {"key_alias": f"bobs {gateway.url}"}, True])
    assert (made["status"], made["body"]["user_id"], made["body"]["team_id"]) == (200, "bob", "blue")
    visit.expected.append("403")
    refused = await page.evaluate(_POST, ["/team/new", {}, True])
    assert refused["status"] == 403
    await page.reload()
    await expect(page.locator("#person")).to_have_text("Bob")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()  # at the provider
    await expect(page.get_by_role("link", name="Sign in with your account")).to_be_visible()
    await page.reload()
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_person_comes_back_to_the_view_that_was_asked_for(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url, signed_in=False)
    await page.goto(f"{gateway.url}/dashboard#requests")
    await page.get_by_role("link", name="Sign in with your account").click()
    await at_provider(page, "root")
    await page.locator("#app").wait_for()
    await settled(page)
    assert page.url == f"{gateway.url}/dashboard#requests"


async def test_a_person_who_cancels_is_told(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url, signed_in=False)
    await page.get_by_role("link", name="Sign in with your account").click()
    await page.get_by_role("link", name="Cancel").click()
    await expect(page.locator("#sign-in-error")).to_contain_text("did not let you in")
    await expect(page.locator("#app")).to_be_hidden()


async def test_a_page_of_another_origin_can_do_nothing(visit: Visit, gateway: Gateway, elsewhere: str):
    """At the same host with another port, so that the browser sends the cookie although it is SameSite=Strict."""
    page = await signed_in(visit, gateway, "root")
    before = gateway.call("/key/list").json()["total_count"]
    visit.expected += ["CORS", "ERR_FAILED", "403"]
    await page.goto(elsewhere)
    for path in ("/key/generate", "/dashboard/sign-out", "/dashboard/sessions/revoke"):
        await page.evaluate(
            "(url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => 1)",
            gateway.url + path,
        )
        with_header = await page.evaluate(_POST, [gateway.url + path, {}, True])
        assert with_header is None  # a preflight is refused
    read = await page.evaluate(
        "(url) => fetch(url, { credentials: 'include' }).then((a) => a.text(), () => null)", f"{gateway.url}/key/list"
    )
    assert read is None
    assert gateway.call("/key/list").json()["total_count"] == before
    await page.goto(f"{gateway.url}/dashboard")
    await expect(page.locator("#person")).to_have_text("Root")


_POST = """([url, fields, own]) => fetch(url, {
  method: "POST",
  credentials: "include",
  headers: { "content-type": "application/json", ...(own && { "x-litellm-router-session": "1" }) },
  body: JSON.stringify(fields),
}).then(async (answer) => ({ status: answer.status, body: await answer.json() }), () => null)"""


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,>")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another origin on the same host."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
