"""A small HTTP proxy on loopback: CONNECT tunnels, and requests with a full address. It resolves no names.

with HttpProxy({"api.example": server.port}) as proxy:
    proxy.url, proxy.seen
"""

import asyncio
import base64
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.fakes.loop_thread import LoopThread


class HttpProxy:
    """`routes`: the loopback port for each host name; others get 502. `credentials`: `user:password` that it requires.
    `answer`: sent instead of doing anything. `seen`: the first line of each request; `heads`: all of it.
    """

    def __init__(
        self, routes: Mapping[str, int] | None = None, *, credentials: str | None = None, answer: bytes | None = None
    ) -> None:
        self.routes = dict(routes or {})
        self.seen: list[str] = []
        self.heads: list[bytes] = []
        self.port = 0
        self._tasks: set[asyncio.Task] = set()
        self._answer = answer
        self._wanted = None if credentials is None else base64.b64encode(credentials.encode())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = LoopThread("http-proxy")
        self._server = self._thread.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.call(self._close())
        self._thread.stop()

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                line = head.partition(b"\r\n")[0].decode()
                self.seen.append(line)
                method, target, _ = line.split(" ")
                if self._answer is not None:
                    writer.write(self._answer)
                    return
                if self._wanted is not None and b"Proxy-Authorization: Basic " + self._wanted not in head:
                    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                elif method == "CONNECT":
                    await self._tunnel(target, reader, writer)
                    return
                else:
                    await self._forward(head, target, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.routes.get(target.rpartition(":")[0])
        if port is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        there, thither = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 fake\r\n\r\n")
        await asyncio.gather(_pump(reader, thither), _pump(there, writer))

    async def _forward(
        self, head: bytes, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Sends one request on and the connection's bytes back until the server closes it."""
        assert target.startswith("http://"), "a proxy gets the full address"
        host, _, path = target.removeprefix("http://").partition("/")
        port = self.routes.get(host.partition(":")[0])
        length = next(int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length"))
        body = await reader.readexactly(length)
        if port is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        there, thither = await asyncio.open_connection("127.0.0.1", port)
        lines = [x for x in head.split(b"\r\n")[1:-2] if not x.lower().startswith(b"proxy-authorization")]
        thither.write(b"\r\n".join([f"POST /{path} HTTP/1.1".encode(), *lines, b"Connection: close", b"", b""]) + body)
        await _pump(there, writer)
        thither.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side has left; the other is told
    writer.close()
