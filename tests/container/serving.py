"""The proxy's HTTP server in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from container.server.http import Handler, HttpServer


async def started(handler: Handler) -> tuple[HttpServer, int]:
    """A server on a port of its own; whoever starts it has to stop it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = HttpServer(handler)
    await server.start([listener])
    return server, listener.getsockname()[1]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """The port where `handler` answers."""
    server, port = await started(handler)
    try:
        yield port
    finally:
        await server.stop(5.0, asyncio.Event())
