"""The proxy's HTTP server in the test's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from container.server.http import Handler, HttpServer


async def started(handler: Handler) -> tuple[HttpServer, int]:
    """Starts a server on a free port. The caller has to stop it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = HttpServer(handler)
    await server.start([listener])
    return server, listener.getsockname()[1]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Serves `handler` and yields the port."""
    server, port = await started(handler)
    try:
        yield port
    finally:
        await server.stop(5.0, asyncio.Event())
