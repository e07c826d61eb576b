"""Benchmark of tracing a request with one attempt: `.venv/bin/python -m tests.tracing.figures`.

Microseconds of CPU, here and with OpenTelemetry's SDK, on the request's thread and on the thread that builds and
encodes spans. It reports the best of several rounds, because other load only adds time.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, set_span_in_context

from container.config.deployment import Deployment
from container.config.observability import Sampler
from container.records import traces
from container.records.traces import Finished, Trace, context, spans
from container.routing.health import Outcome
from container.routing.router import Target, Try

REQUESTS, BATCH, ROUNDS = 5_000, 256, 5
STEP = Try(
    Target(Deployment("abc", "gpt", "openai", "gpt-4o", "direct", (), (), "https://api.openai.com/v1"), "gpt-4o"),
    "gpt",
    0,
    0,
)
OUTCOME = Outcome("ok", 200)
NOTED = {"stream": False, "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
ALWAYS = Sampler(True, 1.0)


def noted() -> Finished:
    """Records spans the way `container.records.traces` does."""
    found = context(None, ALWAYS)
    assert found is not None
    trace = Trace(found)
    trace.attempted(STEP, OUTCOME, time.monotonic(), NOTED)
    now = time.monotonic()
    clock = time.time_ns() - int(now * 1e9)
    return Finished(found, clock, now, now, "chat_completions", "gpt", "b" * 32, "c" * 64, 200, 200, trace.attempts)


def sdks(provider: TracerProvider, root: traces.Span, attempt: traces.Span) -> None:
    """The same two spans, made by the SDK's tracer."""
    tracer = provider.get_tracer("figures")
    outer = tracer.start_span(root.name, kind=SpanKind.SERVER, attributes=root.attributes)
    inner = tracer.start_span(
        attempt.name, set_span_in_context(outer), kind=SpanKind.CLIENT, attributes=attempt.attributes
    )
    inner.end()
    outer.end()


def best(work: Callable[[], Any], requests: int) -> float:
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / requests * 1e6)
    return min(found)


def repeated(work: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REQUESTS):
            work()

    return run


def encoded(done: Iterable[Finished]) -> bytes:
    return traces.request({}, "figures", "1", [span for one in done for span in spans(one)])


def main() -> None:
    batch = [noted() for _ in range(BATCH)]
    root, attempt = spans(batch[0])
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(BATCH):
        sdks(provider, root, attempt)
    theirs = kept.get_finished_spans()
    own = best(repeated(noted), REQUESTS), best(lambda: encoded(batch), BATCH)
    bare = TracerProvider()  # without the span processor, which belongs to the other thread
    sdk = (
        best(repeated(lambda: sdks(bare, root, attempt)), REQUESTS),
        best(lambda: encode_spans(theirs).SerializeToString(), BATCH),
    )
    for name, (request, thread) in (("here", own), ("opentelemetry-sdk", sdk)):
        print(f"{name:20} request {request:6.1f} µs   thread {thread:6.1f} µs")


if __name__ == "__main__":
    main()
