"""Relays a response to the client under the model's public name, with keep-alives during silence."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from worker.core.api.errors import ApiError, timed_out, upstream_failed
from worker.core.pricing.usage import whole
from worker.core.values.money import NANO

from ..accounting.reservation import AnyReservation, Transcript
from ..formats import responses
from ..formats.shared.events import data_of, split
from ..formats.shared.wire import Plain, Stream, StreamBroken
from ..routing.health import Outcome
from ..routing.router import Try
from ..server.context import RequestContext


def answer_headers(context: RequestContext, step: Try) -> list[tuple[str, str]]:
    return [
        ("x-litellm-call-id", context.id),
        ("x-litellm-model-id", step.target.deployment.id),
        ("x-litellm-model-group", step.group),
        ("x-litellm-attempted-retries", str(step.retries)),
        ("x-litellm-attempted-fallbacks", str(step.fallbacks)),
    ]


def charge(
    reservation: AnyReservation, usage: Mapping[str, Any] | None, body: bytes, headers: list[tuple[str, str]]
) -> None:
    """Charge a complete response and add its cost to the headers. Without usable usage, its text is counted."""
    said: Transcript | None = None
    if not usage or not whole(usage):
        said = Transcript()
        said.add(body)
    reservation.answered(usage, said)
    cost = reservation.cost()
    if cost is not None:
        headers.append(("x-litellm-response-cost", f"{cost // NANO}.{cost % NANO:09d}"))


class Rename:
    """Replaces `old` with `new` in a byte stream. Bytes that may be the start of `old` are held back until the next
    read."""

    __slots__ = ("_held", "_new", "_old")

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old = old
        self._new = new
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
        cut = len(data) - self._begun(data)
        self._held = data[cut:]
        return data[:cut].replace(self._old, self._new)

    def end(self) -> bytes:
        """Return the bytes held back, at the end of the stream."""
        rest, self._held = self._held, b""
        return rest

    def _begun(self, data: bytes) -> int:
        """Return how many trailing bytes may be the start of the old name."""
        old = self._old
        first = old[:1]
        whole, end = data.find(old), 0
        while whole >= 0:  # from the left, as `replace` does
            end = whole + len(old)
            whole = data.find(old, end)
        at = data.find(first, max(len(data) - len(old) + 1, end))
        while at >= 0:
            if old.startswith(data[at:]):
                return len(data) - at
            at = data.find(first, at + 1)
        return 0


class Renames:
    """Replaces several names. `pairs`: old and new name."""

    __slots__ = ("_each",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._each = [Rename(old, new) for old, new in pairs]

    def feed(self, data: bytes) -> bytes:
        for one in self._each:
            data = one.feed(data)
        return data

    def end(self) -> bytes:
        rest = b""
        for one in self._each:
            rest = one.feed(rest) + one.end()
        return rest


class JsonArray:
    """Turns complete server-sent events into the elements of one JSON array, as Google streams without `alt=sse`."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = False

    def feed(self, events: bytes) -> bytes:
        made = b""
        for event in split(events):
            data = data_of(event)
            if data is not None:
                made += (b",\n" if self._begun else b"[") + data
                self._begun = True
        return made

    def end(self) -> bytes:
        return b"]" if self._begun else b"[]"


KEEP_ALIVE = b": keep-alive\n\n"
# google-genai takes a comment for data, and skips blank lines.
BLANK = b"\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"
_STREAM_HEADERS = [("cache-control", "no-cache"), ("x-accel-buffering", "no")]


