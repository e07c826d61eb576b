"""Fixtures: the dashboard in a real Chromium, on a proxy whose ledger has a history.

async def test_it(visit: Visit, gateway: Gateway):
    page = await visit(gateway.url)          # signed in; `signed_in=False`: before that

The tests of a session share Chromium and its pages, which are cleared after each test. Any console output of the page,
including policy violations, fails the test unless `visit.expected` lists it.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Literal, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, async_playwright, expect

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def past(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    """A ledger to copy, and the secrets of its keys."""
    ledger = tmp_path_factory.mktemp("past") / "ledger.db"
    return ledger, await history.write(ledger, POLICY)


@pytest.fixture(scope="module")
def gateway(past: tuple[Path, Mapping[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("proxy")
    ledger, secrets = past
    shutil.copy(ledger, directory / "ledger.db")
    with FakeProvider() as fake, RunningProxy(config(fake), directory, environment={**KEYS, **_PATIENT}) as proxy:
        yield Gateway(proxy, fake, secrets)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium. In CI a missing Chromium is a failure."""
    found = find()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


class Pages:
    """The pages of a Chromium, each in its own browser context. A new page costs a second, a cleared one little."""

    def __init__(self, playwright: Playwright, chromium: str) -> None:
        self._playwright = playwright
        self._chromium = chromium
        self._browser: Browser | None = None
        self._free: list[Page] = []

    async def take(self) -> Page:
        if self._browser is None or not self._browser.is_connected():
            self._free.clear()
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            self._browser = await self._playwright.chromium.launch(executable_path=self._chromium, args=arguments)
        if self._free:
            return self._free.pop()
        context = await self._browser.new_context()
        context.set_default_timeout(15_000)
        return await context.new_page()

    async def give_back(self, page: Page) -> None:
        """Clears everything that a test can leave, except the HTTP cache."""
        context = page.context
        for other in context.pages:
            if other is not page:
                await other.close()
        await page.mouse.move(0, 0)
        await page.unroute_all(behavior="wait")
        await page.goto("about:blank")
        debugger = await context.new_cdp_session(page)
        await debugger.send("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
        await debugger.detach()
        await context.clear_cookies()
        await context.clear_permissions()
        self._free.append(page)

    async def close(self) -> None:
        if self._browser is not None:
            await self._browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pages(chromium: str) -> AsyncIterator[Pages]:
    async with async_playwright() as playwright:
        one = Pages(playwright, chromium)
        yield one
        await one.close()


class Visit:
    """Opens a page that shares nothing with the test's other pages. `said`: console output; `expected`: parts of
    lines that are allowed.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._taken: list[Page] = []
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
        scheme: Literal["dark", "light"] = "light",
    ) -> Page:
        page = await self._pages.take()
        self._taken.append(page)
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=scheme)
        self._origins.add(url)
        page.on("console", self._listen)
        page.on("pageerror", self._fail)
        await page.goto(f"{url}/dashboard")
        if signed_in:
            await sign_in(page, key)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        page = message.page
        if page is None or page.url.startswith(tuple(self._origins)):  # not that of an OpenID provider
            self.said.append(f"{message.type}: {message.text}")

    def _fail(self, error: Exception) -> None:
        self.said.append(f"error: {error}")

    async def end(self, *, keep: bool) -> None:
        """Gives the pages back, or closes them if a test has failed, because it may have stopped anywhere."""
        for page in self._taken:
            if keep:
                await self._pages.give_back(page)
                page.remove_listener("console", self._listen)
                page.remove_listener("pageerror", self._fail)
            else:
                await page.context.close()
        self._taken.clear()

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


@pytest_asyncio.fixture(loop_scope="session")
async def visit(pages: Pages, request: pytest.FixtureRequest) -> AsyncIterator[Visit]:
    failed = request.session.testsfailed
    one = Visit(pages)
    yield one
    await one.end(keep=request.session.testsfailed == failed)
    one.check()


@pytest.fixture
def trouble(gateway: Gateway) -> Iterator[FakeProvider]:
    """The provider behind the gateway. Its orders are cleared afterwards."""
    yield gateway.fake
    gateway.fake.reset()


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,>")  # does not ask for /favicon.ico

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A site of the same host with an empty page at each path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
