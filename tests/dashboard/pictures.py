"""`python -m tests.dashboard.pictures`: retakes the screenshots in docs/dashboard.md."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.async_api import Browser, async_playwright

from tests.dashboard import history
from tests.dashboard.browser import MISSING, find
from tests.dashboard.conftest import KEYS, POLICY, config, sign_in
from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, ROOT, RunningProxy

# Name: width, height, pixels per point, color scheme, view.
PICTURES = {
    "dashboard-desktop": (1280, 1060, 1, "light", "overview"),
    "dashboard-request": (1280, 660, 1, "light", "request/of-the-picture"),
    "dashboard-phone": (360, 740, 2, "dark", "keys"),
}


async def _picture(browser: Browser, url: str, name: str) -> None:
    width, height, scale, scheme, view = PICTURES[name]
    page = await browser.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme=scheme
    )
    await page.goto(f"{url}/dashboard#/{view}")
    await sign_in(page)
    await page.screenshot(path=ROOT / "docs" / f"{name}.png")
    await page.close()


async def main() -> int:
    chromium = find()
    if chromium is None:
        print(MISSING, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch, FakeProvider() as fake:
        await history.write(Path(scratch) / "ledger.db", POLICY)
        with RunningProxy(config(fake), Path(scratch), environment=KEYS) as proxy:
            _live(proxy, fake)
            async with async_playwright() as playwright:
                arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
                for name in PICTURES:
                    await _picture(browser, proxy.url, name)
                await browser.close()
    return 0


def _live(proxy: RunningProxy, fake: FakeProvider) -> None:
    """Creates one of everything: a model that is cooling down, models in use, a blocked key."""
    with httpx.Client(base_url=proxy.url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=30) as client:
        ask = {"messages": [{"role": "user", "content": "Hi"}]}
        for model, stream in (("gpt-4o", False), ("gpt-4o-mini", False), ("gpt-4o-mini", True)):
            client.post("/v1/chat/completions", json={**ask, "model": model, "stream": stream})
        fake.queue(failing(429, retry_after=55))
        named = {"x-request-id": "of-the-picture"}
        again = {
            "model": "claude-sonnet",
            "fallbacks": ["gpt-4o"],
            "user": "customer-7",
            "metadata": {"tags": ["docs"]},
        }
        client.post("/v1/chat/completions", json={**ask, **again}, headers=named)
        keys = client.get("/key/list", params={"return_full_object": "true"}).json()["keys"]
        [batch] = [key for key in keys if key["key_alias"] == "nightly-batch"]
        client.post("/key/block", json={"key": batch["token"]})


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
