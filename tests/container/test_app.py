"""Errors become HTTP responses."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from container.observability import log
from container.proxy.gateway import App
from container.server.context import RequestContext
from tests.container.raw import Answer, Connection, ask
from tests.container.serving import serving
from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import ApiError

SECRET = "sk-0123456789 and a prompt"
Work = Callable[[RequestContext, str], Awaitable[None]]


@pytest.fixture
def logged(monkeypatch) -> Callable[[], str]:
    """The log lines written from here on."""
    log.flush()
    reading, writing = os.pipe()
    monkeypatch.setattr(log._log, "descriptor", writing)

    def lines() -> str:
        log.flush()
        monkeypatch.undo()
        os.close(writing)
        with os.fdopen(reading) as pipe:
            return pipe.read()

    return lines


@pytest.fixture
async def serve(logged) -> AsyncIterator[Callable[[Work], Awaitable[int]]]:
    """`await serve(work)`: the port of an app whose chat completions call `work(context, name)`."""

    async def started(work: Work) -> int:
        nobody: Any = SimpleNamespace(description=None, list=None, one=None)
        everybody: Any = SimpleNamespace(check=lambda context, endpoint: None)
        completions: Any = work
        app = App(everybody, completions, nobody, nobody, nobody, nobody, nobody, ())
        return await stack.enter_async_context(serving(app))

    async with AsyncExitStack() as stack:
        yield started


async def asked(port: int) -> Answer:
    headers = {"x-request-id": "request-0001"}
    return await asyncio.to_thread(ask, port, "POST", "/v1/chat/completions", headers, b"{}")


async def test_api_error_becomes_a_response(serve):
    async def work(context: RequestContext, endpoint: Endpoint) -> None:
        raise ApiError(418, "teapot", f"{endpoint.name}: short and stout.", headers=[("x-a", "b")])

    answer = await asked(await serve(work))
    assert (answer.status, answer.headers["x-a"]) == (418, "b")
    assert answer.json["error"]["message"] == "chat_completions: short and stout."


async def test_internal_error_is_a_500_and_logs_only_its_location(serve, logged):
    async def work(context: RequestContext, name: str) -> None:
        raise RuntimeError(SECRET)

    answer = await asked(await serve(work))
    assert answer.status == 500
    assert answer.json["error"]["code"] == "internal_error"
    assert "request-0001" in answer.json["error"]["message"]
    assert SECRET not in answer.body.decode()
    lines = logged()
    assert SECRET not in lines
    [line] = [line for line in map(json.loads, lines.splitlines()) if line["event"] != "request_finished"]
    assert (line["level"], line["event"], line["request_id"], line["error"]) == (
        "error",
        "internal_error",
        "request-0001",
        "RuntimeError",
    )
    assert any("test_app.py" in where for where in line["where"])


@pytest.mark.parametrize("error", [RuntimeError(SECRET), ApiError(500, "t", SECRET)])
async def test_response_that_fails_midway_does_not_look_complete(serve, logged, error):
    async def work(context: RequestContext, name: str) -> None:
        await context.start(200, [], "text/event-stream")
        await context.write(b"data: 1\n\n")
        raise error

    def follow(port: int) -> tuple[bytes, bytes | None]:
        with Connection(port) as connection:
            connection.request("POST", "/v1/chat/completions", {}, b"{}")
            connection.head()
            first = connection.chunk()
            try:
                return first, connection.chunk()
            except ConnectionError:
                return first, None

    assert await asyncio.to_thread(follow, await serve(work)) == (b"data: 1\n\n", None)
    assert SECRET not in logged()
