"""Chat and text completions, embeddings, Messages, Responses and Gemini's API: `RequestParser` reads the body,
`Completions` admits the request, has it routed and accounts for what was used, `Relay` sends the response.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson

from worker.core.api import google
from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import ApiError, timed_out, upstream_failed
from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.usage import count, whole
from worker.core.pricing.usage import usage as said
from worker.core.values import claims
from worker.core.values.money import NANO

from ..accounting.edge import Accounts
from ..accounting.reservation import UNACCOUNTED, AnyReservation, Transcript, reasoning_fields
from ..config.deployment import lower_limits
from ..formats import responses
from ..formats.shared import wire
from ..formats.shared.events import data_of, split
from ..formats.shared.wire import Answer, Plain, Stream, StreamBroken
from ..observability import metrics
from ..request.client_apis import parse_generate_content, parse_messages, parse_responses
from ..request.completion import Completion, parse
from ..request.engine_body import FormBody, ParsedRequest, read_body
from ..routing.health import OK, Outcome
from ..routing.router import USAGE_BASED, Router, Try
from ..server.auth import check_models
from ..server.context import RequestContext
from .attempts import Upstream, drive, log_attempt, refusal, require_routable
from .response_cache import ResponseCache, controls
from .response_state import ENDPOINTS as STATEFUL
from .response_state import ResponseState

# The cost of processing a file is unknown before it is sent.
_FILE = Prompt(0, 0, ("file",))
# Assumed tokens of an image, audio or file for usage-based routing. The response tells the actual number.
_TOKENS_EACH = 1000


class RequestParser:
    """Used for requests that are served at once and for those that are parked."""

    def __init__(self, router: Router, max_body_mb: float, state: ResponseState) -> None:
        self._router = router
        self._state = state
        self.max_body_mb = max_body_mb

    async def asked(self, context: RequestContext, endpoint: Endpoint) -> ParsedRequest:
        """Return the parsed request. Raises ApiError, ClientLeft."""
        if context.asked is not None:
            context.group = self._router.groups.label(context.asked.request.route.model)
            return context.asked
        parsed = self.read(context, endpoint, await context.body(self.max_body_mb))
        request = parsed.request
        if isinstance(request, Completion) and request.stored is not None and await self._state.load(context, request):
            parsed = parsed._replace(prompt=self._state.size(request))
        return parsed

    def read(self, context: RequestContext, endpoint: Endpoint, raw: bytes) -> ParsedRequest:
        """Raises ApiError 400 for a bad body, 403 for a model that the key may not use, 404, or 503."""
        if endpoint.engine:
            request = read_body(endpoint, raw, context.header("content-type") or "")
        elif endpoint.name in STATEFUL:
            request = parse_responses(raw, endpoint.name)
        elif context.dialect == "anthropic":
            request = parse_messages(endpoint.name, raw, context.header("anthropic-beta") or "")
        elif context.dialect == "google":
            events = google.wants_events(context.query)
            request = parse_generate_content(endpoint.name, raw, google.model_of(context.path), events=events)
        else:
            request = parse(endpoint.name, raw)
        request.claims = claims.with_headers(request.claims, context.headers, self._router.options.user_headers)
        if context.aliases:
            caller, route = context.caller, request.route
            request.route = route.resolved(context.aliases if caller is None else caller.aliases_with(route.model))
        context.group = self._router.groups.label(request.route.model)
        check_models(context, request.route)
        size = None
        if isinstance(request, Completion) and endpoint.name in STATEFUL:
            size = self._state.resolve(context, request)
        require_routable(self._router, request.route)
        if isinstance(request, FormBody):
            return ParsedRequest(request, {}, prices.charge_of_form(endpoint.name, request.count), _FILE)
        fields = request.priced if isinstance(request, Completion) else request.fields
        if self._router.options.routing_strategy == USAGE_BASED:
            size = size or prompt(fields)
            request.route = request.route._replace(tokens=min(request.route.tokens, _tokens(size)))
        return ParsedRequest(request, fields, prices.charge_of_body(endpoint.name, fields), size)


def _tokens(size: Prompt) -> int:
    """Estimate the prompt's tokens. Images, audio and files count as a flat number, because their bytes say nothing."""
    return size.tokens() + _TOKENS_EACH * (size.images + len(size.unbounded))


_GIVEN_UP = Outcome("caller", 499, "The client left.")


def limit_output(request: Completion, reservation: AnyReservation) -> None:
    """Set the output limits that the reservation relies on."""
    request.output_limit, request.limited = reservation.output_limit, reservation.limited
    request.unknown_limit = reservation.unknown_max_output
    most = request.most_output = reservation.most_output
    if most is not None:
        lower_limits(request.body, most)
        if request.terms is not None:
            lower_limits(request.terms, most)
            lower_limits(request.body.get("generationConfig") or {}, most)


