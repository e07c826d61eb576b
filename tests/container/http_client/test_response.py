"""Responses are parsed the same way, however the network splits them."""

import asyncio
import gzip
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from container.http_client.client import HIGH_WATER, MAX_HEAD_BYTES, MAX_HEADERS, MAX_INTERIM, Response
from container.http_client.request import BadBody, BrokenOff, HttpError
from tests.container.http_client.support import OK


class Connection:
    """The connection as a response sees it. `fate`: "kept", "dropped", or "" while in use."""

    def __init__(self) -> None:
        self.fate = ""
        self.reading = True
        self.transport: Any = self

    def done(self, reusable: bool) -> None:
        self.fate = "kept" if reusable else "dropped"

    def abort(self) -> None:
        self.fate = "dropped"

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def new(idle: float | None = None) -> tuple[Response, Connection]:
    connection = Connection()
    return Response(connection, asyncio.get_running_loop(), idle), connection


async def seen(pieces: list[bytes], end: bool) -> tuple:
    """The status, headers, body and error that a reader gets, and the fate of the connection."""
    response, connection = new()
    for piece in pieces:
        if not connection.fate:
            response.feed(piece)
    if end and not connection.fate:
        response.ended(None)
    body, error = b"", None
    try:
        await asyncio.wait_for(response.head(), 5)
        while data := await asyncio.wait_for(response.readany(), 5):
            body += data
    except HttpError as caught:
        error = type(caught)
    return response.status, response.headers.get("x"), body, error, connection.fate


GOOD = {
    "length": (OK + b"X: 1\r\nContent-Length: 5\r\n\r\nhello", "kept"),
    "nothing": (OK + b"X: 1\r\ncontent-length: 0\r\n\r\n", "kept"),
    "chunks": (OK + b"x: 1\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "kept"),
    "trailers": (OK + b"x: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: 2\r\ny: 3\r\n\r\n", "kept"),
    "until close": (OK + b"x: 1\r\n\r\nhello", "dropped"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nx: 1\r\nContent-Length: 5\r\n\r\nhello", "dropped"),
    "HTTP/1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nx: 1\r\nContent-Length: 5\r\n\r\nhello",
        "kept",
    ),
    "connection: close": (OK + b"Connection: close\r\nx: 1\r\nContent-Length: 5\r\n\r\nhello", "dropped"),
    "other coding": (OK + b"x: 1\r\nTransfer-Encoding: gzip\r\n\r\nhello", "dropped"),
    "100 before": (b"HTTP/1.1 100 Continue\r\nx: 0\r\n\r\n" + OK + b"x: 1\r\nContent-Length: 5\r\n\r\nhello", "kept"),
    "103 before": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + OK + b"x: 1\r\nContent-Length: 5\r\n\r\nhello",
        "kept",
    ),
    "no reason": (b"HTTP/1.1 200\r\nx: 1\r\nContent-Length: 5\r\n\r\nhello", "kept"),
    "last of its name": (OK + b"x: 0\r\nX: 1\r\nContent-Length: 5\r\n\r\nhello", "kept"),
    "line feeds": (b"HTTP/1.1 200 OK\nx: 1\nContent-Length: 5\n\nhello", "kept"),
    "gzip": (OK + b"x: 1\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello", mtime=0), "dropped"),
    "more than announced": (OK + b"x: 1\r\nContent-Length: 5\r\n\r\nhello and more", "dropped"),
    "another answer": (OK + b"x: 1\r\nContent-Length: 5\r\n\r\nhello" + OK + b"content-length: 1\r\n\r\n", "dropped"),
}


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(n % (len(data) + 1) for n in at)})
    return [data[a:b] for a, b in pairwise(marks)]


@pytest.mark.parametrize("name", GOOD)
@given(at=st.lists(st.integers(0, 400), max_size=12))
def test_response_does_not_depend_on_the_split(name, at):
    raw, fate = GOOD[name]
    status, x, body, error, became = uvloop.run(seen(cut(raw, at), end=True))
    assert (status, x, error) == (200, "1", None)
    assert body == (b"" if name == "nothing" else b"hello")
    if name not in ("more than announced", "another answer"):  # Data after the end is noticed by the connection.
        assert became == fate


@pytest.mark.parametrize("name", ["more than announced", "another answer"])
async def test_data_directly_after_the_end_drops_the_connection(name):
    assert (await seen([GOOD[name][0]], end=False))[4] == "dropped"


