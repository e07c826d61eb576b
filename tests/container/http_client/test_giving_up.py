"""Requests that are cancelled or time out because the server is silent."""

import asyncio
import time

import pytest

from container.http_client.client import Response
from container.http_client.request import Silent
from tests.container.http_client.support import CHUNKED, OK, ask, until


@pytest.mark.parametrize("said", [b"", OK, CHUNKED, CHUNKED + b"3\r\nhel\r\n"])
async def test_cancelled_request_closes_its_connection(client, serve, said):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(said)
        asked.set()
        await server.request(reader)

    asked = asyncio.Event()
    server = await serve(script)

    async def reading() -> bytes:
        response: Response | None = None
        try:
            response = await client.post(server.url, b"{}", {})
            return await response.read()
        finally:
            if response is not None:
                response.close()

    task = asyncio.create_task(reading())
    await asked.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait_for(server.left.wait(), 5)
    assert not client._open


async def test_request_cancelled_while_connecting_leaves_nothing(client, serve):
    async def script(reader, writer):
        await server.request(reader)

    server = await serve(script)
    for turns in range(12):
        task = asyncio.create_task(ask(client, server.url))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until(lambda: not client._open)


# Timeouts


@pytest.mark.parametrize("said", [b"", OK, CHUNKED, CHUNKED + b"3\r\nhel\r\n"])
async def test_silence_ends_a_response(client, serve, said):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(said)
        await server.request(reader)

    server = await serve(script)
    with pytest.raises(Silent):
        await ask(client, server.url, idle=0.1)
    await asyncio.wait_for(server.left.wait(), 5)


async def test_trickling_response_is_not_silent(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        for byte in CHUNKED + b"5\r\nhello\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    server = await serve(script)
    began = time.monotonic()
    assert await ask(client, server.url, idle=1) == b"hello"
    assert time.monotonic() - began > 1


async def test_slow_reader_does_not_count_as_server_silence(client, say):
    server = await say(OK + b"content-length: 1000000\r\n\r\n", bytes(1_000_000))
    response = await client.post(server.url, b"", {}, idle=0.1)
    await until(lambda: response._paused)
    await asyncio.sleep(0.3)
    assert len(await response.read()) == 1_000_000
