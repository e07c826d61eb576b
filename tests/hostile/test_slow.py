"""Slow clients: honest ones get their response, and those that only hold a connection do not."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from container.server import context, http
from tests.container.raw import Connection
from tests.container.test_exchange import echo, serve
from tests.hostile.conftest import AUTHORIZED, CHAT, PLAIN, Door

__all__ = ["serve"]

Serve = Callable[[object], Awaitable[int]]


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch, serve) -> int:
    """A server with short limits: 0.5 s of silence, 1 s of grace, 1000 bytes a second, 1 s for the head."""
    monkeypatch.setattr(context, "PATIENT", context.Pace(silence=0.5, grace=1.0, rate=1000))
    monkeypatch.setattr(http, "IDLE_CONNECTION_SECONDS", 1.0)
    return await serve(echo)


def drip(connection: Connection, data: bytes, size: int, pause: float, most: float) -> None:
    """Sends `size` bytes at a time until `most` seconds have passed or the other side stops reading."""
    end = time.monotonic() + most
    for start in range(0, len(data), size):
        if time.monotonic() > end:
            return
        connection.send(data[start : start + size])
        time.sleep(pause)


def posting(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()


async def test_endless_head_is_cut_off(hasty: int):
    def loris() -> bool:
        with Connection(hasty) as connection:
            try:
                drip(connection, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-a: b\r\n" * 1000, 1, 0.1, 8)
            except ConnectionError:
                return True
            return connection.closed(1)

    assert await asyncio.to_thread(loris)


async def test_silent_body_is_408(hasty: int):
    def silent() -> int:
        with Connection(hasty) as connection:
            connection.send(posting(1000) + b"half")
            return connection.answer().status

    assert await asyncio.to_thread(silent) == 408


async def test_trickling_body_is_408(hasty: int):
    def loris() -> tuple[int, bool]:
        with Connection(hasty) as connection:
            connection.send(posting(100_000))
            drip(connection, b"x" * 100_000, 1, 0.1, 2.5)
            return connection.answer().status, connection.closed(15)

    assert await asyncio.to_thread(loris) == (408, True)


async def test_slow_but_steady_body_is_read_whole(hasty: int):
    """Four seconds at 2000 bytes a second: over every limit except the one that counts."""

    def honest() -> int:
        with Connection(hasty) as connection:
            connection.send(posting(8000))
            drip(connection, b"x" * 8000, 400, 0.2, 60)
            return len(connection.answer().body)

    assert await asyncio.to_thread(honest) == 8000


async def test_endless_chunks_are_cut_off(hasty: int):
    def endless() -> int:
        with Connection(hasty) as connection:
            connection.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            drip(connection, b"1\r\nx\r\n" * 1000, 6, 0.05, 2)
            return connection.answer().status

    assert await asyncio.to_thread(endless) == 408


def test_a_hundred_held_connections_block_no_one(door: Door):
    held = [door.connect() for _ in range(100)]
    try:
        for number, connection in enumerate(held):
            connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
            if number % 2:
                connection.send(f"Authorization: {AUTHORIZED['authorization']}\r\nContent-Length: 100\r\n\r\n".encode())
        for _ in range(5):
            assert door.ask("POST", CHAT, PLAIN).status == 200
    finally:
        for connection in held:
            connection.close()
    door.still_serves()
