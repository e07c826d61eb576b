"""One HTTP request and its response: headers in, body in, answer out.

On aiohttp's low-level server, which cost a third less CPU per request than ASGI servers (bench/), and which cancels
the task that answers when the client closes its connection.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from worker.core.api.errors import ApiError, body_too_large, body_too_slow, invalid_request
from worker.core.api.request_ids import acceptable
from worker.core.protocol import EdgeGrant

from ..request.parsed_request import ParsedRequest
from ..routing.router import Try
from . import ids
from .recording import Capture, Trace
from .whole_answer import WholeAnswer

Headers = Iterable[tuple[str, str]]

SERVER = "litellm-router"
_NOTHING_GRANTED = EdgeGrant()
_VALUE = itemgetter(1)


class Pace(NamedTuple):
    """How slow a body may be: never silent for `silence` seconds, and after `grace` seconds it has to have come at
    `rate` bytes a second."""

    silence: float
    grace: float
    rate: float


PATIENT = Pace(silence=30.0, grace=60.0, rate=512)


class _Stream(web.StreamResponse):
    """Its head leaves with its first bytes, in one packet."""

    _send_headers_immediately = False


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


class RequestContext:
    """`headers`: the request's, whatever their case; `path`: raw, without the query. `id`: what the client has `named`
    the request, else `own_id`, which is unique until a reservation has taken it. Times in seconds on
    `time.monotonic`. `key_hash`: of the virtual key presented; `models`: those that it may use, in JSON;
    `recognised`: the key was good a moment ago, and whether it still is, and with the same models, comes out when the
    request is admitted (`key_verified`);
    `anthropic`: errors are told as Anthropic's clients expect them; `administrator`: whether the client is the one who
    holds the master key.

    Behind the edge, `grant`: what it has granted; `reserved`: the request's end will be reported by its reservation;
    `asked`: an upload, read before it was let in, and `release_memory`: gives back the room that it takes.

    For who counts, `endpoint`; `group`: the config's name of the model, '' without one; `step`: the attempt made last;
    `failure`: the status that a stream would have got had it not begun, else 0; `capture`: what keeps the bodies, where
    they are logged; `trace`: what notes the attempts, where they are traced.
    """

    __slots__ = (
        "administrator",
        "always",
        "anthropic",
        "asked",
        "began",
        "body_seconds",
        "capture",
        "endpoint",
        "failure",
        "grant",
        "group",
        "headers",
        "id",
        "kept",
        "key_hash",
        "method",
        "models",
        "named",
        "own_id",
        "path",
        "recognised",
        "release_memory",
        "request",
        "reserved",
        "response",
        "step",
        "trace",
    )

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.began = time.monotonic()
        self.body_seconds = 0.0
        self.method = request.method
        self.path = request.raw_path.partition("?")[0]
        self.headers = request.headers
        self.named = acceptable(self.header("x-request-id"))
        self.own_id = ids.new()
        self.id = self.named or self.own_id
        self.always: Sequence[tuple[str, str]] = ()  # headers of every answer to this request
        self.response: web.StreamResponse | None = None
        self.administrator = False
        self.anthropic = False
        self.endpoint = "other"
        self.group = ""
        self.failure = 0
        self.step: Try | None = None
        self.capture: Capture | None = None
        self.trace: Trace | None = None
        self.key_hash: str | None = None
        self.models = "[]"
        self.grant = _NOTHING_GRANTED
        self.reserved = False
        self.asked: ParsedRequest | None = None
        self.release_memory: Callable[[], None] | None = None
        self.recognised = False
        self.kept: bytes | None = None  # the body, while it may have to be looked at a second time

    def header(self, name: str) -> str | None:
        """A request header; several lines of it joined with commas, as HTTP defines them, None without any.

        https://www.rfc-editor.org/rfc/rfc9110#section-5.2
        """
        lines = self.headers.getall(name, ())
        if len(lines) == 1:
            return lines[0]
        return ", ".join(lines) if lines else None

    def reservation(self) -> tuple[str, str]:
        """A reservation's id, and the request's id where that is another one, else ''. The first reservation has the
        gateway's own id of the request."""
        id, self.own_id = self.own_id or ids.new(), ""
        return id, self.id if self.id != id else ""

    @property
    def owner(self) -> str | None:
        """Whose request it is: the hash of a virtual key, `master`, or None where there are no keys."""
        return self.key_hash or self.grant.owner or ("master" if self.administrator else None)

    @property
    def started(self) -> bool:
        """Whether the client has part of an answer, so that nothing else can be said."""
        return self.response is not None

    async def body(self, limit_mb: float, pace: Callable[[], Pace] = lambda: PATIENT) -> bytes:
        """The whole body. Raises ApiError 413 over the limit, 415 when compressed, 408 when it comes more slowly than
        at its pace, which is asked for each part of it, ClientLeft when it breaks off."""
        if self.kept is not None:
            return self.kept
        limit = int(limit_mb * 1024 * 1024)
        if (self.header("content-encoding") or "").strip().lower() not in ("", "identity"):
            raise ApiError(
                415, "invalid_request_error", "Compressed request bodies are not taken.", code="unsupported_encoding"
            )
        if (self.request.content_length or 0) > limit:
            raise body_too_large(limit_mb)
        content, parts, size, began = self.request.content, [], 0, time.monotonic()
        if not content.is_eof() and (self.header("expect") or "").lower() == "100-continue":
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.writer.output_size = 0
        try:
            if content.is_eof() and content.exception() is None:  # it came with its head, as most do
                whole = content.read_nowait()
                if len(whole) > limit:
                    raise body_too_large(limit_mb)
                return self._read(whole)
            while not content.at_eof():
                if content.is_eof():
                    part = await content.readany()
                else:
                    silence, grace, rate = pace()
                    left = grace + size / rate - (time.monotonic() - began)
                    part = await _next(content, min(left, silence))
                size += len(part)
                if size > limit:
                    raise body_too_large(limit_mb)
                parts.append(part)
        except (HttpProcessingError, web.RequestPayloadError) as error:
            raise invalid_request(f"The request's body cannot be read: {type(error).__name__}.") from None
        except ConnectionError:
            raise ClientLeft from None
        return self._read(parts[0] if len(parts) == 1 else b"".join(parts))

    def _read(self, raw: bytes) -> bytes:
        self.body_seconds = time.monotonic() - self.began
        if self.capture is not None:
            self.capture.request(raw)
        if self.recognised:
            self.kept = raw
        return raw

    def key_verified(self) -> None:
        """What the ledger says of the key is known now."""
        self.recognised, self.kept = False, None

    async def start(self, status: int, headers: Headers, content_type: str) -> None:
        """The head of a stream; `write` and `finish` follow."""
        response = _Stream(status=status, headers=self._headers(headers, content_type))
        self.response = response
        if self.capture is not None:
            self.capture.events = content_type.startswith("text/event-stream")
        await response.prepare(self.request)

    async def write(self, data: bytes) -> None:
        """Raises ClientLeft when there is nobody to write to."""
        assert self.response is not None, "start comes first"
        if self.capture is not None:
            self.capture.answered(data)
        try:
            await self.response.write(data)
        except ConnectionError:
            raise ClientLeft from None

    async def finish(self, data: bytes = b"") -> None:
        """The end of a stream."""
        if data:
            await self.write(data)
        assert self.response is not None, "start comes first"
        await self.response.write_eof()

    def respond(self, status: int, data: bytes, headers: Headers = (), content_type: str = "application/json") -> None:
        """A whole answer, sent as soon as the request has been dealt with; to HEAD without its body."""
        if self.capture is not None:
            self.capture.answered(data)
        self.response = WholeAnswer(status, self._headers(headers, content_type), data)

    def error(self, error: ApiError) -> None:
        self.respond(error.status, error.body(anthropic=self.anthropic), error.headers)

    def _headers(self, headers: Headers, content_type: str) -> list[tuple[str, str]]:
        lines = [
            ("content-type", content_type),
            ("server", SERVER),
            ("x-request-id", self.id),
            *headers,
            *self.always,
        ]
        values = "".join(map(_VALUE, lines))
        if values.isascii() and values.isprintable():
            return lines
        return [(name, _sendable(value)) for name, value in lines]


async def _next(content: StreamReader, seconds: float) -> bytes:
    """More of a body. Raises ApiError 408 when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await content.readany()
    except TimeoutError:
        raise body_too_slow() from None


def _sendable(value: str) -> str:
    """A header value that can be sent: names of models may hold anything."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value)
