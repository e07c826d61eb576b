"""Raw HTTP/1.1 over a socket, for requests that no client library would send."""

import socket
import time
from dataclasses import dataclass
from typing import Any, Self

import orjson

from tests import canaries_of_answers


@dataclass
class Answer:
    """`headers` has lower-case names. The last value of a repeated header wins."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Connection:
    """One connection. `send` sends raw bytes, and `answer()` reads one response to `method`."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 10.0) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """A whole request. Adds `host` and `content-length` where missing."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        given.setdefault("host", "localhost")
        if body or method == "POST":
            given.setdefault("content-length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        self.send("\r\n".join(lines).encode("latin-1") + body)

    def head(self) -> Answer:
        """The status and headers. The body remains unread."""
        while b"\r\n\r\n" not in self._got:
            self._read()
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        found = {name.lower(): value.strip() for name, value in pairs}
        canaries_of_answers.look(first, found.items())
        return Answer(int(first.split()[1]), found, b"")

    def answer(self, method: str = "POST") -> Answer:
        found = self.head()
        while found.status == 100:
            found = self.head()
        if method == "HEAD" or found.status in (204, 304):
            return found
        if found.headers.get("transfer-encoding") == "chunked":
            while (chunk := self.chunk()) != b"":
                found.body += chunk
            return found
        length = int(found.headers["content-length"])
        while len(self._got) < length:
            self._read()
        found.body, self._got = self._got[:length], self._got[length:]
        return found

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at the end."""
        while b"\r\n" not in self._got:
            self._read()
        size, _, self._got = self._got.partition(b"\r\n")
        length = int(size, 16)
        while len(self._got) < length + 2:
            self._read()
        data, self._got = self._got[:length], self._got[length + 2 :]
        return data

    def closed(self, within: float = 5.0) -> bool:
        """Whether the other side has closed the connection, after discarding pending data."""
        deadline = time.monotonic() + within
        self._socket.settimeout(within)
        try:
            while time.monotonic() < deadline:
                if not self._socket.recv(65536):
                    return True
        except ConnectionError:
            return True
        except TimeoutError:
            pass
        return False

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self._got!r}")
        self._got += data


def ask(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", host: str = "127.0.0.1"
) -> Answer:
    """Sends one request on its own connection."""
    with Connection(port, host) as connection:
        connection.request(method, path, headers, body)
        return connection.answer(method)
