"""Writes a response to the socket, including the requested faults."""

import asyncio
import gzip
import socket
import struct
import time
import zlib
from typing import NoReturn

from aiohttp import web

from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.formats.base import Events, Format
from tests.fakes.record import Recorded

MID_STREAM = frozenset(
    {Fault.RESET_MID_STREAM, Fault.HANG_MID_STREAM, Fault.HALF_CHUNK, Fault.END_EARLY, Fault.ERROR_MID_STREAM}
)
HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<h1>Bad Gateway</h1>\r\n</body>\r\n</html>\r\n"
)
GARBAGE = b'{"id": "fake", "choices": [{"index": 0, "mess'
OVERLOADED = "The fake provider is overloaded."
# Long enough for the client to read everything before a reset.
SETTLE = 0.05


class Exchange:
    """One request and its response."""

    def __init__(self, request: web.BaseRequest, seen: Recorded, behaviour: Behaviour) -> None:
        self.request = request
        self.seen = seen
        self.behaviour = behaviour
        self.broken_off = False  # by us, not by the client

    async def plain(self, body: bytes, format: Format, content_type: str = "application/json") -> web.StreamResponse:
        fault = self.behaviour.fault
        if fault in (Fault.ERROR_FIRST_EVENT, Fault.ERROR_MID_STREAM):
            body = format.error_event(OVERLOADED).partition(b"data: ")[2].strip()
        elif fault is Fault.HTML_PAGE:
            body, content_type = HTML, "text/html"
        elif fault is Fault.GARBAGE_JSON:
            body = GARBAGE
        elif fault is Fault.END_EARLY:
            body = body[: len(body) // 2]
        if self.behaviour.gzip:
            body = gzip.compress(body, mtime=0)
        await self._before_body(len(body), body, content_type)
        headers = self._headers(content_type)
        if fault not in MID_STREAM and fault is not Fault.HANG_AFTER_HEADERS and self.behaviour.trickle is None:
            return web.Response(body=body, status=self.behaviour.status, headers=headers)
        response = web.StreamResponse(status=self.behaviour.status, headers=headers)
        response.content_length = len(body)
        await response.prepare(self.request)
        if fault is Fault.HANG_AFTER_HEADERS:
            await self._hang()
        if fault in MID_STREAM and fault not in (Fault.END_EARLY, Fault.ERROR_MID_STREAM):
            await self._write(response, body[: len(body) // 2])
            await self._break_off(fault)
        await self._write(response, body)
        return response

    async def stream(
        self, events: Events, format: Format, pace: float, steps: asyncio.Semaphore | None = None
    ) -> web.StreamResponse:
        """`steps` is awaited before each content event. With None, events follow `pace`."""
        behaviour = self.behaviour
        fault = behaviour.fault
        if fault in (Fault.HTML_PAGE, Fault.GARBAGE_JSON, Fault.ERROR_FIRST_EVENT):
            page = {
                Fault.HTML_PAGE: HTML,
                Fault.GARBAGE_JSON: b"data: " + GARBAGE + b"\n\n",
                Fault.ERROR_FIRST_EVENT: format.error_event(OVERLOADED),
            }[fault]
            events = Events(head=[page])
        content_type = "text/html" if fault is Fault.HTML_PAGE else "text/event-stream; charset=utf-8"
        await self._before_body(None, b"".join(_flat(events)), content_type)
        response = web.StreamResponse(status=behaviour.status, headers=self._headers(content_type))
        await response.prepare(self.request)
        if fault is Fault.HANG_AFTER_HEADERS:
            await self._hang()
        compressor = zlib.compressobj(wbits=31) if behaviour.gzip else None
        for event in events.head:
            await self._event(response, event, compressor)
        for index, event in enumerate(events.content):
            if index and pace:
                await asyncio.sleep(pace)
            if steps is not None:
                await steps.acquire()
            if index >= behaviour.after and fault in MID_STREAM:
                return await self._end_mid_stream(response, event, format, compressor)
            await self._event(response, event, compressor)
            self.seen.events_sent += 1
        if fault in MID_STREAM:
            return await self._end_mid_stream(response, events.tail[0] if events.tail else b"", format, compressor)
        for event in (*events.tail, events.end):
            await self._event(response, event, compressor)
        if compressor is not None:
            await response.write(compressor.flush())
        await response.write_eof()
        return response

    async def hang_or_reset_before_headers(self) -> None:
        if self.behaviour.fault is Fault.HANG_BEFORE_HEADERS:
            await self._hang()
        if self.behaviour.fault is Fault.RESET_BEFORE_HEADERS:
            await self._reset()

    async def _before_body(self, length: int | None, body: bytes, content_type: str) -> None:
        """Faults in the head of the response, or in both the head and the body."""
        fault = self.behaviour.fault
        if fault is Fault.RESET_AFTER_HEADERS:
            self._raw_head(length, content_type)
            await asyncio.sleep(SETTLE)
            await self._reset()
        if fault is Fault.CONTENT_LENGTH_TOO_LONG:
            self._raw_head(len(body) + 100, content_type)
            await self._close(body)
        if fault is Fault.CONTENT_LENGTH_TOO_SHORT:
            self._raw_head(max(1, len(body) - 20), content_type)
            await self._close(body)

    async def _end_mid_stream(
        self, response: web.StreamResponse, event: bytes, format: Format, compressor: "zlib._Compress | None"
    ) -> web.StreamResponse:
        fault = self.behaviour.fault
        if fault is Fault.ERROR_MID_STREAM:
            await self._event(response, format.error_event(OVERLOADED), compressor)
        elif fault is Fault.HALF_CHUNK:
            await self._event(response, event[: len(event) // 2], compressor)
        if fault in (Fault.ERROR_MID_STREAM, Fault.END_EARLY):
            await response.write_eof()
            return response
        await self._break_off(fault)

    async def _event(self, response: web.StreamResponse, event: bytes, compressor: "zlib._Compress | None") -> None:
        if self.behaviour.crlf:
            event = event.replace(b"\n", b"\r\n")
        if compressor is not None:
            event = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if event:
            await self._write(response, event)

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if self.behaviour.trickle is None:
            await response.write(data)
            return
        for index in range(len(data)):
            await response.write(data[index : index + 1])
            await asyncio.sleep(self.behaviour.trickle)

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"content-type": content_type, "x-request-id": f"req_fake_{self.seen.number}"}
        if self.behaviour.gzip:
            headers["content-encoding"] = "gzip"
        headers.update(self.behaviour.headers)
        return headers

    def _raw_head(self, length: int | None, content_type: str) -> None:
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [f"HTTP/1.1 {self.behaviour.status} Fake", framing]
        lines += [f"{name}: {value}" for name, value in self._headers(content_type).items()]
        self._transport.write("\r\n".join((*lines, "", "")).encode())

    async def _break_off(self, fault: Fault) -> NoReturn:
        if fault is Fault.HANG_MID_STREAM:
            await self._hang()
        if fault is Fault.RESET_MID_STREAM:
            await asyncio.sleep(SETTLE)
            await self._reset()
        await self._close()

    async def _hang(self) -> NoReturn:
        """Waits until the client disconnects or the server stops, which cancels the handler."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    async def _reset(self) -> NoReturn:
        """Ends the connection with a TCP reset."""
        self.broken_off = True
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()
        await self._hang()

    async def _close(self, last: bytes = b"") -> NoReturn:
        """Closes the connection normally, in the middle of the HTTP message."""
        self.broken_off = True
        if last:
            self._transport.write(last)
        self._transport.close()
        await self._hang()

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        return transport

    def finished(self) -> None:
        self.seen.finished_at = time.monotonic()

    def cancelled(self) -> None:
        if not self.broken_off:
            self.seen.disconnected_at = time.monotonic()


def _flat(events: Events) -> list[bytes]:
    return [*events.head, *events.content, *events.tail, events.end]
