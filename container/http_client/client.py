"""Requests over pooled connections: the response, which its connection feeds and its caller reads in small pieces; how
a connection is opened; the connection, its pool, and the client.
"""

import asyncio
import select
import socket
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Protocol, cast

import httptools
from aiohappyeyeballs import AddrInfoType, start_connection

from .request import (
    BadBody,
    BrokenOff,
    CannotConnect,
    ConnectTimeout,
    Place,
    Proxies,
    Proxy,
    ProxyFailed,
    Silent,
    authority,
    prepared,
)

# The most that is decompressed at once.
PIECE = 256 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15
_MAGIC = b"\x1f\x8b"


class Decoder:
    """Decodes gzip and deflate.

    gzip may have several members. Some servers omit the zlib header of deflate.
    """

    def __init__(self, encoding: str) -> None:
        self._deflate = encoding == "deflate"
        self._stream = None if self._deflate else zlib.decompressobj(_GZIP)
        self._left = b""
        self.waiting = False  # whether `decode(b"")` would return more

    def decode(self, data: bytes) -> bytes:
        """Returns up to PIECE bytes of decoded content. Raises zlib.error."""
        data = self._left + data if self._left else data
        if not data and not self.waiting:
            return data
        if self._stream is None:
            self._stream = zlib.decompressobj(_ZLIB if data[0] & 0x0F == 8 else _RAW)
        elif self._stream.eof:
            if not self._another(data):
                self.waiting = False
                return b""
            self._stream = zlib.decompressobj(_GZIP)
        content = self._stream.decompress(data, PIECE)
        self._left = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        # A full piece may be incomplete output, even if all input has been consumed.
        self.waiting = bool(self._left) or (len(content) == PIECE and not self._stream.eof)
        return content

    def _another(self, data: bytes) -> bool:
        """Whether another gzip member follows, as opposed to the padding that some servers append."""
        return not self._deflate and _MAGIC.startswith(data[:2])


def decoder(encoding: str) -> Decoder | None:
    """The decoder for a Content-Encoding header, or None if the body is passed through.

    Unknown encodings are ignored.
    """
    name = encoding.strip().lower()
    return Decoder(name) if name in ("gzip", "x-gzip", "deflate") else None


MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
MAX_INTERIM = 16  # 1xx responses before the final one
MAX_BODY_BYTES = 128 * 1024 * 1024  # limit for `Response.read`
# Reading from the connection pauses when more than this is buffered.
HIGH_WATER = 128 * 1024


class Carrier(Protocol):
    """What a response needs from its connection. `done` is called when the response is complete."""

    transport: asyncio.Transport

    def done(self, reusable: bool) -> None: ...
    def abort(self) -> None: ...


class _Excess(Exception):
    """The server sent too many headers or interim responses."""


