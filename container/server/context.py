"""One HTTP request and its response, and what is noted of it on the way for log, traces and request log."""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from worker.core.api import google
from worker.core.api.errors import ApiError, Dialect, body_too_large, body_too_slow, invalid_request
from worker.core.api.headers import acceptable
from worker.core.ledger.settle import Report
from worker.core.protocol import MASTER, EdgeGrant

from ..request.engine_body import ParsedRequest
from ..routing.health import Outcome
from ..routing.router import Try
from .http import StreamedAnswer, WholeAnswer

if TYPE_CHECKING:
    from worker.core.identity.authenticator import JwtCaller


# Ids of requests and reservations: unique, 32 hexadecimal digits, in chronological order. Ids created together are
# adjacent in the ledger's indexes, so a commit writes few pages.

_COUNT_DIGITS = 5
_process = os.urandom(8).hex()
_count = itertools.count()


def new_request_id() -> str:
    """Milliseconds since 1970 (11 digits), a counter (5) and 64 random bits of this process (16)."""
    return f"{time.time_ns() // 1_000_000:011x}{next(_count) % 16**_COUNT_DIGITS:05x}{_process}"


def _forked() -> None:
    """Ids of two processes must differ."""
    global _process
    _process = os.urandom(8).hex()


os.register_at_fork(after_in_child=_forked)


# What a request records for the request log and for its trace, if they are enabled.


class Capture:
    """The first `most` bytes of the request and response bodies, and their full sizes.

    `events`: the response is an event stream.
    """

    __slots__ = ("_most", "answer", "answer_size", "asked", "asked_size", "events")

    def __init__(self, most: int) -> None:
        self._most = most
        self.asked = b""
        self.asked_size = 0
        self.answer: list[bytes] = []
        self.answer_size = 0
        self.events = False

    def request(self, raw: bytes) -> None:
        self.asked, self.asked_size = raw[: self._most], len(raw)

    def answered(self, data: bytes) -> None:
        room = self._most - self.answer_size
        self.answer_size += len(data)
        if room > 0:
            self.answer.append(data[:room])


class TraceContext(NamedTuple):
    """`trace`: 16 bytes. `parent`: the client's span, 8 bytes, or empty if the trace starts here."""

    trace: bytes
    parent: bytes = b""


class Attempt(NamedTuple):
    """A finished attempt. Times are on `time.monotonic`; `used` is the usage as the provider reported it."""

    step: Try
    outcome: Outcome
    began: float
    ended: float
    stream: bool
    used: Mapping[str, Any] | None


class Trace:
    """The attempts of one request."""

    __slots__ = ("attempts", "context")

    def __init__(self, context: TraceContext) -> None:
        self.context = context
        self.attempts: list[Attempt] = []

    def attempted(self, step: Try, outcome: Outcome, began: float, noted: Mapping[str, Any]) -> None:
        """Record an attempt that has just ended. `noted`: the fields that are also logged."""
        stream, used = bool(noted.get("stream")), noted.get("usage")
        self.attempts.append(Attempt(step, outcome, began, time.monotonic(), stream, used))


Headers = Iterable[tuple[str, str]]

SERVER = "litellm-router"
# Owner of the responses of clients without a key.
ANONYMOUS = "anonymous"
_NOTHING_GRANTED = EdgeGrant()
_NO_ALIASES: Mapping[str, str] = {}
_VALUE = itemgetter(1)


class Pace(NamedTuple):
    """Limits for slow request bodies.

    The client may pause for at most `silence` seconds. After `grace` seconds it must average `rate` bytes per second.
    """

    silence: float
    grace: float
    rate: float


PATIENT = Pace(silence=30.0, grace=60.0, rate=512)


class Attempted(NamedTuple):
    """A successful attempt. `model`: the client's name for it. `usage`: as reported by the provider, if known."""

    step: Try
    model: str
    seconds: float
    stream: bool
    usage: Mapping[str, Any] | None


class SettledReservation(Protocol):
    """`report`: what it was settled with, None before that. `attempts`: those that failed, a JSON list; '' for none."""

    report: Report | None
    attempts: str