class Completions:
    """Serves the requests that the router can route. `keepalive`: seconds of silence before a comment line is sent."""

    def __init__(
        self,
        router: Router,
        upstream: Upstream,
        accounting: Accounts,
        reading: RequestParser,
        state: ResponseState,
        *,
        keepalive: float,
        cache: ResponseCache | None = None,
    ) -> None:
        self._state = state
        self._cache = cache
        self._router = router
        self._upstream = upstream
        self._accounting = accounting
        self._reading = reading
        self._keepalive = keepalive

    async def __call__(self, context: RequestContext, endpoint: Endpoint) -> None:
        asked = await self._reading.asked(context, endpoint)
        request = asked.request
        assert isinstance(request, Completion), "the endpoint is not the engine's"
        if request.stream and endpoint.name == "embeddings":  # embeddings cannot be streamed
            request.stream, request.route = False, request.route._replace(stream=False)
            del request.body["stream"]
        reservation = await self._accounting.admit(
            context,
            endpoint.name,
            asked.fields,
            request.route,
            asked.charge,
            estimated=asked.prompt,
            claims=request.claims,
        )
        limit_output(request, reservation)
        if reservation.exhausted:
            request.route = request.route._replace(exhausted=reservation.exhausted)
        try:
            if self._cache is None:
                await self._route(context, request, reservation)
            else:
                await self._cached(self._cache, context, request, reservation)
        finally:
            reservation.abandon()

    async def _cached(
        self, cache: ResponseCache, context: RequestContext, request: Completion, reservation: AnyReservation
    ) -> None:
        """Respond from the cache, or route the request and cache a complete response."""
        targets = self._router.groups.targets(request.route.model)
        key = cache.key(context, request, tuple(t.deployment.id for t in targets))
        may_take, may_keep = controls(context, request)
        found = await cache.get(key) if key is not None and may_take else None
        if key is not None:
            said = [("x-litellm-cache-key", key), ("x-cache", "miss" if found is None else "hit")]
            context.always = [*context.always, *said]
        if found is not None:
            metrics.cache_hits.add((context.group,))
            await Relay(context, self._keepalive, reservation).kept(found, stream=request.stream)
            return
        answer = await self._route(context, request, reservation)
        if key is not None and may_keep and answer is not None:
            cache.put(key, answer)

    async def _route(self, context: RequestContext, request: Completion, reservation: AnyReservation) -> bytes | None:
        """Return the response as sent to the client, if it is complete, small enough to cache, and not from a
        fallback."""
        relay = Relay(context, self._keepalive, reservation, json_array=request.json_array)
        try:
            failed = await drive(
                self._router.route(request.route), lambda step: self._try(context, request, step, relay)
            )
        finally:
            relay.close()
        if relay.answered:
            return relay.complete
        error = refusal(request.model, failed, request.route)
        await reservation.settle(error.status)
        if not context.started:
            raise error
        await relay.fail(error)

    async def _try(self, context: RequestContext, request: Completion, step: Try, relay: "Relay") -> Outcome:
        """Make one attempt. A response has been relayed to the client by the time this returns."""
        began = time.monotonic()
        usage: dict[str, Any] | None = None
        outcome = _GIVEN_UP
        try:
            relay.step = step
            relay.reservation.trying(step)
            own = request if request.stored is None else self._state.request_for(step, request)
            answer: Answer = await self._upstream.attempt(step, own, relay.silence)
            waited = time.monotonic() - began
            if request.stored is not None:
                answer = await self._state.answered(context, request, step, answer, relay.reservation)
            if isinstance(answer, Outcome):
                outcome = self._judged(answer, step, request)
                d = step.target.deployment
                outcome = wire.excused(outcome, d, step.target.model, request.endpoint)
                if not outcome.client_timeout:
                    relay.reservation.failed(unread=outcome.unread)
            elif isinstance(answer, Plain):
                usage = answer.usage or {}
                await relay.whole(answer, waited)
                relay.complete = answer.body if step.fallbacks == 0 else None
                per_token = waited / max(1, count(usage, "completion_tokens"))
                outcome = Outcome(OK.kind, OK.status, latency=per_token, tokens=count(usage, "total_tokens"))
            else:
                metrics.first_token.observe((context.group,), time.monotonic() - context.began)
                relay.asked = reasoning_fields(request.priced, request.output_limit)
                if context.release_memory is not None:
                    # An upload. There will be no other attempt, so its memory can be released.
                    request.body.clear()
                    request.priced.clear()
                    request.seen = None
                    context.release_memory()
                broken = await relay.stream(answer)
                if broken is None and step.fallbacks == 0:
                    relay.complete = relay.said.whole() if relay.said else None
                usage = answer.events.usage or {}
                outcome = self._judged(broken or OK, step, request)
                outcome = outcome._replace(latency=waited, tokens=count(usage, "total_tokens"))
        finally:
            if relay.reservation is UNACCOUNTED and usage:  # otherwise the reservation records usage and cost
                d = step.target.deployment
                metrics.answered(d.group, d.id, said(usage), 0)
            log_attempt(context, step, request.model, outcome, began, stream=request.stream, usage=usage)
        return outcome

    def _judged(self, outcome: Outcome, step: Try, request: Completion) -> Outcome:
        """Make a timeout final if the client set it below the deployment's own.

        The deployment is not at fault and may still be working on the request. The client pays for that once, and no
        other deployment is tried.
        """
        if (
            outcome.kind == "timeout"
            and not outcome.status
            and self._upstream.client_timeout(step.target.deployment, request)
        ):
            return outcome._replace(client_timeout=True, final=True)
        return outcome


# The response to the client, under the model's public name, with keep-alives during silence.


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
