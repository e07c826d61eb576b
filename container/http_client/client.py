"""Requests over pooled connections: how a connection is opened, the connection, its pool, and the client."""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from aiohappyeyeballs import AddrInfoType, start_connection

from .request import (
    BrokenOff,
    CannotConnect,
    ConnectTimeout,
    Place,
    Proxies,
    Proxy,
    ProxyFailed,
    authority,
    prepared,
)
from .response import Response

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
PIECE = 64 * 1024


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
            if len(body) <= PIECE:
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
        for at in range(0, len(rest), PIECE):
            while self._full and not response.answered:
                self._room = self._loop.create_future()
                try:
                    await self._room
                finally:
                    self._room = None
            if response.answered or self.transport.is_closing():
                return
            self.transport.write(rest[at : at + PIECE])
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
