"""Reads trace contexts and encodes spans as OTLP. No I/O."""

import functools
import random
import re
from collections.abc import Iterable, Mapping
from struct import pack
from typing import NamedTuple
from urllib.parse import urlsplit

from worker.core.api.endpoints import ALL, GOOGLE
from worker.core.pricing.usage import usage

from ..config.observability import Sampler
from ..observability.metrics import CLIENT_LEFT
from ..server.context import Attempt, TraceContext

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
