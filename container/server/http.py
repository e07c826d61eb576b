"""The HTTP server: this proxy's sockets, limits and HTTP errors, graceful shutdown, and how responses are written.

Built on aiohttp's low-level server. It uses a third less CPU per request than the ASGI servers in bench/, and it
cancels the handler when the client disconnects.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web_protocol import RequestHandler

from worker.core.api.errors import ApiError, internal_error

from ..config.document import CannotServe
from ..observability import log

BACKLOG = 2048
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind sockets to an address. Raises CannotServe.

    `::` means every address, IPv4 included. `localhost` means both loopback addresses. Without IPv6 on the machine only
    the IPv4 addresses are bound.
    """
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(_addresses(host, port)):
            try:
                one = socket.socket(family, kind, protocol)
            except OSError as error:
                refusal = error
                continue
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            try:
                one.bind(address)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                refusal = error
                sockets.pop().close()
                continue
            one.setblocking(False)
            if host == "::":
                break
        if not sockets:
            raise refusal or OSError("there is no such address")
    except OSError as error:
        for one in sockets:
            one.close()
        raise cannot_listen(host, port, error) from None
    return sockets


def shared_out(sockets: list[socket.socket], workers: int) -> list[list[socket.socket]]:
    """Let several workers listen on the addresses of these sockets. Return the sockets of each; the first has these.

    Linux spreads connections over the sockets of an address, and a socket that stays open keeps the connections that
    its worker has not accepted yet. Elsewhere all workers accept from the same sockets.
    https://man7.org/linux/man-pages/man7/socket.7.html (SO_REUSEPORT)
    """
    if sys.platform != "linux":
        return [sockets] * workers
    found = [sockets]
    for one in sockets:  # bound without it, so that nothing else is on this address
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for _ in range(workers - 1):
        copies = []
        for one in sockets:
            copy = socket.socket(one.family, one.type, one.proto)
            copies.append(copy)
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if one.family == socket.AF_INET6:
                v6only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                copy.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            copy.bind(one.getsockname())
            copy.setblocking(False)
        found.append(copies)
    for each in found:
        for one in each:
            one.listen(BACKLOG)
    return found


def cannot_listen(host: str, port: int, error: OSError) -> CannotServe:
    return CannotServe(f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose another with --port.")


def _addresses(host: str, port: int) -> list:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if host == "::":  # without IPv6, only the IPv4 half can be bound
        found += socket.getaddrinfo("0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    return found


IDLE_CONNECTION_SECONDS = 75.0
# After an early error response, the rest of the request body is read for this long so that the client sees the
# response.
LINGER_SECONDS = 10.0
MAX_HEADER_BYTES = 16 * 1024
# The edge sends the key's list of models in a header.
MAX_HEADER_BYTES_OF_THE_EDGE = 64 * 1024
POLL_SECONDS = 0.02

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves `handler` on bound sockets and cancels it when its client disconnects."""

    def __init__(self, handler: Handler, max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self._handler = handler
        self._running = 0
        self._server = _Server(
            self._count,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE_CONNECTION_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=max_header_bytes,
            max_field_size=max_header_bytes,
            auto_decompress=False,
        )
        self._listeners: list[asyncio.Server] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        """Raises OSError when another process listens on the address."""
        loop = asyncio.get_running_loop()
        for one in sockets:
            one.listen(BACKLOG)  # uvloop would not report a failure
            self._listeners.append(await loop.create_server(self._server, sock=one, backlog=BACKLOG))

    async def stop(self, grace: float, at_once: asyncio.Event) -> None:
        """Stop accepting connections, then wait up to `grace` seconds, or until `at_once`, before ending requests."""
        for listener in self._listeners:
            listener.close()
        await asyncio.sleep(0)
        self._server.pre_shutdown()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self._running and loop.time() < end and not at_once.is_set():  # noqa: ASYNC110 once, at the end
            await asyncio.sleep(POLL_SECONDS)
        if self._running:
            log.warning("requests_ended", running=self._running, grace_seconds=grace)
        await self._server.shutdown(POLL_SECONDS)

    async def _count(self, request: web.BaseRequest) -> web.StreamResponse:
        coding = ", ".join(request.headers.getall("transfer-encoding", ())) or None
        if coding is not None and coding.strip().lower() != "chunked":
            return _closing(501, "'chunked' is the only supported transfer coding.", "unknown_coding")
        self._running += 1
        try:
            return await self._handler(request)
        finally:
            self._running -= 1


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    """Sends HTTP protocol errors in the same format as every other error."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("Part of an answer has been sent.")
        if status >= 500:
            log.error("internal_error", error=type(exc).__name__)
            return _closed(internal_error("-"))
        return _closing(status, "This is not a valid HTTP/1.1 request.", "bad_request")


def _closing(status: int, message: str, code: str) -> web.StreamResponse:
    return _closed(ApiError(status, "invalid_request_error", message, code=code))


def _closed(error: ApiError) -> web.StreamResponse:
    """An error response that closes the connection, because the start of the next request is unknown."""
    response = web.Response(status=error.status, body=error.body(), content_type="application/json")
    response.force_close()
    return response


# Responses.

# Larger bodies are written separately, to avoid a copy.
_TOGETHER_BYTES = 64 * 1024
_WITHOUT_BODY = (204, 304)
_LINE = ": ".join
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class WholeAnswer(web.StreamResponse):
    """`headers` must not contain line breaks. The body is not sent in response to HEAD."""

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        super().__init__(status=status)
        self._lines = headers
        self._data = body
        self._request: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        return None if self._request is None else self._request.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._request = request
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Raises ConnectionError when the client has disconnected."""
        request = self._request
        assert request is not None, "prepare comes first"
        body = b"" if request.method == "HEAD" or self.status in _WITHOUT_BODY else self._data
        head = "\r\n".join(self._head(request)).encode("ascii")
        if len(body) <= _TOGETHER_BYTES:
            await request.writer.write_eof(head + body)
        else:
            await request.writer.write(head)
            await request.writer.write_eof(body)

    def _head(self, request: web.BaseRequest) -> Iterable[str]:
        version = request.version
        lines = [f"HTTP/{version.major}.{version.minor} {self.status} {_REASONS.get(self.status, '')}"]
        lines += map(_LINE, self._lines)
        if self.status not in _WITHOUT_BODY and (self._data or request.method != "HEAD"):
            lines.append(f"content-length: {len(self._data)}")
        lines.append(f"date: {rfc822_formatted_time()}")
        if not request.keep_alive:
            if version == HttpVersion11:
                lines.append("connection: close")
        elif version == HttpVersion10:
            lines.append("connection: keep-alive")
        lines += ("", "")
        return lines


class StreamedAnswer(web.StreamResponse):
    """Sends its headers in one packet with the first bytes of the body."""

    _send_headers_immediately = False
