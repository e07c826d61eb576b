"""The networking sidecar that workerd starts beside each container: HTTP CONNECT to `host:port` inside of it.

workerd also tells it what the container may reach, which has no meaning for a local process, so that is accepted
and forgotten.
"""

import asyncio
from collections.abc import Callable, Coroutine

from .http import Reply, read_request, write_reply

PORT = 39001
_CHUNK = 65536


class Sidecar:
    """`local_port`: where a port of the container is on this machine; None while nothing can be there."""

    def __init__(self, local_port: Callable[[int], int | None]) -> None:
        self._local_port = local_port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self.port: int | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            while (request := await read_request(reader)) is not None:
                if request.method == "CONNECT":
                    target = request.headers.get("x-dst-addr") or request.target
                    await self._tunnel(int(target.rsplit(":", 1)[1]), reader, writer)
                    return
                await write_reply(writer, Reply())
        except (ConnectionError, asyncio.CancelledError):
            return  # one side left, or the container is gone
        finally:
            self._tunnels.discard(task)
            writer.close()

    async def _tunnel(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local_port = self._local_port(port)
        try:
            if local_port is None:
                raise ConnectionRefusedError
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", local_port)
        except OSError:
            # workerd makes of it: "Container is not listening to port N".
            await write_reply(writer, Reply(400, {"message": f"nothing listens on port {port}"}))
            return
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await _until_both_end(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.close()


async def _until_both_end(*pumps: Coroutine[None, None, None]) -> None:
    """A reset on either side ends the other direction too."""
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copies until the end and passes the end on."""
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