class Response:
    """A response whose body may still be arriving.

    `status` and `headers` are available once `head` has returned. Header names are lower case, and the last value of a
    repeated header wins. Trailers are discarded.

    When the response is complete, the connection returns to the pool by itself. To stop earlier, call `close`, which
    closes the connection and thereby tells the server to stop.
    """

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_decoder",
        "_error",
        "_heads",
        "_idle",
        "_last",
        "_loop",
        "_parser",
        "_paused",
        "_raw_headers",
        "_reusable",
        "_silent_bytes",
        "_size",
        "_timer",
        "_until_close",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, connection: Carrier, loop: asyncio.AbstractEventLoop, idle: float | None) -> None:
        """`idle` is the number of seconds without a byte after which reading raises Silent. None means no limit."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection: Carrier | None = connection
        self._loop = loop
        self._idle = idle
        self._last = loop.time()
        self._timer = loop.call_later(idle, self._check_idle) if idle else None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._complete = False
        self._reusable = False
        self._until_close = False
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._heads = 0
        self._chunks: list[bytes] = []
        self._size = 0  # bytes in `_chunks`
        self._silent_bytes = 0  # bytes received in a row without any body content
        self._paused = False
        self._decoder: Decoder | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Accept common server mistakes that browsers also tolerate, but none that affect framing.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    # For the caller

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def answered(self) -> bool:
        """Whether sending more of the request is pointless, because it was refused or the response is complete."""
        return self._complete or self._error is not None or self.status >= 300

    async def head(self) -> None:
        """Waits for status and headers. Raises BrokenOff or Silent."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def readany(self) -> bytes:
        """Returns the available data, and waits only if there is none. Returns b"" at the end. Raises BadBody or
        Silent.
        """
        decoder = self._decoder
        if decoder is None:
            return await self._next()
        while True:
            if decoder.waiting:
                await asyncio.sleep(0)  # yield to other tasks while decoding a decompression bomb
                raw = b""
            else:
                raw = await self._next()
                if not raw:
                    return raw
            try:
                data = decoder.decode(raw)
            except zlib.error:
                self._fail(BadBody("badly compressed"))
                raise BadBody("badly compressed") from None
            if data:
                return data

    async def read(self) -> bytes:
        """Returns the whole body. Raises Silent, or BadBody, also if the body exceeds MAX_BODY_BYTES."""
        # the body arrived together with the head
        if self._complete and self._decoder is None and self._size <= MAX_BODY_BYTES:
            return self._taken()
        parts, size = [], 0
        while data := await self.readany():
            parts.append(data)
            size += len(data)
            if size > MAX_BODY_BYTES:
                self.close()
                raise BadBody("too long")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Discards the rest of the response. Closes the connection unless the response is complete."""
        self._chunks.clear()
        if not self._complete:
            self._fail(BadBody("closed by us"))

    async def _next(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait()
        data = self._taken()
        if self._paused:
            self._resume()
        return data

    def _taken(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        return data

    async def _wait(self) -> None:
        assert self._waiter is None, "one reader at a time"
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # For the connection

    def feed(self, data: bytes) -> None:
        if self._idle is not None:
            self._last = self._loop.time()
        parser, before, had_head = self._parser, self._size, self.status
        assert parser is not None, "the connection has let go of a finished answer"
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._fail(BadBody("not HTTP") if self.status else BrokenOff("not HTTP"))
                return
            self._reusable = False  # unsolicited data after the response
        if self._complete:
            self._finish()
        elif self._size == before:
            self._silent_bytes += len(data)
            if self._silent_bytes > MAX_HEAD_BYTES:
                self._fail(BadBody("endless framing") if self.status else BrokenOff("endless head"))
                return
            if had_head or not self.status:
                return
        else:
            self._silent_bytes = 0
            if self._size > HIGH_WATER and not self._paused and self._connection is not None:
                self._paused = True
                self._connection.transport.pause_reading()
        self._wake()

    def ended(self, error: Exception | None) -> None:
        """Called when the connection is closed. `error` is None after a clean shutdown."""
        if self._complete or self._error is not None:
            return
        if not self.status:
            self._fail(BrokenOff("no answer"))
        elif self._until_close and error is None:
            self._complete = True
            self._finish()
            self._wake()
        else:
            self._fail(BadBody("broken off"))

    # For the parser

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Excess

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))  # `feed` limits the total size

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self._heads += 1
            if status < 100 or status == 101 or self._heads > MAX_INTERIM:
                raise _Excess
            return
        raw = self._fields()
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in raw}
        self._silent_bytes = 0
        self._reusable = self._parser.should_keep_alive()
        # Without Content-Length and chunked encoding, the body ends with the connection. The parser does not report
        # this.
        coding = headers.get("transfer-encoding")
        if coding is None:
            self._until_close = "content-length" not in headers
        else:
            self._until_close = coding.rpartition(",")[2].strip().lower() != "chunked"
        encoding = headers.get("content-encoding")
        if encoding is not None:
            self._decoder = decoder(encoding)
        self.headers = headers
        self.status = status

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        self._fields()  # headers of a 1xx response, or trailers
        if self.status:
            self._complete = True

    def _fields(self) -> list[tuple[bytes, bytes]]:
        """Takes the headers or trailers received so far. Raises _Excess."""
        raw = self._raw_headers
        if len(raw) > MAX_HEADERS or sum(map(len, chain.from_iterable(raw))) > MAX_HEAD_BYTES:
            raise _Excess
        self._raw_headers = []
        return raw

    # Internals

    def _finish(self) -> None:
        """Hands the connection back, now that the response is complete."""
        connection = self._detach()
        if connection is not None:
            if self._paused:
                self._paused = False
                connection.transport.resume_reading()
            connection.done(self._reusable)

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        connection = self._detach()
        if connection is not None:
            connection.abort()
        self._wake()

    def _detach(self) -> Carrier | None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self._connection = self._connection, None
        self._parser = None  # breaks the reference cycle with the parser
        return connection

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        self._paused = False
        self._last = self._loop.time()  # the pause was ours, not the server's
        if self._connection is not None:
            self._connection.transport.resume_reading()

    def _check_idle(self) -> None:
        """Checks for silence. A single timer serves the whole response and is rescheduled as data arrives."""
        assert self._idle is not None
        left = self._idle if self._paused else self._last + self._idle - self._loop.time()
        if left <= 0.001:
            self._timer = None
            self._fail(Silent())
        else:
            self._timer = self._loop.call_later(left, self._check_idle)


# A tunnel through an HTTP proxy: CONNECT. https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6

_END = b"\r\n\r\n"
MAX_ANSWER_BYTES = 16 * 1024


async def tunnel(one: socket.socket, proxy: Proxy, place: Place) -> None:
    """Asks the proxy to connect to `place`. Afterwards the socket is as if it were connected there.

    Raises ProxyFailed, or OSError.
    """
    loop = asyncio.get_running_loop()
    target = authority(place)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(one, "\r\n".join(lines).encode() + _END)
    answer = b""
    while _END not in answer:
        data = await loop.sock_recv(one, MAX_ANSWER_BYTES)
        answer += data
        if not data or len(answer) > MAX_ANSWER_BYTES:
            raise ProxyFailed("the HTTP proxy did not answer CONNECT")
    status = _status(answer)
    if not 200 <= status < 300:
        raise ProxyFailed(f"the HTTP proxy answered {status} to CONNECT")
    if not answer.endswith(_END):  # in a tunnel to a TLS server the client speaks first
        raise ProxyFailed("the HTTP proxy sent more than its answer to CONNECT")


def _status(answer: bytes) -> int:
    version, _, rest = answer.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise ProxyFailed("the HTTP proxy's answer to CONNECT is not HTTP")
    return int(code)


DNS_SECONDS = 60.0
MAX_NAMES = 1000
# https://www.rfc-editor.org/rfc/rfc8305#section-8
NEXT_ADDRESS_SECONDS = 0.25


class Connector:
    """Opens connections with Happy Eyeballs.

    `timeout` covers the DNS lookup, the TCP connect, a proxy's tunnel and the TLS handshake, in seconds. `proxies`:
    None for direct connections only.
    """

    def __init__(self, timeout: float, context: ssl.SSLContext | None = None, proxies: Proxies | None = None) -> None:
        self._timeout = timeout
        self._context = context
        self._proxies = proxies
        self._names = Names()

    async def connect(self, place: Place, protocol: asyncio.Protocol) -> None:
        """Raises CannotConnect, or one of its subclasses."""
        proxy = self._proxies.of(place) if self._proxies is not None else None
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(place, protocol, proxy)
        except TimeoutError:
            raise ConnectTimeout(f"not within {self._timeout:g} s") from None
        except (OSError, ValueError) as error:
            self._names.forget(proxy.place if proxy else place)
            if proxy is not None and not isinstance(error, ssl.SSLError):
                raise ProxyFailed("the HTTP proxy cannot be reached, or it closed the connection") from None
            raise CannotConnect(type(error).__name__) from None

    async def _connect(self, place: Place, protocol: asyncio.Protocol, proxy: Proxy | None) -> None:
        addresses = await self._names.find(proxy.place if proxy else place)
        # uvloop's own create_connection tries the addresses sequentially.
        one = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1)
        context = self._tls() if place.tls else None
        name = place.host.rstrip(".").partition("%")[0] if place.tls else None
        try:
            if proxy is not None and place.tls:
                await tunnel(one, proxy, place)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: protocol, sock=one, ssl=context, server_hostname=name)
        except BaseException:
            one.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def close(self) -> None:
        self._names.close()


class Names:
    """A DNS cache. Entries live for DNS_SECONDS or until none of the addresses accepts a connection. Concurrent lookups
    of the same name are merged.
    """

    def __init__(self) -> None:
        self._known: dict[Place, tuple[float, Sequence[AddrInfoType]]] = {}
        self._looking: dict[Place, asyncio.Task[Sequence[AddrInfoType]]] = {}

    async def find(self, place: Place) -> Sequence[AddrInfoType]:
        """Raises OSError, or UnicodeError for an invalid name."""
        until, addresses = self._known.get(place, (0.0, ()))
        if until > asyncio.get_running_loop().time():
            return addresses
        task = self._looking.get(place)
        if task is None:
            task = self._looking[place] = asyncio.create_task(self._look_up(place))
            task.add_done_callback(lambda done: self._looked_up(place, done))
        # Cancelling one waiter must not cancel the lookup for the others.
        return await asyncio.shield(task)

    def forget(self, place: Place) -> None:
        self._known.pop(place, None)

    def close(self) -> None:
        for task in self._looking.values():
            task.cancel()

    def _looked_up(self, place: Place, done: asyncio.Task[Sequence[AddrInfoType]]) -> None:
        self._looking.pop(place, None)
        if not done.cancelled():
            done.exception()  # retrieve the exception: all waiters may be gone

    async def _look_up(self, place: Place) -> Sequence[AddrInfoType]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[place] = loop.time() + DNS_SECONDS, found
        return found


# Request bodies larger than this are written in pieces, as fast as the server accepts them.
SENT_PIECE = 64 * 1024


class Connection(asyncio.Protocol):
    """A connection to one place.

    `made` is called when the connection is open, `released` whenever it becomes idle, and `lost` once when it is
    closed.
    """

    def __init__(
        self,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        made: Callable[["Connection"], None],
        released: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.place = place
        self.transport: asyncio.Transport  # set in `connection_made`
        self._known = False  # whether `made` was called
        self._unwanted = False
        self.idle_since = 0.0
        self._loop = loop
        self._made = made
        self._released = released
        self._lost = lost
        self._response: Response | None = None
        self._sending = False
        self._full = False
        self._room: asyncio.Future[None] | None = None

    async def ask(self, head: bytes, body: bytes, idle: float | None) -> Response:
        """Sends a request and waits for the head of the response. Raises BrokenOff or Silent.

        `idle` is as for Response. If the server refuses the request before the body is sent, the rest is not sent, and
        the connection is not reused.
        """
        if self.transport.is_closing():
            raise BrokenOff("closed before the request was sent")
        response = self._response = Response(self, self._loop, idle)
        try:
            if len(body) <= SENT_PIECE:
                self.transport.write(head + body)
            else:
                await self._send(response, head, body)
            await response.head()
        except BaseException:
            response.close()
            raise
        return response

    async def _send(self, response: Response, head: bytes, body: bytes) -> None:
        self._sending = True
        self.transport.write(head)
        rest = memoryview(body)
        for at in range(0, len(rest), SENT_PIECE):
            while self._full and not response.answered:
                self._room = self._loop.create_future()
                try:
                    await self._room
                finally:
                    self._room = None
            if response.answered or self.transport.is_closing():
                return
            self.transport.write(rest[at : at + SENT_PIECE])
        self._sending = False

    def alive(self) -> bool:
        """Whether an idle connection can be reused: the server has not closed it and has not sent anything."""
        return not self.transport.is_closing() and not self._poll.poll(0)

    def done(self, reusable: bool) -> None:
        """Called when the response is complete."""
        self._response = None
        if reusable and not self._sending and not self.transport.get_write_buffer_size():
            self.idle_since = self._loop.time()
            self._released(self)
        else:
            self.abort()
        self._make_room()

    def abort(self) -> None:
        """Closes the connection immediately, and fails the current response."""
        self._end(ConnectionAbortedError())
        self.transport.abort()

    def give_up(self) -> None:
        """Abandons the connection. uvloop may still call `connection_made` later, without ever calling
        `connection_lost`.
        """
        self._unwanted = True
        if self._known:
            self.transport.abort()
            self._lost(self)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._unwanted:
            cast(asyncio.Transport, transport).abort()
            return
        self._known = True
        self.transport = cast(asyncio.Transport, transport)
        # Detects a server that closed the connection while the event loop was busy.
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # unsolicited data
            return
        response.feed(data)
        if self._sending and response.answered:
            self._make_room()

    def eof_received(self) -> None:
        self._end(None)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._lost(self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._make_room()

    def _end(self, error: Exception | None) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.ended(error)
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


# Providers close idle connections without notice. A short limit makes it unlikely that we reuse a connection at that
# moment.
IDLE_SECONDS = 15.0
PROXY_AUTHENTICATION_REQUIRED = 407


class Pool:
    """Idle connections by place. A single timer expires them, and it runs only while there are any."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._idle: dict[Place, list[Connection]] = {}  # each list is sorted from longest to shortest idle time
        self._timer: asyncio.TimerHandle | None = None

    def take(self, place: Place) -> Connection | None:
        """An idle connection that appears to be alive, or None."""
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if connection.alive():
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        self._idle.setdefault(connection.place, []).append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        oldest = now
        for place, idle in list(self._idle.items()):
            fresh = [c for c in idle if c.idle_since + self._idle_seconds > now and c.alive()]
            for connection in set(idle).difference(fresh):
                connection.abort()
            if fresh:
                self._idle[place] = fresh
                oldest = min(oldest, fresh[0].idle_since)
            else:
                del self._idle[place]
        wait = oldest + self._idle_seconds - now
        self._timer = loop.call_later(max(0.01, wait), self._sweep) if self._idle else None


