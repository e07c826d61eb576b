"""`/chat/completions`, `/completions`, `/embeddings`: admit → route → account, streamed or not."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import orjson

from worker.api.errors import ApiError, timed_out, upstream_failed

from .. import log
from ..exchange import Exchange
from ..request.completion import Completion, parse
from ..routing.outcome import OK, Outcome
from ..routing.router import Router, Try
from ..upstream.answer import Answer, Plain, Stream, StreamBroken
from ..upstream.attempt import Upstream
from .drive import admit, drive, refusal

KEEP_ALIVE = b": keep-alive\n\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"
_GIVEN_UP = Outcome("caller", 499, "The client left.")
_STREAM_HEADERS = [("cache-control", "no-cache"), ("x-accel-buffering", "no")]


class Completions:
    """Answers the requests that the router can route. `keepalive`: seconds of silence before a comment line."""

    def __init__(self, router: Router, upstream: Upstream, *, max_body_mb: float, keepalive: float) -> None:
        self._router = router
        self._upstream = upstream
        self._max_body_mb = max_body_mb
        self._keepalive = keepalive

    async def __call__(self, exchange: Exchange, endpoint: str) -> None:
        request = parse(endpoint, await exchange.body(self._max_body_mb))
        admit(self._router, request.route)
        await self._route(exchange, request)

    async def _route(self, exchange: Exchange, request: Completion) -> None:
        relay = _Relay(exchange, self._keepalive)
        try:
            failed = await drive(
                self._router.route(request.route), lambda step: self._try(exchange, request, step, relay)
            )
        finally:
            relay.close()
        if relay.answered:
            return
        error = refusal(request.model, failed)
        if not exchange.started:
            raise error
        await relay.fail(error)

    async def _try(self, exchange: Exchange, request: Completion, step: Try, relay: "_Relay") -> Outcome:
        """One attempt; an answer is passed on to the client before this returns."""
        d = step.target.deployment
        began = time.monotonic()
        usage: dict[str, Any] | None = None
        outcome = _GIVEN_UP
        try:
            relay.step = step
            answer: Answer = await self._upstream.attempt(step, request, relay.silence)
            waited = time.monotonic() - began
            if isinstance(answer, Outcome):
                outcome = answer
            elif isinstance(answer, Plain):
                usage = answer.usage or {}
                await relay.whole(answer, waited)
                per_token = waited / max(1, _count(usage, "completion_tokens"))
                outcome = replace(OK, latency=per_token, tokens=_count(usage, "total_tokens"))
            else:
                broken = await relay.stream(answer)
                usage = answer.events.usage or {}
                outcome = replace(broken or OK, latency=waited, tokens=_count(usage, "total_tokens"))
        finally:
            log.info(
                "attempt",
                request_id=exchange.id,
                model=request.model,
                deployment=d.id,
                provider=d.provider,
                provider_model=step.target.model,
                stream=request.stream,
                retries=step.retries,
                fallbacks=step.fallbacks,
                outcome=outcome.kind,
                status=outcome.status,
                error=outcome.message or None,
                usage=usage,
                seconds=round(time.monotonic() - began, 4),
            )
        return outcome


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


class _Relay:
    """The client's side of a request: headers once, then a whole answer or a stream that never falls silent."""

    def __init__(self, exchange: Exchange, keepalive: float) -> None:
        self.exchange = exchange
        self.answered = False
        self.step: Try | None = None
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._speaking: asyncio.Task | None = None
        self._last = 0.0
        self._writing = False

    def _headers(self) -> list[tuple[str, str]]:
        assert self.step is not None
        return [
            ("x-litellm-call-id", self.exchange.id),
            ("x-litellm-model-id", self.step.target.deployment.id),
            ("x-litellm-model-group", self.step.group),
            ("x-litellm-attempted-retries", str(self.step.retries)),
            ("x-litellm-attempted-fallbacks", str(self.step.fallbacks)),
        ]

    async def whole(self, answer: Plain, upstream_seconds: float) -> None:
        self.answered = True
        overhead = time.monotonic() - self.exchange.began - self.exchange.body_seconds - upstream_seconds
        headers = [*self._headers(), ("x-litellm-overhead-duration-ms", f"{max(0.0, overhead) * 1000:.3f}")]
        self.exchange.respond(200, answer.body, headers)

    async def silence(self) -> None:
        """A provider has accepted the request and says nothing: let the client know that we are here."""
        await self._begin()
        await self._write(KEEP_ALIVE)

    async def stream(self, answer: Stream) -> Outcome | None:
        """Passes a stream on to its end; what broke it, or None."""
        self.answered = True
        await self._begin()
        try:
            await self._write(answer.first)
            async for data in answer.rest:
                await self._write(data)
        except StreamBroken as broken:
            await self.fail(timed_out(str(broken)) if broken.timed_out else upstream_failed(502, str(broken)))
            return Outcome("timeout" if broken.timed_out else "server", 0, str(broken), final=True)
        finally:
            await answer.rest.aclose()  # type: ignore[attr-defined]
        self.close()
        await self.exchange.finish()
        return None

    async def fail(self, error: ApiError) -> None:
        """Ends a stream that has begun with an error event; there is no `[DONE]` after it."""
        self.close()
        await self.exchange.finish(b"data: " + orjson.dumps(error.fields()) + b"\n\n")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

    async def _begin(self) -> None:
        if not self.exchange.started:
            await self.exchange.start(200, [*_STREAM_HEADERS, *self._headers()], EVENT_STREAM)
            self._last = self._loop.time()
            self._timer = self._loop.call_later(self._keepalive, self._tick)

    async def _write(self, data: bytes) -> None:
        self._last = self._loop.time()
        self._writing = True
        await self.exchange.write(data)
        self._writing = False

    def _tick(self) -> None:
        """One timer for the whole stream: looks how long nothing was written, and speaks when that is too long."""
        silent = self._loop.time() - self._last
        if silent >= self._keepalive and not self._writing:
            self._speaking = self._loop.create_task(self._write(KEEP_ALIVE))
            silent = 0.0
        self._timer = self._loop.call_later(max(0.01, self._keepalive - silent), self._tick)
