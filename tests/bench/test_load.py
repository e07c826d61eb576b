"""The load generator and the fake provider: complete responses are counted, others are errors with a reason."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench import load
from bench.connection import dechunk
from bench.load import Job, Result, measure, percentile
from bench.provider import Provider, plain_answer, stream_answer
from bench.workload import MARKER, PACED, PLAIN, STREAM, asked_for

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/chat/completions"


def answering(*pieces: bytes, close: bool = False) -> Serve:
    """A server that sends the pieces to each request, 10 ms apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if close:
                writer.close()
                return

    async def until_left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return until_left


async def ask(url: str, workload: str = "plain", requests: int = 3, connections: int = 1) -> Result:
    return await measure(Job(url, workload, connections, seconds=10, requests=requests))


@pytest.mark.parametrize("workload", ["plain", "stream"])
async def test_every_response_of_the_fake_provider_is_complete(workload):
    async with provider() as url:
        result = await ask(url, workload, requests=20, connections=4)
    assert (result.requests, result.errors, result.error) == (20, 0, "")
    assert result.p50 is not None
    assert result.p99 is not None
    assert result.p50 <= result.p99
    assert result.cpu_ms["load"] > 0


async def test_a_paced_stream_starts_at_once_and_is_spread_over_time():
    async with provider() as url:
        result = await ask(url, "paced", requests=1)
    assert result.p50 is not None
    assert result.first_p50 is not None
    gaps = PACED.chunks - 1
    assert result.p50 >= gaps * PACED.gap_ms
    assert result.first_p50 < result.p50 / 2


async def test_a_closed_connection_is_reopened():
    body = MARKER * PLAIN.markers
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with server(answering(head, body, close=True)) as url:
        result = await ask(url)
    assert (result.requests, result.errors) == (3, 0)


async def test_a_body_that_ends_with_its_connection_is_complete():
    async with server(answering(b"HTTP/1.1 200 OK\r\n\r\n", MARKER * PLAIN.markers, close=True)) as url:
        result = await ask(url)
    assert (result.requests, result.errors) == (3, 0)


@pytest.mark.parametrize("workload", ["plain", "stream"])
async def test_every_response_of_the_responses_api_is_complete(workload):
    async with provider() as url:
        result = await ask(url.replace("/chat/completions", "/responses"), workload, requests=5)
    assert (result.requests, result.errors, result.error) == (5, 0, "")


@pytest.mark.parametrize(
    ("pieces", "workload", "reason"),
    [
        ((b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy",), "plain", "status 503: busy"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nw0rd",), "plain", "1 words instead of 50"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nw0rd",), "plain", "broke off"),
        ((stream_answer(50, False)[0], *stream_answer(50, False)[1:9], b"0\r\n\r\n"), "stream", "does not end with"),
        (stream_answer(50, False)[:9], "stream", "broke off"),
        ((b"".join(stream_answer(49, False)),), "stream", "49 words instead of 50"),
    ],
)
async def test_an_incomplete_response_is_an_error(pieces, workload, reason):
    async with server(answering(*pieces, close=True)) as url:
        result = await ask(url, workload, requests=1)
    assert (result.requests, result.errors) == (0, 1)
    assert reason in result.error


async def test_a_refused_connection_is_an_error():
    async with provider() as url:
        pass
    result = await ask(url, requests=2)
    assert (result.requests, result.errors) == (0, 2)
    assert "cannot connect" in result.error


async def test_a_response_timeout_is_an_error(monkeypatch):
    monkeypatch.setattr(load, "GRACE_SECONDS", 0.2)
    async with server(answering(b"HTTP/1.1 200 OK\r\n")) as url:
        result = await measure(Job(url, "plain", 2, seconds=0.1))
    assert (result.requests, result.errors) == (0, 2)
    assert "time limit" in result.error


async def test_chunks_arrive_one_by_one():
    """The provider's writes are not merged on their way out."""
    async with provider() as url:
        host, port = url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = STREAM.body()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        reads = 0
        while not (await reader.read(65536)).endswith(b"0\r\n\r\n"):
            reads += 1
        writer.close()
    assert reads > STREAM.chunks / 5


def test_usage_is_sent_on_request():
    without, asked = (b"".join(stream_answer(3, with_usage)) for with_usage in (False, True))
    assert b'"usage"' not in without
    assert b'"choices":[],"usage":{' in asked
    assert json.loads(plain_answer().partition(b"\r\n\r\n")[2])["usage"]["total_tokens"] == 114


@pytest.mark.parametrize("workload", [PLAIN, STREAM, PACED])
def test_the_body_selects_the_response(workload):
    body = workload.body("some-model")
    assert asked_for(body) == (workload.chunks, workload.gap_ms)
    assert json.loads(body)["model"] == "some-model"
    assert json.loads(body).get("stream", False) == workload.streams


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (b"5\r\n0\r\n\r\n", None),  # looks like the end, but is in the middle
        (b"3\r\nab", None),
        (b"", None),
    ],
)
def test_dechunk(data, body):
    assert dechunk(data) == body


def test_percentile():
    assert percentile([], 50) is None
    assert percentile([0.003, 0.001, 0.002], 50) == 2.0
    assert percentile([i / 1000 for i in range(1, 101)], 99) == 99.0