class Client:
    """An HTTP client for use in a single event loop. `context` replaces the default trust store. `proxies`: None for
    direct connections only."""

    def __init__(
        self, *, connect_timeout: float, context: ssl.SSLContext | None = None, proxies: Proxies | None = None
    ) -> None:
        self._connector = Connector(connect_timeout, context, proxies)
        self._proxies = proxies
        self._pool = Pool()
        self._open: set[Connection] = set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, idle: float | None = None) -> Response:
        """Sends a request and returns the response with its body unread.

        If no byte arrives for `idle` seconds, Silent is raised. Redirects are not followed, and cookies are not stored.
        Raises HttpError or Silent. Cancellation closes the connection.
        """
        place, head = prepared(url, tuple(headers.items()))
        return await self._ask(place, head, b"Content-Length: %d\r\n\r\n" % len(body), body, idle)

    async def bare(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        """Sends a request without a body: GET, DELETE, or an empty POST. Otherwise like `post`."""
        # Each such URL is used once, so it would only displace others from the cache.
        place, head = prepared.__wrapped__(url, tuple(headers.items()), method)
        return await self._ask(place, head, b"Content-Length: 0\r\n\r\n" if method == "POST" else b"\r\n", b"", None)

    async def _ask(self, place: Place, head: bytes, end: bytes, body: bytes, idle: float | None) -> Response:
        """`end`: the last headers."""
        if self._proxies is not None:
            head = self._proxies.head(place, head)
        connection = self._pool.take(place) or await self._connect(place)
        response = await connection.ask(head + end, body, idle)
        if response.status == PROXY_AUTHENTICATION_REQUIRED and self._proxies is not None:
            response.close()
            raise ProxyFailed("the HTTP proxy answered 407")
        return response

    async def close(self) -> None:
        """Closes all connections, including those in use."""
        self._connector.close()
        self._pool.close()
        ended = list(self._open)
        for connection in ended:
            connection.abort()
        while not self._open.isdisjoint(ended):  # noqa: ASYNC110 wait for the loop to call `connection_lost`
            await asyncio.sleep(0)

    async def _connect(self, place: Place) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(place, loop, self._open.add, self._pool.put, self._open.discard)
        try:
            await self._connector.connect(place, connection)
        except BaseException:
            connection.give_up()
            raise
        return connection
