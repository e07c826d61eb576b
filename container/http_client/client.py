"""POST over pooled connections."""

import asyncio
import ssl
from collections.abc import Mapping

from .connection import Connection, Connector
from .request import Place, prepared
from .response import Response

# Providers close theirs after some time, without a word: the shorter ours, the seldomer both happen at once.
IDLE_SECONDS = 15.0


class Pool:
    """One timer looks after all of them, and only while there are any."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._idle: dict[Place, list[Connection]] = {}  # each list from the longest idle to the latest
        self._timer: asyncio.TimerHandle | None = None

    def take(self, place: Place) -> Connection | None:
        """A connection that is alive as far as can be known on this side."""
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
    """To be made and used in one event loop. `context`: instead of the default trust store."""

    def __init__(self, *, connect_timeout: float, context: ssl.SSLContext | None = None) -> None:
        self._connector = Connector(connect_timeout, context)
        self._pool = Pool()
        self._open: set[Connection] = set()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, idle: float | None = None) -> Response:
        """The answer, its body still to be read. `idle`: seconds without a byte after which Silent is raised.

        Redirects are not followed and cookies not kept. Raises HttpError or Silent; when cancelled the connection is
        closed.
        """
        place, head = prepared(url, tuple(headers.items()))
        connection = self._pool.take(place) or await self._connect(place)
        return await connection.ask(b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body, idle)

    async def close(self) -> None:
        """Ends every connection, those in use, too."""
        self._connector.close()
        self._pool.close()
        ended = list(self._open)
        for connection in ended:
            connection.abort()
        while not self._open.isdisjoint(ended):  # noqa: ASYNC110 the loop's next turns tell each that it is lost
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
