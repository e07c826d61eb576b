"""Exports traces to the collector from a separate thread."""

import gzip
import ssl
import threading
import time
import uuid
from collections import deque
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from .. import VERSION
from ..config.observability import SERVICE
from ..config.observability import Tracing as Options
from ..observability import log, metrics
from ..server.context import RequestContext, Trace
from . import traces
from .traces import ROUTES, Finished, context, spans

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
            data = traces.request(self._resource, SERVICE, VERSION, made)
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
