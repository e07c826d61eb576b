"""Reads trace contexts, encodes spans as OTLP, and exports them to the collector from a separate thread."""

import functools
import gzip
import random
import re
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from struct import pack
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from worker.core.api.endpoints import ALL, GOOGLE
from worker.core.pricing.usage import usage

from .. import VERSION
from ..config.observability import SERVICE, Sampler
from ..config.observability import Tracing as Options
from ..observability import log, metrics
from ..observability.metrics import CLIENT_LEFT
from ..server.context import Attempt, RequestContext, Trace, TraceContext

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_SAMPLED = 1
_WHOLE = 1 << 64


def context(traceparent: str | None, sampler: Sampler) -> TraceContext | None:
    """Return None for a request that is not sampled. An invalid header is ignored."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or (found[1] == "00" and found[5]):
        trace = random.getrandbits(128)
        return TraceContext(trace.to_bytes(16, "big")) if _drawn(trace, sampler.ratio) else None
    trace = int(found[2], 16)
    traced = int(found[4], 16) & _SAMPLED if sampler.parent else _drawn(trace, sampler.ratio)
    return TraceContext(bytes.fromhex(found[2]), bytes.fromhex(found[3])) if traced else None


def new_span() -> bytes:
    return random.getrandbits(64).to_bytes(8, "big")


def _drawn(trace: int, ratio: float) -> bool:
    """Sample like OpenTelemetry's SDKs, so that services with the same ratio trace the same requests."""
    return trace % _WHOLE < round(ratio * _WHOLE)


SERVER, CLIENT = 2, 3
Value = str | int | float | bool

_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
_SAMPLED_FLAG = 1
_ERROR = b"\x18\x02"


class Span(NamedTuple):
    """`kind`: SERVER or CLIENT. `start` and `end`: nanoseconds since 1970. `parent`: empty for a root span. `remote`:
    the parent belongs to another service."""

    trace: bytes
    id: bytes
    parent: bytes
    remote: bool
    name: str
    kind: int
    start: int
    end: int
    attributes: Mapping[str, Value]
    failed: bool


def request(resource: Mapping[str, Value], scope: str, version: str, spans: Iterable[Span]) -> bytes:
    """Encode an ExportTraceServiceRequest."""
    of_scope = _text(0x0A, scope) + _text(0x12, version)
    scope_spans = _bytes(0x0A, of_scope) + b"".join([_bytes(0x12, _span(span)) for span in spans])
    of_resource = b"".join([_attribute(0x0A, name, value) for name, value in resource.items()])
    return _bytes(0x0A, _bytes(0x0A, of_resource) + _bytes(0x12, scope_spans))


def _span(span: Span) -> bytes:
    parts = [_bytes(0x0A, span.trace), _bytes(0x12, span.id)]
    if span.parent:
        parts.append(_bytes(0x22, span.parent))
    parts += (_text(0x2A, span.name), b"\x30", _varint(span.kind), pack("<BQBQ", 0x39, span.start, 0x41, span.end))
    parts += [_attribute(0x4A, name, value) for name, value in span.attributes.items()]
    if span.failed:
        parts.append(_bytes(0x7A, _ERROR))
    flags = _SAMPLED_FLAG | _REMOTE_KNOWN | (_REMOTE if span.remote else 0)
    parts.append(pack("<HI", 0x185, flags))  # the tag of field 16 takes two bytes: 0x85 0x01
    return b"".join(parts)


@functools.lru_cache(4096, typed=True)  # typed, because True == 1
def _attribute(tag: int, name: str, value: Value) -> bytes:
    """Encode an attribute. Cached, because most values recur from span to span."""
    if isinstance(value, bool):
        said = b"\x10\x01" if value else b"\x10\x00"
    elif isinstance(value, int):
        said = b"\x18" + _varint(value % (1 << 64))
    elif isinstance(value, float):
        said = pack("<Bd", 0x21, value)
    else:
        said = _text(0x0A, value)
    return _bytes(tag, _text(0x0A, name) + _bytes(0x12, said))


def _text(tag: int, text: str) -> bytes:
    return _bytes(tag, text.encode("utf-8", "replace"))


def _bytes(tag: int, data: bytes) -> bytes:
    size = len(data)
    return (bytes((tag, size)) if size < 128 else bytes((tag,)) + _varint(size)) + data


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


