"""A request's own page and the panel that tries a model, in a real Chromium."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Gateway, Visit, go, settled
from tests.dashboard.operator import ask, told
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


async def send(page: Page, prompt: str, *, model: str = "gpt-4o", key: str = "", stream: bool = True) -> None:
    form = page.locator("#try-form")
    await form.get_by_label("Model").fill(model)
    await form.get_by_label("Key").fill(key)
    await form.get_by_label("Prompt").fill(prompt)
    await form.get_by_label("Stream the answer").set_checked(stream)
    await form.get_by_role("button", name="Send").click()


def fact(page: Page, name: str):
    named = page.locator(".view:visible dl.facts div").filter(has_text=re.compile(f"^{name}"))
    return named.locator("dd")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_is_tried(visit: Visit, gateway: Gateway, trouble: FakeProvider, stream: bool):
    page = await visit(gateway.url)
    await go(page, "Try it")
    trouble.queue(Behaviour(text=f"Well: {HOSTILE}", usage=(11, 7)))
    await send(page, "Hello?", stream=stream)
    await expect(page.locator("#try-answer")).to_have_text(f"Well: {HOSTILE}")
    await expect(page.locator("#try-state")).to_contain_text("Answered in")
    await expect(fact(page, "Cost")).to_have_text("$0.000039")
    await expect(fact(page, "Tokens in")).to_have_text("11")
    await expect(fact(page, "Key")).to_have_text("master key")
    assert await page.locator("#main img").count() == 0
    await page.get_by_role("link", name="This request's page").click()
    await settled(page)
    await expect(page.locator("#request-lines")).to_contain_text("Answered")
    await expect(fact(page, "Deployment")).to_contain_text("openai/gpt-4o")


async def test_the_attempts_of_a_request_are_listed(visit: Visit, gateway: Gateway, trouble: FakeProvider):
    visit.expected = ["status of 429"]
    page = await visit(gateway.url)
    await go(page, "Try it")
    trouble.queue(failing(429, message="Slow down"))
    await send(page, "Hello?", model="claude-sonnet", key=gateway.secrets["web-app"])
    await expect(page.locator("#try-error")).to_contain_text("Slow down")
    await expect(fact(page, "Key")).to_have_text("web-app")
    row = page.get_by_role("table", name="Attempts").get_by_role("row").nth(1)
    await expect(row).to_contain_text("claude-sonnet")
    await expect(row).to_contain_text("rate limit")
    assert await page.locator("#try-form [name=key]").get_attribute("type") == "password"
    assert gateway.secrets["web-app"] not in await page.content()


async def test_a_refused_request_says_why(visit: Visit, gateway: Gateway):
    visit.expected = ["status of 403", "status of 401"]
    page = await visit(gateway.url)
    await go(page, "Try it")
    await send(page, "Hello?", model="gpt-4o", key=gateway.secrets["nightly-batch"])
    await expect(page.locator("#try-error")).to_contain_text("gpt-4o")
    await expect(page.locator("#try-line")).to_contain_text("cost nothing", timeout=20_000)
    await send(page, "Hello?", key="sk-of-nobody")
    await expect(page.locator("#try-error")).to_contain_text("not valid")
    await expect(page.locator("#app")).to_be_visible()  # the person is still signed in


async def test_a_stream_can_be_stopped(visit: Visit, gateway: Gateway, trouble: FakeProvider):
    visit.expected = ["ERR_ABORTED"]
    page = await visit(gateway.url)
    await go(page, "Try it")
    trouble.queue(Behaviour(text="one two three four", pace=30))
    await send(page, "Hello?")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#try-state")).to_have_text("Stopped.")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_an_id_that_is_not_known_or_was_used_twice(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)
    await page.goto(f"{gateway.url}/dashboard#/request/nothing%2Fhere")
    await expect(page.get_by_text("no finished request with this id")).to_be_visible()
    for _ in range(2):
        assert await ask(gateway, MASTER_KEY, id="used-twice") == 200
    assert len((await told(gateway, "/spend/logs?request_id=used-twice"))["data"]) == 2
    await page.goto(f"{gateway.url}/dashboard#/request/used-twice")
    await expect(page.get_by_text("The client used this id for 2 requests.")).to_be_visible()
