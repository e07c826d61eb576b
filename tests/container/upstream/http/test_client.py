"""The client against servers that misbehave, over real sockets."""

import asyncio
import gzip
import os
import time

import pytest

from container.upstream.http import BadBody, BrokenOff, CannotConnect, Client, ConnectTimeout, Response, Silent
from container.upstream.http.request import Place
from container.upstream.http.response import HIGH_WATER
from tests.fakes import refusing_port

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
LARGE = 32 * 1024 * 1024


async def ask(client: Client, url: str, body: bytes = b"{}", **options) -> bytes:
    return await (await client.post(url, body, {"authorization": "Bearer k"}, **options)).read()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 what is looked at has no event
            await asyncio.sleep(0.005)


async def test_a_request_and_its_answer(client, say):
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


async def test_an_empty_body_has_a_length(client, say):
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
async def test_answers_leave_a_connection_that_can_be_used_again(client, say, pieces):
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
async def test_answers_that_end_with_their_connection(client, say, pieces):
    server = await say(*pieces, close=True)
    for _ in range(2):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 2


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body(client, say, status):
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
async def test_what_is_no_answer_is_an_error_and_ends_the_connection(client, say, raw, error):
    server = await say(raw, close=True)
    with pytest.raises(error):
        await ask(client, server.url)
    await until(lambda: not client._open)
    assert server.connections == 1  # it is not sent again


async def test_a_reset_after_the_request_is_an_error_and_nothing_is_sent_twice(client, serve):
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
async def test_a_server_that_hangs_up_at_once_is_an_error(client, serve, body):
    async def script(reader, writer):
        writer.transport.abort()

    server = await serve(script)
    for _ in range(20):
        with pytest.raises((BrokenOff, CannotConnect)):
            await asyncio.wait_for(ask(client, server.url, body), 5)
    assert not client._open


async def test_nothing_is_sent_on_a_connection_that_has_ended_since_it_was_made(client, say):
    server = await say(HELLO)
    connection = await client._connect(Place(False, "127.0.0.1", server.port))
    connection.transport.abort()
    await asyncio.sleep(0.01)
    with pytest.raises(BrokenOff):
        await connection.ask(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"", None)
    assert not server.requests


# Connections that wait


async def test_a_connection_that_the_server_has_closed_is_passed_over(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(HELLO)

    server = await serve(script)
    for _ in range(20):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 20


async def test_even_when_the_event_loop_has_not_heard_of_it_yet(client, serve):
    writers = []

    async def script(reader, writer):
        writers.append(writer)
        while True:
            await server.request(reader)
            writer.write(HELLO)

    server = await serve(script)
    await ask(client, server.url)
    writers[0].transport.abort()
    await asyncio.sleep(0)  # the server's end is closed; ours is not yet told
    assert await ask(client, server.url) == b"hello"


async def test_what_nobody_asked_for_ends_a_waiting_connection(client, serve):
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


async def test_the_end_of_an_answer_too_many_is_not_the_beginning_of_the_next(client, say):
    server = await say(HELLO + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    for _ in range(3):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 3


async def test_waiting_connections_end_after_a_while(say):
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


async def test_closing_ends_everything(say, serve):
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


# Nothing is left behind


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts descriptors in Linux' way")
async def test_a_thousand_requests_one_after_another_and_256_at_once_leave_nothing(client, say):
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


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts descriptors in Linux' way")
async def test_requests_that_fail_or_are_cancelled_leave_nothing(client, serve):
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
    assert descriptors() <= before + 100  # the server's own, until its scripts end


# Leaving


@pytest.mark.parametrize("said", [b"", OK, CHUNKED, CHUNKED + b"3\r\nhel\r\n"])
async def test_a_cancelled_request_ends_its_connection(client, serve, said):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(said)
        asked.set()
        await server.request(reader)

    asked = asyncio.Event()
    server = await serve(script)
    task = asyncio.create_task(ask(client, server.url))

    async def reading() -> bytes:
        response: Response | None = None
        try:
            response = await client.post(server.url, b"{}", {})
            return await response.read()
        finally:
            if response is not None:
                response.close()

    task.cancel()
    task = asyncio.create_task(reading())
    await asked.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait_for(server.left.wait(), 5)
    assert not client._open


async def test_a_request_that_is_cancelled_while_it_connects_leaves_nothing(client, serve):
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


# Large bodies


async def test_a_large_body_arrives_whole(client, say):
    body = os.urandom(1024) * (LARGE // 1024)
    server = await say(HELLO)
    for _ in range(2):
        assert await ask(client, server.url, body) == b"hello"
    assert [sent == body for _, sent in server.requests] == [True, True]
    assert server.connections == 1


async def test_a_large_body_waits_for_a_server_that_is_slow(client, serve):
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


async def test_a_refusal_while_the_body_is_under_way_is_heard(client, serve):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge")
        await reader.readexactly(LARGE)

    server = await serve(script)
    response = await client.post(server.url, bytes(LARGE), {})
    assert (response.status, await response.read()) == (413, b"large")
    await asyncio.wait_for(server.left.wait(), 5)  # what it did not want is not sent into the next request
    assert not client._open


async def test_a_stream_that_begins_while_the_body_is_under_way_goes_on(client, serve):
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


async def test_a_server_that_leaves_while_the_body_is_under_way_is_an_error(client, serve):
    async def script(reader, writer):
        await reader.readexactly(100_000)
        writer.transport.abort()

    server = await serve(script)
    with pytest.raises(BrokenOff):
        await ask(client, server.url, bytes(LARGE))
    assert not client._open


async def test_a_request_that_is_cancelled_while_its_body_is_under_way_ends_its_connection(client, serve):
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


# Slow readers


async def test_a_slow_reader_slows_the_server(client, serve):
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


# Time


@pytest.mark.parametrize("said", [b"", OK, CHUNKED, CHUNKED + b"3\r\nhel\r\n"])
async def test_silence_ends_an_answer(client, serve, said):
    async def script(reader, writer):
        await server.request(reader)
        writer.write(said)
        await server.request(reader)

    server = await serve(script)
    with pytest.raises(Silent):
        await ask(client, server.url, idle=0.1)
    await asyncio.wait_for(server.left.wait(), 5)


async def test_an_answer_that_trickles_is_not_silent(client, serve):
    async def script(reader, writer):
        await server.request(reader)
        for byte in CHUNKED + b"5\r\nhello\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    server = await serve(script)
    began = time.monotonic()
    assert await ask(client, server.url, idle=0.3) == b"hello"
    assert time.monotonic() - began > 0.3


async def test_a_reader_that_takes_its_time_is_not_the_servers_silence(client, say):
    server = await say(OK + b"content-length: 1000000\r\n\r\n", bytes(1_000_000))
    response = await client.post(server.url, b"", {}, idle=0.1)
    await until(lambda: response._paused)
    await asyncio.sleep(0.3)
    assert len(await response.read()) == 1_000_000


async def test_nobody_there_cannot_be_connected_to(client):
    with refusing_port() as port, pytest.raises(CannotConnect) as caught:
        await ask(client, f"http://127.0.0.1:{port}/")
    assert not isinstance(caught.value, ConnectTimeout)


@pytest.mark.parametrize("url", ["http://nonesuch.invalid/", "http://[::1", f"http://{'a' * 70}.example/"])
async def test_what_is_nowhere_cannot_be_connected_to(client, url):
    with pytest.raises(CannotConnect):
        await ask(client, url)