ROUTES = {e.name: e.path if e.name in GOOGLE else f"/v1{e.path}" for e in ALL if e.billable}
_OPERATIONS = {
    "chat_completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "stream_generate_content": "generate_content",
    "embed_content": "embeddings",
    "batch_embed_contents": "embeddings",
}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_PORTS = {"http": 80, "https": 443}
_LONGEST = 256
_LEFT = "client_left"


class Finished(NamedTuple):
    """A finished request. `clock`: nanoseconds since 1970 minus `time.monotonic`. `sent`: status that the client saw,
    or 0. `status`: final status."""

    context: TraceContext
    clock: int
    began: float
    ended: float
    endpoint: str
    group: str
    request_id: str
    owner: str | None
    sent: int
    status: int
    attempts: list[Attempt]

    @property
    def spans(self) -> int:
        return 1 + len(self.attempts)


def spans(done: Finished) -> list[Span]:
    """Return the request's span, then those of its attempts in order."""
    id = new_span()
    whole = Span(
        done.context.trace,
        id,
        done.context.parent,
        bool(done.context.parent),
        f"POST {ROUTES[done.endpoint]}",
        SERVER,
        _nanoseconds(done, done.began),
        _nanoseconds(done, done.ended),
        _of_request(done),
        done.status >= 500,
    )
    return [whole, *(_attempt(done, id, one) for one in done.attempts)]


def _attempt(done: Finished, parent: bytes, one: Attempt) -> Span:
    operation = _OPERATIONS.get(done.endpoint, done.endpoint)
    return Span(
        done.context.trace,
        new_span(),
        parent,
        False,
        f"{operation} {one.step.target.model}"[:_LONGEST],
        CLIENT,
        _nanoseconds(done, one.began),
        _nanoseconds(done, one.ended),
        _of_attempt(one, operation),
        not one.outcome.ok and one.outcome.status != CLIENT_LEFT,
    )


def _of_request(done: Finished) -> dict[str, Value]:
    found: dict[str, Value] = {
        "http.request.method": "POST",
        "http.route": ROUTES[done.endpoint],
        "litellm_router.request_id": done.request_id,
        "litellm_router.model_group": done.group,
    }
    if done.sent:
        found["http.response.status_code"] = done.sent
    if done.owner:
        found["litellm_router.key"] = done.owner
    if done.attempts:
        last = done.attempts[-1].step
        found["litellm_router.retries"] = last.retries
        found["litellm_router.fallbacks"] = last.fallbacks
    if done.status == CLIENT_LEFT:
        found["error.type"] = _LEFT
    elif done.status >= 500:
        found["error.type"] = str(done.status)
    return found


def _of_attempt(one: Attempt, operation: str) -> dict[str, Value]:
    step, outcome = one.step, one.outcome
    d = step.target.deployment
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(d.provider, d.provider),
        "gen_ai.request.model": step.target.model[:_LONGEST],
        "gen_ai.request.stream": one.stream,
        "litellm_router.deployment": d.id,
        "litellm_router.model_group": d.group,
        "litellm_router.outcome": outcome.kind,
    }
    found.update(_server(d.base))
    if outcome.status and outcome.status != CLIENT_LEFT:
        found["http.response.status_code"] = outcome.status
    if not outcome.ok:
        found["error.type"] = _LEFT if outcome.status == CLIENT_LEFT else outcome.kind
    elif one.stream and outcome.latency is not None:
        found["gen_ai.response.time_to_first_chunk"] = outcome.latency
    if one.used:
        used = usage(one.used)
        found["gen_ai.usage.input_tokens"] = used.prompt
        found["gen_ai.usage.output_tokens"] = used.completion
        if used.cached:
            found["gen_ai.usage.cache_read.input_tokens"] = used.cached
        if used.reasoning:
            found["gen_ai.usage.reasoning.output_tokens"] = used.reasoning
    return found


@functools.cache
def _server(base: str) -> dict[str, Value]:
    """Return only host and port of a URL: the rest may contain a user, password or key."""
    if not base:
        return {}
    parts = urlsplit(base)
    return {"server.address": parts.hostname or "", "server.port": parts.port or _PORTS[parts.scheme]}


def _nanoseconds(done: Finished, at: float) -> int:
    return done.clock + int(at * 1e9)


