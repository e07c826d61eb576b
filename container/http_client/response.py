"""A streaming response: fed by its connection, decompressed in small pieces, and read by the caller."""

import asyncio
import zlib
from itertools import chain
from typing import Protocol

import httptools

from .request import BadBody, BrokenOff, Silent

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
