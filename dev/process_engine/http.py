"""Just enough HTTP/1.1 for a unix socket with one well-known client, and for a connection that becomes a tunnel."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    409: "Conflict",
    500: "Internal Server Error",
    501: "Not Implemented",
}


@dataclass(frozen=True)
class Request:
    """`headers` by lower-case name; `query` holds the last value of each name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> list[str]:
        """The segments, decoded."""
        return [unquote(part) for part in urlsplit(self.target).path.strip("/").split("/")]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    def json(self) -> dict[str, Any]:
        return json.loads(self.body) if self.body else {}


@dataclass(frozen=True)
class Reply:
    status: int = 200
    json: Any = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Reply]]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None when the client has left. Raises ValueError for anything but HTTP/1.1."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError:
        raise ValueError("the head of the request is too long") from None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _version = first.split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(method, target, headers, await _read_body(reader, headers))


async def write_reply(writer: asyncio.StreamWriter, reply: Reply) -> None:
    head = f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\n"
    if reply.status in (204, 304):
        writer.write(f"{head}\r\n".encode())
    else:
        body = json.dumps(reply.json).encode()
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
    await writer.drain()


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    """Answers one request after the other until the client leaves."""
    try:
        while (request := await read_request(reader)) is not None:
            await write_reply(writer, await handle(request))
    except ConnectionError:
        return  # the client left before it had its answer
    finally:
        writer.close()


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()  # no trailers are expected
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", 0)))
