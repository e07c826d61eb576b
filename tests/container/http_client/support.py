"""Responses and helpers for the HTTP client's tests."""

import asyncio
from collections.abc import Callable

from container.http_client.client import Client

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
LARGE = 32 * 1024 * 1024


async def ask(client: Client, url: str, body: bytes = b"{}", *, idle: float | None = None) -> bytes:
    return await (await client.post(url, body, {"authorization": "Bearer k"}, idle=idle)).read()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 what is looked at has no event
            await asyncio.sleep(0.005)
