"""Bodies larger than the socket buffers: large requests, and responses that are read slowly."""

import asyncio
import os

import pytest

from container.http_client.client import HIGH_WATER
from container.http_client.request import BrokenOff
from tests.container.http_client.support import CHUNKED, HELLO, LARGE, OK, ask, until


async def test_a_large_body_arrives_whole(client, say):
    body = os.urandom(1024) * (LARGE // 1024)
    server = await say(HELLO)
    for _ in range(2):
        assert await ask(client, server.url, body) == b"hello"
    assert [sent == body for _, sent in server.requests] == [True, True]
    assert server.connections == 1


async def test_large_body_waits_for_a_slow_server(client, serve):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        left = LARGE
        while left:
            left -= len(await reader.read(left))
        writer.write(HELLO)

    go_on = asyncio.Event()
    server = await serve(script)
    task = asyncio.create_task(ask(client, server.url, bytes(LARGE)))
    await until(lambda: any(c._full for c in client._open))
    await asyncio.sleep(0.05)
    (connection,) = client._open
    assert connection.transport.get_write_buffer_size() < 1024 * 1024
    go_on.set()
    assert await task == b"hello"


async def test_response_during_the_upload_is_read(client, serve):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge")
        await reader.readexactly(LARGE)

    server = await serve(script)
    response = await client.post(server.url, bytes(LARGE), {})
    assert (response.status, await response.read()) == (413, b"large")
    await asyncio.wait_for(server.left.wait(), 5)  # The rest of the rejected body is not sent into the next request.
    assert not client._open


async def test_stream_that_starts_during_the_upload_continues(client, serve):
    async def script(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        assert b"Content-Length: %d" % LARGE in head
        left = LARGE
        while left:
            left -= len(await reader.read(left))
        writer.write(b"5\r\nhello\r\n0\r\n\r\n")
        await server.request(reader)

    server = await serve(script)
    assert await ask(client, server.url, bytes(LARGE)) == b"hello"
    assert len(client._open) == 1


async def test_disconnect_during_the_upload_is_an_error(client, serve):
    async def script(reader, writer):
        await reader.readexactly(100_000)
        writer.transport.abort()

    server = await serve(script)
    with pytest.raises(BrokenOff):
        await ask(client, server.url, bytes(LARGE))
    assert not client._open


async def test_request_cancelled_during_the_upload_closes_its_connection(client, serve):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        while await reader.read(1 << 20):
            pass
        server.left.set()

    go_on = asyncio.Event()
    server = await serve(script)
    task = asyncio.create_task(ask(client, server.url, bytes(LARGE)))
    await until(lambda: any(c._full for c in client._open))
    task.cancel()
    go_on.set()
    await asyncio.wait_for(server.left.wait(), 5)
    assert not client._open


async def test_slow_reader_slows_the_server(client, serve):
    sent = 0

    async def script(reader, writer):
        nonlocal sent
        await server.request(reader)
        writer.write(OK + b"\r\n")
        for _ in range(LARGE // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    server = await serve(script)
    response = await client.post(server.url, b"", {})
    await until(lambda: response._paused)
    await asyncio.sleep(0.1)
    assert sent < LARGE
    assert response._size < HIGH_WATER + 300 * 1024
    assert len(await response.read()) == LARGE