class ClientLeft(Exception):
    """The client closed the connection before the response was complete."""


class RequestContext:
    """One request, its response, and what is known about both. Times are seconds on `time.monotonic`.

    The request:
        headers          case-insensitive
        path             raw, without the query
        query            raw, without the question mark and without a Google client's key
        id               the client's `X-Request-Id` (`named`), else `own_id`
        own_id           a unique id, consumed by the first reservation
        dialect          whose format errors are sent in

    The client:
        administrator    the client sent the master key
        key_hash         hash of the virtual key that the client sent
        person           the credential of a person instead of a key; see `worker.core.ledger.callers`
        token            the JWT that the client sent, until it is verified
        caller           who the JWT names, once it is verified
        key_alias        the key's name, '' if it has none or is not known
        key_id           that key's id in the ledger, once it is known
        models           the models that the key may use, and the aliases of its team, as JSON
        aliases          the models that those aliases stand for
        key_assumed      the key was valid a moment ago; admission decides whether it still is, and for the same models
                         (see `key_verified`)
        unsealed         the request uses a response or an item of this key's; see `holder`

    Behind the edge:
        grant            what the edge has granted
        reserved         the reservation will report the final usage
        asked            an upload that was parsed before admission
        release_memory   returns the upload's share of the memory budget

    Metrics, logs and traces:
        endpoint         name of the endpoint
        group            the model's name in the config, or ''
        step             the latest attempt
        attempted        the attempt that succeeded, for the log
        reservation_made the reservation, whose report has the cost once it is settled
        failure          status of a failure after the stream had begun, else 0
        capture          records the bodies when request logging is on
        trace            records the attempts when tracing is on
    """

    __slots__ = (
        "_queried_key",
        "administrator",
        "aliases",
        "always",
        "asked",
        "attempted",
        "began",
        "body_seconds",
        "caller",
        "capture",
        "dialect",
        "endpoint",
        "failure",
        "grant",
        "group",
        "headers",
        "id",
        "kept",
        "key_alias",
        "key_assumed",
        "key_hash",
        "key_id",
        "method",
        "models",
        "named",
        "own_id",
        "path",
        "person",
        "query",
        "release_memory",
        "request",
        "reservation_made",
        "reserved",
        "response",
        "step",
        "token",
        "trace",
        "unsealed",
    )

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.began = time.monotonic()
        self.body_seconds = 0.0
        self.method = request.method
        self.path, _, self.query = request.raw_path.partition("?")
        self.headers = request.headers
        self._queried_key: str | None = None
        self.named = acceptable(self.header("x-request-id"))
        self.own_id = new_request_id()
        self.id = self.named or self.own_id
        self.always: Sequence[tuple[str, str]] = ()  # headers of every response to this request
        self.response: web.StreamResponse | None = None
        self.administrator = False
        self.dialect: Dialect = "openai"
        self.endpoint = "other"
        self.group = ""
        self.failure = 0
        self.step: Try | None = None
        self.attempted: Attempted | None = None
        self.reservation_made: SettledReservation | None = None
        self.capture: Capture | None = None
        self.trace: Trace | None = None
        self.key_hash: str | None = None
        self.person: dict[str, Any] | None = None
        self.token: str | None = None
        self.caller: JwtCaller | None = None
        self.key_alias = ""
        self.key_id = ""
        self.unsealed = False
        self.models = "[]"
        self.aliases: Mapping[str, str] = _NO_ALIASES
        self.grant = _NOTHING_GRANTED
        self.reserved = False
        self.asked: ParsedRequest | None = None
        self.release_memory: Callable[[], None] | None = None
        self.key_assumed = False
        self.kept: bytes | None = None  # the body, kept while it may have to be parsed again

    def header(self, name: str) -> str | None:
        """Return a request header, or None. Repeated lines are joined with commas.

        https://www.rfc-editor.org/rfc/rfc9110#section-5.2
        """
        lines = self.headers.getall(name, ())
        if len(lines) == 1:
            return lines[0]
        if lines:
            return ", ".join(lines)
        return self._queried_key if name == google.KEY_HEADER else None

    def take_key(self) -> None:
        """Take a Google client's key out of the query, because queries end up in logs. It counts as its header."""
        self.query, self._queried_key = google.take_key(self.query)

    def reservation(self) -> tuple[str, str]:
        """Return the id of a new reservation, and the request's id if it differs, else ''.

        The first reservation takes the gateway's own id for the request.
        """
        id, self.own_id = self.own_id or new_request_id(), ""
        return id, self.id if self.id != id else ""

    @property
    def credential(self) -> dict[str, Any] | None:
        """Who makes a call of the admin API, unless it is the master key or nobody."""
        return self.person or (None if self.key_hash is None else {"key": self.key_hash})

    @property
    def owner(self) -> str | None:
        """Hash of the virtual key, `master` for the master key, `jwt:` and a hash for a JWT, or None without keys."""
        if self.caller is not None:
            return self.caller.owner
        return self.key_hash or self.grant.owner or (MASTER if self.administrator else None)

    @property
    def holder(self) -> str:
        """Owner of the responses that this request makes, also after the key's secret was replaced."""
        if self.caller is not None:
            return self.caller.owner
        if self.administrator:
            return MASTER
        return self.key_id or self.grant.key_id or self.grant.owner or ANONYMOUS

    @property
    def started(self) -> bool:
        """Whether a response has begun, so that no other can be sent."""
        return self.response is not None

    async def body(self, limit_mb: float, pace: Callable[[], Pace] = lambda: PATIENT) -> bytes:
        """Read the whole body.

        Raises ApiError 413 above the limit, 415 if the body is compressed, 408 if it is slower than `pace` (called for
        each chunk), and ClientLeft if the client disconnects.
        """
        if self.kept is not None:
            return self.kept
        limit = int(limit_mb * 1024 * 1024)
        if (self.header("content-encoding") or "").strip().lower() not in ("", "identity"):
            message = "Compressed request bodies are not supported."
            raise ApiError(415, "invalid_request_error", message, code="unsupported_encoding")
        if (self.request.content_length or 0) > limit:
            raise body_too_large(limit_mb)
        content, parts, size, began = self.request.content, [], 0, time.monotonic()
        if not content.is_eof() and (self.header("expect") or "").lower() == "100-continue":
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.writer.output_size = 0
        try:
            if content.is_eof() and content.exception() is None:  # the body arrived with the headers, as most do
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
        if self.key_assumed:
            self.kept = raw
        return raw

    def key_verified(self) -> None:
        """The ledger has confirmed the key. The body is no longer needed for a second pass."""
        self.key_assumed, self.kept = False, None

    async def start(self, status: int, headers: Headers, content_type: str) -> None:
        """Start a stream. Follow with `write` and `finish`."""
        response = StreamedAnswer(status=status, headers=self._headers(headers, content_type))
        self.response = response
        if self.capture is not None:
            self.capture.events = content_type.startswith("text/event-stream")
        await response.prepare(self.request)

    async def write(self, data: bytes) -> None:
        """Raises ClientLeft when the client has disconnected."""
        assert self.response is not None, "start comes first"
        if self.capture is not None:
            self.capture.answered(data)
        try:
            await self.response.write(data)
        except ConnectionError:
            raise ClientLeft from None

    async def finish(self, data: bytes = b"") -> None:
        """End the stream. Raises ClientLeft when the client has disconnected."""
        if data:
            await self.write(data)
        assert self.response is not None, "start comes first"
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise ClientLeft from None

    def respond(self, status: int, data: bytes, headers: Headers = (), content_type: str = "application/json") -> None:
        """Set the complete response. It is sent when the handler returns, without its body for HEAD."""
        if self.capture is not None:
            self.capture.answered(data)
        self.response = WholeAnswer(status, self._headers(headers, content_type), data)

    def error(self, error: ApiError) -> None:
        self.respond(error.status, error.body(self.dialect), error.headers)

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
    """Read the next chunk of a body. Raises ApiError 408 on timeout."""
    try:
        async with asyncio.timeout(seconds):
            return await content.readany()
    except TimeoutError:
        raise body_too_slow() from None


def _sendable(value: str) -> str:
    """Replace characters that a header cannot carry. Model names may contain any."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value)
