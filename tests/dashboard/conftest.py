"""Fixtures: the dashboard in a real Chromium, on a proxy whose ledger has a history.

async def test_it(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)          # signed in; `signed_in=False`: before that

Any console output of the page, including policy violations, fails the test unless `visit.expected` lists it.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.dashboard import history
from tests.dashboard.browser import MISSING, find
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy
from worker.core.ledger.accounts import Limits, Policy

BUDGET, LENGTH = 5, "1d"
POLICY = Policy(everyone=Limits(max_budget=BUDGET * 10**9, duration=LENGTH))
KEYS = {"OPENAI_API_KEY": "sk-openai-of-the-tests", "ANTHROPIC_API_KEY": "sk-ant-of-the-tests"}
_PRICED = {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6}
# Tests send wrong keys.
_PATIENT = {"FAILED_KEYS_PER_MINUTE": "1000000"}


def config(fake: FakeProvider) -> dict[str, Any]:
    """Four models, of which `gemini-flash` is disabled."""

    def model(name: str, key: str) -> dict[str, Any]:
        params = {"model": f"openai/{name}", "api_key": f"os.environ/{key}", "api_base": fake.openai_base}
        return {"model_name": name, "litellm_params": params, "model_info": _PRICED}

    return {
        "model_list": [
            model("claude-sonnet", "ANTHROPIC_API_KEY"),
            model("gpt-4o", "OPENAI_API_KEY"),
            model("gpt-4o-mini", "OPENAI_API_KEY"),
            model("gemini-flash", "GEMINI_API_KEY"),
        ],
        "litellm_settings": {"max_budget": BUDGET, "budget_duration": LENGTH},
        "router_settings": {"num_retries": 0},
    }


class Gateway(NamedTuple):
    """`secrets` holds the keys by alias."""

    proxy: RunningProxy
    fake: FakeProvider
    secrets: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.proxy.url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    directory = tmp_path_factory.mktemp("proxy")
    secrets = await history.write(directory / "ledger.db", POLICY)
    with FakeProvider() as fake, RunningProxy(config(fake), directory, environment={**KEYS, **_PATIENT}) as proxy:
        yield Gateway(proxy, fake, secrets)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium. In CI a missing Chromium is a failure."""
    found = find()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        await running.close()


class Visit:
    """Opens the page in its own browser context. `said`: console output; `expected`: parts of lines that are
    allowed.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.said: list[str] = []
        self.expected: list[str] = []
        self._origins: set[str] = set()

    async def __call__(
        self,
        url: str,
        *,
        signed_in: bool = True,
        key: str = MASTER_KEY,
        width: int = 1280,
        height: int = 900,
        **options: Any,
    ) -> Page:
        context = await self._browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(15_000)
        page = await context.new_page()
        self._origins.add(url)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        await page.goto(f"{url}/dashboard")
        if signed_in:
            await sign_in(page, key)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        page = message.page
        if page is None or page.url.startswith(tuple(self._origins)):  # not that of an OpenID provider
            self.said.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        unexpected = [line for line in self.said if not any(part in line for part in self.expected)]
        assert not unexpected, unexpected


async def sign_in(page: Page, key: str = MASTER_KEY) -> None:
    """Signs in and returns when the page has loaded everything."""
    await page.get_by_label("Master key", exact=True).fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#app").wait_for()
    await settled(page)


async def go(page: Page, view: str) -> None:
    """Follows a link of the navigation and waits until the view has loaded."""
    await page.get_by_role("navigation", name="Sections").get_by_role("link", name=view, exact=True).click()
    await settled(page)


async def settled(page: Page) -> None:
    """Waits until nothing is being fetched."""
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    one = Visit(browser)
    yield one
    for context in browser.contexts:
        await context.close()
    one.check()


@pytest.fixture
def trouble(gateway: Gateway) -> Iterator[FakeProvider]:
    """The provider behind the gateway. Its orders are cleared afterwards."""
    yield gateway.fake
    gateway.fake.reset()
