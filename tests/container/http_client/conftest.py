"""Servers that send exactly what a test specifies, and a client for them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from container.http_client.client import Client

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """`connections`: the number of accepted connections. `requests`: the head and body of each request. `names`: the
    TLS server names sent by clients. `left`: set when a client disconnects."""

    url: str = ""
    port: int = 0
    connections: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Reads one request and returns its body. Raises IncompleteReadError when the client has disconnected."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        self.requests.append((head, body))
        return body


class Serve(Protocol):
    """`await serve(script)`: a server that runs the script on each connection and then closes it."""

    async def __call__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> Server: ...


class Say(Protocol):
    """`await say(b"HTTP/1.1 …", …)`: a server that answers every request with these pieces. `close`: closes the
    connection afterwards."""

    async def __call__(self, *pieces: bytes, close: bool = False) -> Server: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    running: list[asyncio.Server] = []
    tasks: set[asyncio.Task] = set()

    async def one(script: Script, *, tls: ssl.SSLContext | None = None) -> Server:
        server = Server()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            server.connections += 1
            try:
                await script(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                server.left.set()
            finally:
                tasks.discard(task)
                writer.transport.abort() if server.left.is_set() else writer.close()

        listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, limit=1 << 20, backlog=512)
        running.append(listener)
        server.port = listener.sockets[0].getsockname()[1]
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/v1"
        return server

    yield one
    for listener in running:
        listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def say(serve: Serve) -> Say:
    async def answering(*pieces: bytes, close: bool = False) -> Server:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if close:
                    return

        server = await serve(script)
        return server

    return answering


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    one = Client(connect_timeout=5.0)
    yield one
    await one.close()