# Statuses for which OTLP asks for a retry.
_AGAIN = (429, 502, 503, 504)
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
# Seconds after which undelivered spans are dropped in favor of newer ones.
_PATIENCE = 120.0
_CLOSING = 5.0


class Tracing:
    """Exports the traces of this process. Shared by all configs. Raises OSError for an unreadable certificate."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._resource = {
            "service.version": VERSION,
            "service.instance.id": str(uuid.uuid4()),
            **options.resource,
            "telemetry.sdk.name": SERVICE,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": VERSION,
        }
        self._headers = {**options.headers, "content-type": "application/x-protobuf"}
        if options.gzip:
            self._headers["content-encoding"] = "gzip"
        self._opener = _opener(options.certificate)
        self._queue: deque[Finished] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._end = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def begin(self, traceparent: str | None) -> Trace | None:
        """Return None for a request that is not sampled."""
        found = context(traceparent, self._options.sampler)
        return None if found is None else Trace(found)

    def ended(self, context: RequestContext, status: int) -> None:
        """Queue a finished request for export."""
        trace = context.trace
        if trace is None or context.endpoint not in ROUTES:
            return
        now = time.monotonic()
        done = Finished(
            trace.context,
            time.time_ns() - int(now * 1e9),
            context.began,
            now,
            context.endpoint,
            context.group,
            context.id,
            context.owner,
            context.response.status if context.response is not None else 0,
            status,
            trace.attempts,
        )
        with self._lock:
            if self._waiting + done.spans > self._options.queue:
                metrics.spans_dropped.add(amount=done.spans)
                return
            self._waiting += done.spans
            self._queue.append(done)
            full = self._waiting >= self._options.batch
        if full:
            self._wake.set()

    def close(self) -> None:
        """Wait a few seconds at most until everything is sent."""
        self._end.set()
        self._wake.set()
        self._thread.join(_CLOSING)

    def _work(self) -> None:
        while True:
            self._wake.wait(self._options.delay)
            self._wake.clear()
            ending = self._end.is_set()
            while batch := self._batch():
                self._deliver(batch)
            if ending:
                return

    def _batch(self) -> list[Finished]:
        """Return the oldest requests, up to the batch size. They count as waiting until they are sent."""
        with self._lock:
            batch, size = [], 0
            while self._queue and (not batch or size + self._queue[0].spans <= self._options.batch):
                batch.append(self._queue.popleft())
                size += batch[-1].spans
            return batch

    def _deliver(self, batch: list[Finished]) -> None:
        number, sent = sum(done.spans for done in batch), False
        try:
            made = [span for done in batch for span in spans(done)]
            data = request(self._resource, SERVICE, VERSION, made)
            sent = self._sent(gzip.compress(data) if self._options.gzip else data)
        except Exception as error:  # noqa: BLE001 the next batch may succeed
            self._complain(type(error).__name__)
        with self._lock:
            self._waiting -= number
            (metrics.spans_sent if sent else metrics.spans_dropped).add(amount=number)

    def _sent(self, data: bytes) -> bool:
        """Send a batch, with retries for a limited time. Return whether the collector accepted it."""
        end, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
        while True:
            wanted: float | None = None
            try:
                request = Request(self._options.endpoint, data, self._headers, method="POST")  # noqa: S310 http(s), checked
                with self._opener.open(request, timeout=self._options.timeout) as answer:
                    answer.read(1024)
                if self._away:
                    self._away = False
                    log.info("traces_back")
                return True
            except HTTPError as error:
                error.close()
                self._complain(f"HTTP {error.code}")
                if error.code not in _AGAIN:
                    return False
                wanted = _seconds(error.headers.get("retry-after"))
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                self._complain(type(reason).__name__)
            if self._end.is_set() or time.monotonic() + (wanted or pause) > end:
                return False
            self._end.wait(wanted or pause)  # interrupted at shutdown, for a last attempt
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _complain(self, error: str) -> None:
        if not self._away:
            log.warning("traces_lost", error=error, effect="Traces are not sent; requests go on.")
        self._away = True


class _NoRedirect(HTTPRedirectHandler):
    """Headers may contain a secret that is meant for one address only."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener(certificate: str | None) -> OpenerDirector:
    return build_opener(_NoRedirect(), HTTPSHandler(context=ssl.create_default_context(cafile=certificate)))


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    return min(float(text), _LONGEST_PAUSE) if text.isascii() and text.isdigit() else None