class Relay:
    """Sends one response to the client.

    keepalive   seconds of silence before a comment line is sent
    step        the current attempt
    asked       what the request allows in hidden reasoning, see `reasoning_fields`
    said        the transcript of a stream
    complete    a complete response, as sent
    array       sends a stream as a JSON array; None for server-sent events
    """

    def __init__(
        self, context: RequestContext, keepalive: float, reservation: AnyReservation, *, json_array: bool = False
    ) -> None:
        self.context = context
        self.array = JsonArray() if json_array else None
        self._keep_alive = BLANK if context.dialect == "google" else KEEP_ALIVE
        self.reservation = reservation
        self.answered = False
        self.said: Transcript | None = None
        self.complete: bytes | None = None
        self.step: Try | None = None
        self.asked: Mapping[str, Any] = {}
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._speaking: asyncio.Task | None = None
        self._last = 0.0
        self._writing = False

    def _headers(self) -> list[tuple[str, str]]:
        assert self.step is not None, "an attempt comes first"
        return answer_headers(self.context, self.step)

    async def whole(self, answer: Plain, upstream_seconds: float) -> None:
        self.answered = True
        overhead = time.monotonic() - self.context.began - self.context.body_seconds - upstream_seconds
        headers = [*self._headers(), ("x-litellm-overhead-duration-ms", f"{max(0.0, overhead) * 1000:.3f}")]
        charge(self.reservation, answer.usage, answer.body, headers)
        headers += await self.reservation.settle_with_answer(200)
        self.context.respond(200, answer.body, headers)

    async def kept(self, body: bytes, *, stream: bool) -> None:
        """Respond from the cache. No provider is called, so it costs nothing."""
        context = self.context
        headers = [("x-litellm-call-id", context.id), ("x-litellm-response-cost", "0")]
        if not stream:
            context.respond(200, body, headers + await self.reservation.settle_with_answer(200))
            return
        await self.reservation.settle(200)
        await context.start(200, [*_STREAM_HEADERS, *headers[:1]], EVENT_STREAM)
        await context.finish(body)

    async def silence(self) -> None:
        """Start the stream with a keep-alive: the provider has accepted the request but sent nothing yet."""
        await self._begin()
        await self._write(self._keep_alive)

    async def stream(self, answer: Stream) -> Outcome | None:
        """Relay a stream to its end. Return the failure that broke it, or None.

        An error event from the provider is relayed, too.
        """
        self.answered = True
        self.said = said = Transcript()
        self.reservation.streaming(said, self.asked)
        ended = False
        await self._begin()
        try:
            said.add(answer.first)
            await self._send(answer.first)
            async for data in answer.rest:
                said.add(data)
                await self._send(data)
            ended = True
        except StreamBroken as broken:
            error = timed_out(str(broken)) if broken.timed_out else upstream_failed(502, str(broken))
            self.reservation.answered(answer.events.usage, early=True)
            await self.reservation.settle(error.status)
            await self.fail(error, answer)
            return Outcome("timeout" if broken.timed_out else "server", 0, str(broken), final=True)
        finally:
            if not ended:
                said.add(getattr(answer.events, "unsent", b""))
            self.reservation.answered(answer.events.usage, early=not ended)
            await answer.rest.aclose()
        self.close()
        failed = answer.events.failed
        if failed is not None:
            self.context.failure = 502
        await self.reservation.settle(self.context.failure or 200)
        await self.context.finish(self.array.end() if self.array else b"")
        return None if failed is None else failed._replace(final=True)

    async def fail(self, error: ApiError, answer: Stream | None = None) -> None:
        """End a stream that has begun with an error event, without `[DONE]`. `answer` is what broke off, if any."""
        self.close()
        self.context.failure = error.status
        if self.context.endpoint == responses.ENDPOINT:
            told = responses.broken(error, answer.events if answer else None)
            await self.context.finish(answer.shown(told) if answer and answer.shown else told)
            return
        before = b"event: error\n" if self.context.dialect == "anthropic" else b""
        event = before + b"data: " + orjson.dumps(error.fields(self.context.dialect)) + b"\n\n"
        await self.context.finish(self.array.feed(event) + self.array.end() if self.array else event)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

    async def _begin(self) -> None:
        if not self.context.started:
            kind = EVENT_STREAM if self.array is None else "application/json"
            await self.context.start(200, [*_STREAM_HEADERS, *self._headers()], kind)
            self._last = self._loop.time()
            self._timer = self._loop.call_later(self._keepalive, self._tick)

    async def _send(self, events: bytes) -> None:
        data = events if self.array is None else self.array.feed(events)
        if data:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        self._last = self._loop.time()
        self._writing = True
        await self.context.write(data)
        self._writing = False

    def _tick(self) -> None:
        """Send a keep-alive if nothing was written for too long. One timer serves the whole stream."""
        silent = self._loop.time() - self._last
        if silent >= self._keepalive and not self._writing:
            self._speaking = self._loop.create_task(self._write(self._keep_alive))
            silent = 0.0
        self._timer = self._loop.call_later(max(0.01, self._keepalive - silent), self._tick)
