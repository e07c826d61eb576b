"""An operator's actions on the page, and the gateway's responses."""

import re

import httpx
from playwright.async_api import Locator, Page, expect

from tests.dashboard.conftest import Gateway, go, settled
from tests.processes import MASTER_KEY


async def ask(gateway: Gateway, key: str, model: str = "gpt-4o", id: str = "") -> int:
    """Sends a request and returns the status."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}"} | ({"x-request-id": id} if id else {})
    async with httpx.AsyncClient() as client:
        url = f"{gateway.url}/v1/chat/completions"
        return (await client.post(url, json=body, headers=headers)).status_code


async def told(gateway: Gateway, path: str) -> dict:
    async with httpx.AsyncClient() as client:
        return (await client.get(gateway.url + path, headers={"authorization": f"Bearer {MASTER_KEY}"})).json()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


async def secret_shown(page: Page) -> str:
    """The secret in the dialog."""
    field = page.get_by_label("Secret", exact=True)
    await expect(field).to_have_value(re.compile("^sk-"))
    return await field.input_value()


async def create(page: Page, name: str) -> str:
    """Creates a key and returns its secret. The view of the keys is open afterwards."""
    await go(page, "Keys")
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_role("button", name="Create", exact=True).click()
    secret = await secret_shown(page)
    await page.get_by_role("button", name="Done").click()
    await settled(page)
    return secret
