"""One connection: carries one request at a time, and knows whether it can carry another."""

import asyncio
import select
from collections.abc import Callable
from typing import cast

from .errors import BrokenOff
from .request import Place
from .response import Response

# What is handed to the transport in one piece; a larger body goes out as the server takes it.
PIECE = 64 * 1024


class Connection(asyncio.Protocol):
    """`made` is called when it is open, `released` whenever it is free again, `lost` once when it is gone."""

    def __init__(
        self,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        made: Callable[["Connection"], None],
        released: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.place = place
        self.transport: asyncio.Transport  # from `connection_made` on
        self._known = False  # to whoever counts connections
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
        """Sends a request and waits for the head of the answer. `idle`: as for Response. Raises BrokenOff or Silent.

        A server that refuses while the body is under way is sent no more of it, and the connection is not used again.
        """
        if self.transport.is_closing():
            raise BrokenOff("closed as soon as it was made")
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
        """Whether an idle connection can be used: the server has neither closed it nor said anything unasked."""
        return not self.transport.is_closing() and not self._poll.poll(0)

    def done(self, reusable: bool) -> None:
        """The answer is whole."""
        self._response = None
        if reusable and not self._sending and not self.transport.get_write_buffer_size():
            self.idle_since = self._loop.time()
            self._released(self)
        else:
            self.abort()
        self._make_room()

    def abort(self) -> None:
        """Ends it at once, and with it the answer under way."""
        self._end(ConnectionAbortedError())
        self.transport.abort()

    def give_up(self) -> None:
        """Nobody waits for it any more. uvloop may yet call `connection_made`, and `connection_lost` never."""
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
        # What the event loop has not yet been told shows here: a server that closes while we are busy elsewhere.
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # nobody has asked
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
