"""POST over pooled connections.

When is a request sent twice? Never. Calls are paid for, so nothing is sent again that a server may have read. A pooled
connection is looked at right before it is used, and one that the server has closed is passed over while not a byte has
been written. What remains is a server that closes in the very moment in which we write: that is BrokenOff, and whether
to try again is the router's decision.
"""

import asyncio
import ssl
from collections.abc import Mapping

from .connect import Connector
from .connection import Connection
from .pool import Pool
from .request import Place, prepared
from .response import Response


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
