"""One connection of the load generator: sends a request, reads the answer to its end, keeps the times.

A stream is not parsed while it comes: its end is seen in its last bytes, and it is decoded after the clock has stopped.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import cast

clock = time.perf_counter
_LAST_CHUNK = b"0\r\n\r\n"


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(slots=True)
class Answer:
    """`began`, `first` (the first event, 0 where there was none) and `ended` on `clock`, in seconds."""

    status: int
    body: bytes
    began: float
    first: float
    ended: float


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Sends a whole HTTP request. The future raises Broken when the answer breaks off."""
        self._answer = self._loop.create_future()
        self._head = b""
        self._parts: list[bytes] = []
        self._missing = -1  # bytes that a body of known length still lacks
        self._chunked = False
        self._first = 0.0
        self._began = clock()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close()  # nobody has asked
            return
        if not self._first and b"data:" in data:
            self._first = clock()
        if not self._parts:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._read_head(data[:end].lower())
            data = data[end + 4 :]
        self._parts.append(data)
        if self._missing >= 0:
            self._missing -= len(data)
            if self._missing <= 0:
                self._complete(clock(), b"".join(self._parts))
        elif self._chunked:
            tail = data if len(data) >= len(_LAST_CHUNK) else b"".join(self._parts[-len(_LAST_CHUNK) :])
            if tail.endswith(_LAST_CHUNK):
                ended = clock()
                body = dechunk(b"".join(self._parts))
                if body is not None:
                    self._complete(ended, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is None:
            return
        if self._parts and self._missing < 0 and not self._chunked:
            self._complete(clock(), b"".join(self._parts))  # a body that ends with its connection
        elif not self._answer.done():
            self._answer.set_exception(Broken(str(exc or "closed by the peer")))

    def _read_head(self, head: bytes) -> None:
        self._head = head
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name == b"content-length":
                self._missing = int(value)
            elif name == b"transfer-encoding":
                self._chunked = value.strip() == b"chunked"
            elif name == b"connection" and value.strip() == b"close":
                self.open = False

    def _complete(self, ended: float, body: bytes) -> None:
        future, self._answer = self._answer, None
        if future is not None and not future.done():
            future.set_result(Answer(int(self._head[9:12]), body, self._began, self._first, ended))


def dechunk(data: bytes) -> bytes | None:
    """The body of a chunked message, or None while its last chunk is missing."""
    parts, at = [], 0
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        at = line + 2 + size + 2
        if at > len(data):
            return None
        parts.append(data[line + 2 : at - 2])
