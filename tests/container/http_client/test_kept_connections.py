"""Keep-alive connections are reused, skipped when stale, closed in time, and never leaked."""

import asyncio
import os

import pytest

from container.http_client.client import Client
from container.http_client.request import BadBody, BrokenOff
from tests.container.http_client.support import CHUNKED, HELLO, ask, until


async def test_connection_closed_by_the_server_is_skipped(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(HELLO)

    server = await serve(script)
    for _ in range(20):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 20


async def test_connection_closed_by_the_server_is_skipped_before_the_event_loop_notices(client, serve):
    writers = []

    async def script(reader, writer):
        writers.append(writer)
        while True:
            await server.request(reader)
            writer.write(HELLO)

    server = await serve(script)
    await ask(client, server.url)
    writers[0].transport.abort()
    await asyncio.sleep(0)  # The server has closed its end. Our event loop does not know it yet.
    assert await ask(client, server.url) == b"hello"


async def test_unsolicited_data_closes_an_idle_connection(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(HELLO)
        await asyncio.sleep(0.02)
        writer.write(HELLO)
        await server.request(reader)

    server = await serve(script)
    assert await ask(client, server.url) == b"hello"
    await asyncio.wait_for(server.left.wait(), 5)
    assert not client._open
    assert await ask(client, server.url) == b"hello"


async def test_rest_of_an_extra_response_is_not_read_as_the_next_response(client, say):
    server = await say(HELLO + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    for _ in range(3):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 3


async def test_idle_connections_are_closed_after_a_while(say):
    client = Client(connect_timeout=5)
    client._pool._idle_seconds = 0.1
    server = await say(HELLO)
    try:
        await asyncio.gather(*[ask(client, server.url) for _ in range(5)])
        await asyncio.wait_for(server.left.wait(), 5)
        await until(lambda: not client._open)
        assert client._pool._timer is None
        assert not client._pool._idle
        assert await ask(client, server.url) == b"hello"
    finally:
        await client.close()


async def test_close_closes_every_connection(say, serve):
    client = Client(connect_timeout=5)
    idle = await say(HELLO)
    await ask(client, idle.url)

    async def script(reader, writer):
        await busy.request(reader)
        writer.write(CHUNKED)
        await busy.request(reader)

    busy = await serve(script)
    response = await client.post(busy.url, b"", {})
    await client.close()
    await asyncio.wait_for(asyncio.gather(idle.left.wait(), busy.left.wait()), 5)
    with pytest.raises(BadBody):
        await response.read()


# Leaks


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def test_sequential_and_concurrent_requests_leak_nothing(client, say):
    server = await say(HELLO)
    await ask(client, server.url)
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(1000):
        assert await ask(client, server.url) == b"hello"
    assert (server.connections, descriptors()) == (1, before)
    assert len(asyncio.all_tasks()) == tasks
    assert await asyncio.gather(*[ask(client, server.url) for _ in range(256)]) == [b"hello"] * 256
    assert server.connections == 256
    await client.close()
    await until(lambda: descriptors() <= before and len(asyncio.all_tasks()) <= tasks)


async def test_failed_and_cancelled_requests_leak_nothing(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        if len(server.requests) % 2:
            await asyncio.sleep(60)

    server = await serve(script)
    before = descriptors()
    for _ in range(10):
        found = await asyncio.gather(
            *[asyncio.wait_for(ask(client, server.url), 0.05) for _ in range(20)], return_exceptions=True
        )
        assert {type(e) for e in found} <= {TimeoutError, BrokenOff}
    assert not client._open
    assert descriptors() <= before + 100  # the server's own tasks, until its scripts end
