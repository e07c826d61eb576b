"""The client against many kinds of server responses, over real sockets."""

import asyncio
import gzip

import pytest

from container.http_client.request import BadBody, BrokenOff, CannotConnect, ConnectTimeout, Place
from tests.container.http_client.support import CHUNKED, HELLO, LARGE, OK, ask, until
from tests.fakes.server import refusing_port


async def test_request_and_response(client, say):
    server = await say(HELLO)
    response = await client.post(server.url + "/chat?x=1", b'{"a": 1}', {"content-type": "application/json"})
    assert (response.status, response.headers, await response.read()) == (200, {"content-length": "5"}, b"hello")
    assert server.requests == [
        (
            b"POST /v1/chat?x=1 HTTP/1.1\r\n"
            b"Host: 127.0.0.1:%d\r\nAccept: */*\r\ncontent-type: application/json\r\nContent-Length: 8\r\n\r\n"
            % server.port,
            b'{"a": 1}',
        )
    ]


async def test_empty_body_has_a_content_length(client, say):
    server = await say(HELLO)
    assert await ask(client, server.url, b"") == b"hello"
    assert b"Content-Length: 0\r\n" in server.requests[0][0]


@pytest.mark.parametrize(
    "pieces",
    [
        [HELLO[:20], HELLO[20:-2], HELLO[-2:]],
        [bytes([byte]) for byte in HELLO],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n", HELLO],
        [CHUNKED, b"3\r\nhel\r\n", b"2\r\nlo\r\n", b"0\r\nx-trailer: 1\r\n\r\n"],
        [OK + b"content-encoding: gzip\r\ncontent-length: 25\r\n\r\n", gzip.compress(b"hello", mtime=0)],
    ],
    ids=["pieces", "byte by byte", "interim answers", "chunks", "compressed"],
)
async def test_connection_is_reusable_after_a_framed_response(client, say, pieces):
    server = await say(*pieces)
    for _ in range(3):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"\r\n", b"hel", b"lo"],
        [OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"],
        [b"HTTP/1.0 200 OK\r\n\r\nhello"],
    ],
    ids=["without a length", "connection: close", "HTTP/1.0"],
)
async def test_connection_is_closed_after_an_unframed_response(client, say, pieces):
    server = await say(*pieces, close=True)
    for _ in range(2):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 2


@pytest.mark.parametrize("status", [204, 304])
async def test_responses_without_a_body(client, say, status):
    server = await say(b"HTTP/1.1 %d x\r\netag: 1\r\n\r\n" % status)
    for _ in range(2):
        assert await ask(client, server.url) == b""
    assert server.connections == 1


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", BrokenOff),
        (OK, BrokenOff),
        (b"garbage\r\n\r\n", BrokenOff),
        (OK + b"x: " + b"a" * 70_000 + b"\r\n\r\n", BrokenOff),
        (OK + b"content-length: 9\r\n\r\nhello", BadBody),
        (CHUNKED + b"5\r\nhel", BadBody),
        (CHUNKED + b"zz\r\n", BadBody),
        (OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello", BadBody),
    ],
)
async def test_invalid_response_is_an_error_and_closes_the_connection(client, say, raw, error):
    server = await say(raw, close=True)
    with pytest.raises(error):
        await ask(client, server.url)
    await until(lambda: not client._open)
    assert server.connections == 1  # it is not retried


async def test_reset_after_the_request_is_an_error_and_is_not_retried(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        if len(server.requests) > 1:
            writer.transport.abort()
            return
        writer.write(HELLO)
        await script(reader, writer)

    server = await serve(script)
    await ask(client, server.url)
    with pytest.raises(BrokenOff):
        await ask(client, server.url)
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("body", [b"{}", bytes(LARGE)], ids=["small", "large"])
async def test_immediate_close_is_an_error(client, serve, body):
    async def script(reader, writer):
        writer.transport.abort()

    server = await serve(script)
    for _ in range(20):
        with pytest.raises((BrokenOff, CannotConnect)):
            await asyncio.wait_for(ask(client, server.url, body), 5)
    assert not client._open


async def test_nothing_is_sent_on_a_connection_that_was_closed_meanwhile(client, say):
    server = await say(HELLO)
    connection = await client._connect(Place(False, "127.0.0.1", server.port))
    connection.transport.abort()
    await asyncio.sleep(0.01)
    with pytest.raises(BrokenOff):
        await connection.ask(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"", None)
    assert not server.requests


async def test_refused_connection_is_a_connect_error(client):
    with refusing_port() as port, pytest.raises(CannotConnect) as caught:
        await ask(client, f"http://127.0.0.1:{port}/")
    assert not isinstance(caught.value, ConnectTimeout)


@pytest.mark.parametrize("url", ["http://nonesuch.invalid/", "http://[::1", f"http://{'a' * 70}.example/"])
async def test_unreachable_address_is_a_connect_error(client, url):
    with pytest.raises(CannotConnect):
        await ask(client, url)
