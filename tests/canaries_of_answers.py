"""Searches every response to the run's clients for canaries: all headers, and the bodies of /health and /metrics."""

from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import httpx

from tests import canaries

# Bodies that are shown to unauthenticated clients and to monitoring.
_OPEN = ("/", "/health", "/health/liveliness", "/health/readiness", "/metrics")
found: list[str] = []


def look(where: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
    """Records a leak. An exception raised here could be mistaken for a connection error."""
    lines = "\n".join(f"{name}: {value}" for name, value in headers).encode()
    found.extend(f"{one} in the answer of {where}" for one in canaries.leaks(lines + b"\n" + body, canaries.planted))


def watch(patch: Callable[[Any, str, Any], None]) -> None:
    """Patches httpx (and so OpenAI's and Anthropic's SDKs) and aiohttp to check every response."""
    send, send_async, start = httpx.Client.send, httpx.AsyncClient.send, aiohttp.ClientResponse.start

    def seen(response: httpx.Response) -> httpx.Response:
        path = response.url.path
        look(str(response.url), response.headers.multi_items(), response.content if _is_whole(response, path) else b"")
        return response

    def sent(self: httpx.Client, *arguments: Any, **options: Any) -> httpx.Response:
        return seen(send(self, *arguments, **options))

    async def sent_async(self: httpx.AsyncClient, *arguments: Any, **options: Any) -> httpx.Response:
        return seen(await send_async(self, *arguments, **options))

    async def started(self: aiohttp.ClientResponse, *arguments: Any, **options: Any) -> aiohttp.ClientResponse:
        response = await start(self, *arguments, **options)
        look(str(response.url), response.headers.items())
        return response

    patch(httpx.Client, "send", sent)
    patch(httpx.AsyncClient, "send", sent_async)
    patch(aiohttp.ClientResponse, "start", started)


def _is_whole(response: httpx.Response, path: str) -> bool:
    return path in _OPEN and response.is_stream_consumed
