"""Invalid HTTP, and shutdown of the server."""

import asyncio

import pytest
from aiohttp import web

from container.server.context import RequestContext
from container.server.http import MAX_HEADER_BYTES
from tests.container.raw import Answer, Connection
from tests.container.serving import serving, started


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=await request.read())


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n",
        b"GET /" + b"x" * (MAX_HEADER_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "no request",
        "version",
        "length",
        "negative length",
        "two lengths",
        "length and chunked",
        "header name",
        "big header",
        "long path",
    ],
)
async def test_invalid_http_gets_an_error_and_the_connection_is_closed(raw):
    def send() -> tuple[Answer, bool]:
        with Connection(port) as connection:
            connection.send(raw)
            return connection.answer("GET"), connection.closed()

    async with serving(echo) as port:
        answer, closed = await asyncio.to_thread(send)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert closed


async def test_running_response_may_finish():
    go_on = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        context = RequestContext(request)
        await context.start(200, [], "text/plain")
        await context.write(b"a")
        await go_on.wait()
        await context.finish(b"b")
        assert context.response is not None
        return context.response

    server, port = await started(handler)
    with Connection(port) as connection:
        connection.request("GET", "/")
        assert await asyncio.to_thread(connection.head)
        stopping = asyncio.ensure_future(server.stop(10.0, asyncio.Event()))
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(Connection, port)
        assert not stopping.done()
        go_on.set()
        assert b"".join([await asyncio.to_thread(connection.chunk) for _ in range(3)]) == b"ab"
        await asyncio.wait_for(stopping, 5)


@pytest.mark.parametrize("urgent", [False, True], ids=["after the grace", "at once"])
async def test_response_that_does_not_finish_is_cut_off(urgent):
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        context = RequestContext(request)
        await context.start(200, [], "text/plain")
        await context.write(b"a")
        await asyncio.sleep(60)
        raise AssertionError("not cancelled")

    server, port = await started(handler)
    at_once = asyncio.Event()
    if urgent:
        at_once.set()
    with Connection(port) as connection:
        connection.request("GET", "/")
        assert await asyncio.to_thread(connection.head)
        await asyncio.wait_for(server.stop(60.0 if urgent else 0.1, at_once), 10)
        assert await asyncio.to_thread(connection.closed)
