"""An OpenTelemetry collector on loopback. It accepts OTLP over HTTP and parses it with the official protobuf
messages.
"""

import gzip
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ERROR = 2
SERVER, CLIENT = 2, 3


class Seen(NamedTuple):
    """One span. `parent` is '' at the root, `start` and `end` are in nanoseconds, `resource` is the service's."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    scope: str
    flags: int


class Collector:
    """`answers`: statuses for the next requests, then 200. `paths` and `headers`: of all requests so far."""

    def __init__(self, port: int = 0) -> None:
        self.answers: list[int] = []
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self._spans: list[Seen] = []
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(collector.take(self.path, dict(self.headers), raw))
                self.send_header("content-length", "0")
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, headers: Mapping[str, str], raw: bytes) -> int:
        """Stores a request and returns the response's status."""
        with self._came:
            status = self.answers.pop(0) if self.answers else 200
            self.paths.append(path)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            data = gzip.decompress(raw) if headers.get("Content-Encoding") == "gzip" else raw
            self.bodies.append(data)
            if status == 200:
                self._spans += read(data)
            self._came.notify_all()
            return status

    def spans(self, number: int, timeout: float = 15) -> list[Seen]:
        """Waits for this many spans and returns them by start time."""
        with self._came:
            assert self._came.wait_for(lambda: len(self._spans) >= number, timeout), self._spans
            assert len(self._spans) == number, self._spans
            return sorted(self._spans, key=lambda span: span.start)

    def all(self) -> list[Seen]:
        """The spans received so far."""
        with self._came:
            return list(self._spans)


def read(data: bytes) -> list[Seen]:
    """Parses a request. Raises AssertionError for fields unknown to the protocol."""
    message = ExportTraceServiceRequest()
    message.ParseFromString(data)
    whole = message.SerializeToString()
    message.DiscardUnknownFields()
    assert message.SerializeToString() == whole
    found = []
    for resource_spans in message.resource_spans:
        resource = values(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            found += [
                Seen(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == ERROR,
                    values(span.attributes),
                    resource,
                    scope_spans.scope.name,
                    span.flags,
                )
                for span in scope_spans.spans
            ]
    for span in found:
        assert (len(span.trace), len(span.id), len(span.parent) in (0, 16)) == (32, 16, True)
        assert span.start <= span.end <= time.time_ns() + 1_000_000_000
    return found


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Message) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    return getattr(value, kind)
