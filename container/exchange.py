"""One HTTP request and its response on ASGI: headers in, body in, answer out, and whether the client is still there.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import time
from collections.abc import Iterable

from worker.api.errors import ApiError, body_too_large, invalid_request
from worker.api.request_id import request_id

Headers = Iterable[tuple[str, str]]


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


class Exchange:
    """`headers`: the request's, names in lower case, the first of each name. Times in seconds on `time.monotonic`."""

    __slots__ = (
        "_receive",
        "_send",
        "_watch",
        "always",
        "began",
        "body_seconds",
        "headers",
        "id",
        "left",
        "method",
        "path",
        "scope",
        "started",
        "status",
    )

    def __init__(self, scope: dict, receive, send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task | None = None
        self.began = time.monotonic()
        self.body_seconds = 0.0
        self.method: str = scope["method"]
        self.path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self.headers = headers
        self.id = request_id(headers.get("x-request-id"))
        self.always: list[tuple[str, str]] = []  # headers of every answer to this request
        self.started = False
        self.left = False
        self.status = 0

    async def body(self, limit_mb: float) -> bytes:
        """The whole body. Raises ApiError 413 over the limit and ClientLeft when it breaks off."""
        limit = int(limit_mb * 1024 * 1024)
        encoding = self.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise ApiError(
                415, "invalid_request_error", "Compressed request bodies are not taken.", code="unsupported_encoding"
            )
        announced = self.headers.get("content-length")
        if announced is not None and (not announced.isdigit() or int(announced) > limit):
            raise body_too_large(limit_mb) if announced.isdigit() else invalid_request("Content-Length is no number.")
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                raise ClientLeft
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise body_too_large(limit_mb)
            parts.append(part)
            if not message.get("more_body"):
                self.body_seconds = time.monotonic() - self.began
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def cancel_when_client_leaves(self) -> None:
        """From here on the running task is cancelled when the client goes; call once the body has been read."""
        task = asyncio.current_task()
        watch = asyncio.ensure_future(self._receive())

        def on_message(done: asyncio.Task) -> None:
            if not done.cancelled() and task is not None and not task.done():
                self.left = True
                task.cancel()

        watch.add_done_callback(on_message)
        self._watch = watch

    def stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def start(self, status: int, headers: Headers, content_type: str) -> None:
        """The head of the answer; `write` follows."""
        self.started = True
        self.status = status
        raw = [(b"content-type", content_type.encode()), (b"x-request-id", self.id.encode())]
        raw += [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
        raw += [(name.encode(), value.encode("latin-1", "replace")) for name, value in self.always]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        self.stop_watching()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def respond(self, status: int, data: bytes, headers: Headers = (), content_type="application/json") -> None:
        """A whole answer; to HEAD without its body."""
        self.stop_watching()
        head = [*headers, ("content-length", str(len(data)))] if status != 204 else headers
        await self.start(status, head, content_type)
        await self.finish(b"" if self.method == "HEAD" else data)

    async def error(self, error: ApiError) -> None:
        await self.respond(error.status, error.body(), error.headers)