BAD = {
    "no HTTP": (b"220 smtp.example ESMTP\r\n\r\n", BrokenOff),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", BrokenOff),
    "another version": (b"HTTP/4.2 200 OK\r\n\r\n", BrokenOff),
    "no status": (b"HTTP/1.1 abc OK\r\n\r\n", BrokenOff),
    "nothing": (b"", BrokenOff),
    "half a head": (OK + b"content-le", BrokenOff),
    "only a 100": (b"HTTP/1.1 100 Continue\r\n\r\n", BrokenOff),
    "101": (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", BrokenOff),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", BrokenOff),
    "a length that is none": (OK + b"Content-Length: 5x\r\n\r\nhello", BrokenOff),
    "a negative length": (OK + b"Content-Length: -5\r\n\r\nhello", BrokenOff),
    "an endless length": (OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello", BrokenOff),
    "length and chunks": (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None),
    "less than announced": (OK + b"Content-Length: 9\r\n\r\nhello", BadBody),
    "a chunk that breaks off": (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", BadBody),
    "no last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", BadBody),
    "a chunk without a size": (OK + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n", BadBody),
    "a chunk that is longer": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", BadBody),
    "not compressed": (OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", BadBody),
    "not deflated": (OK + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello", BadBody),
}


@pytest.mark.parametrize("name", BAD)
@given(at=st.lists(st.integers(0, 400), max_size=8))
def test_invalid_response_is_an_error_for_every_split(name, at):
    raw, expected = BAD[name]
    _, _, _, error, fate = uvloop.run(seen(cut(raw, at), end=True))
    if expected is None:
        assert error is not None
    else:
        assert error is expected
    assert fate == "dropped" or b"hello" in raw


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_arbitrary_bytes_are_a_response_or_an_error(pieces, started):
    if started:
        pieces = [OK + b"Transfer-Encoding: chunked\r\n\r\n", *pieces]
    _, _, _, error, _ = uvloop.run(seen([p for p in pieces if p], end=True))
    assert error in (None, BadBody, BrokenOff)


# Limits


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        OK + b"x: 1\r\n" * (MAX_HEADERS + 1) + b"content-length: 0\r\n\r\n",
        OK + b"a" * (2 * MAX_HEAD_BYTES),
        b"HTTP/1.1 200 " + b"a" * (2 * MAX_HEAD_BYTES),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
    ],
    ids=["a long header", "many headers", "a long name", "a long reason", "many interim answers"],
)
@pytest.mark.parametrize("step", [100, 1 << 20])
async def test_head_has_a_limit(raw, step):
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    _, _, _, error, fate = await seen(pieces, end=False)
    assert (error, fate) == (BrokenOff, "dropped")


@pytest.mark.parametrize("step", [100, 1 << 20])
@pytest.mark.parametrize("what", [b"x: " + b"a" * 2 * MAX_HEAD_BYTES, b"x: 1\r\n" * (MAX_HEADERS + 1)])
async def test_trailers_have_a_limit(what, step):
    raw = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + what + b"\r\n\r\n"
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    _, _, body, error, fate = await seen(pieces, end=False)
    assert (body, error, fate) == (b"hello", BadBody, "dropped")


async def test_chunk_extension_has_a_limit():
    pieces = [OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=", *[b"a" * 1000] * 100]
    assert (await seen(pieces, end=False))[3] is BadBody


async def test_whole_body_has_a_limit(monkeypatch):
    monkeypatch.setattr("container.http_client.client.MAX_BODY_BYTES", 10_000_000)
    response, connection = new()
    response.feed(OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(100_000_000)))
    with pytest.raises(BadBody):
        await response.read()
    assert connection.fate == "dropped"


async def test_decompression_bomb_yields_to_other_tasks():
    response, _ = new()
    response.feed(OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(20_000_000)))
    response.ended(None)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert len(await response.read()) == 20_000_000
    task.cancel()
    assert turns > 20


# Slow or cancelled readers


async def test_only_requested_data_is_read():
    response, connection = new()
    response.feed(OK + b"\r\n")
    response.feed(bytes(HIGH_WATER))
    assert connection.reading
    response.feed(b"1")
    assert not connection.reading
    assert len(await response.readany()) == HIGH_WATER + 1
    assert connection.reading


async def test_connection_returned_to_the_pool_is_still_read():
    response, connection = new()
    response.feed(OK + b"content-length: %d\r\n\r\n" % (HIGH_WATER + 2))
    response.feed(bytes(HIGH_WATER + 1))
    assert not connection.reading
    response.feed(b"1")  # data that was in flight
    assert (connection.reading, connection.fate) == (True, "kept")
    assert len(await response.read()) == HIGH_WATER + 2


async def test_data_received_before_the_connection_broke_is_read_first():
    response, _ = new()
    response.feed(OK + b"content-length: 9\r\n\r\nhello")
    response.ended(ConnectionResetError())
    assert await response.readany() == b"hello"
    with pytest.raises(BadBody):
        await response.readany()


async def test_body_without_a_length_is_incomplete_after_a_reset():
    response, _ = new()
    response.feed(OK + b"\r\nhello")
    response.ended(ConnectionResetError())
    assert await response.readany() == b"hello"
    with pytest.raises(BadBody):
        await response.readany()


async def test_close_drops_the_connection_unless_the_response_is_complete():
    response, connection = new()
    response.feed(OK + b"content-length: 9\r\n\r\nhello")
    response.close()
    response.close()
    assert connection.fate == "dropped"
    with pytest.raises(BadBody):
        await response.readany()
    response, connection = new()
    response.feed(OK + b"content-length: 5\r\n\r\nhello")
    response.close()
    assert connection.fate == "kept"


async def test_cancelled_read_can_be_repeated():
    response, connection = new()
    response.feed(OK + b"content-length: 5\r\n\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await response.readany()
    response.feed(b"hello")
    assert (await response.readany(), connection.fate) == (b"hello", "kept")


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        (b"Content-Type: Text/Event-Stream; charset=utf-8\r\n", "text/event-stream"),
        (b"content-type: application/json\r\n", "application/json"),
        (b"", "application/octet-stream"),
    ],
)
async def test_media_type(content_type, said):
    response, _ = new()
    response.feed(OK + content_type + b"content-length: 0\r\n\r\n")
    assert response.content_type == said
