"""POST requests over pooled connections."""

import asyncio
import ssl
from collections.abc import Mapping

from .connection import Connection, Connector
from .proxies import Proxies
from .request import Place, ProxyFailed, prepared
from .response import Response

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
