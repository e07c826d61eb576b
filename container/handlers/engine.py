"""The endpoints that the engine (LiteLLM) serves, with routing, failover and accounting.

Transcriptions and translations go directly to a provider that has OpenAI's audio endpoints.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from worker.core.api.endpoints import Endpoint
from worker.core.pricing.usage import count

from ..accounting.edge import Accounts
from ..accounting.reservation import AnyReservation, Transcript, UsageEvents, reasoning_fields
from ..config.deployment import Deployment, split_route
from ..engine import Engine, EngineUnavailable
from ..formats.shared import failure, wire
from ..http_client.client import Client, Response
from ..http_client.request import HttpError, Proxies, ProxyFailed
from ..request.engine_body import FormBody, JsonBody
from ..routing.health import OK, Outcome
from ..routing.router import Router, Try
from ..server.context import RequestContext
from .attempts import drive, log_attempt, read_error, refusal
from .completions import RequestParser, answer_headers, charge

# The names that providers use for a rerank's input tokens.
_READ = ("prompt_tokens", "total_tokens", "input_tokens")


def usage(raw: bytes) -> Mapping[str, Any] | None:
    """Return the usage of a complete response. A rerank's also has {"search_units": number of searches}."""
    if b'"usage"' not in raw and b'"billed_units"' not in raw:
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    found = body.get("usage")
    said = found if isinstance(found, dict) else None
    return _ranked(body, said or {}) if "results" in body else said


def _ranked(body: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Normalize a rerank's usage. It generates no text, so all tokens are prompt tokens. Understands Cohere's and
    Voyage's fields."""
    meta = body.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    billed = billed if isinstance(billed, dict) else {}
    tokens = (count(each, name) for each in (said, billed) for name in _READ)
    read = next((found for found in tokens if found), 0)
    counted = {"prompt_tokens": read, "completion_tokens": 0} if read else {}
    searches = count(billed, "search_units")
    return {**counted, "search_units": searches} if searches else counted


CONNECT_SECONDS = 30.0  # the engine listens on this machine
_GIVEN_UP = Outcome("caller", 499, "The client left.")


class EngineEndpoints:
    """Sends a request to the engine for each deployment in turn and relays the response."""

    def __init__(
        self,
        router: Router,
        engine: Engine,
        accounting: Accounts,
        reading: RequestParser,
        *,
        timeout: float,
        proxies: Proxies | None = None,
    ) -> None:
        self._router = router
        self._accounting = accounting
        self._engine = engine
        self._reading = reading
        self._timeout = timeout
        self._client = Client(connect_timeout=CONNECT_SECONDS, proxies=proxies)

    async def close(self) -> None:
        await self._client.close()

    async def __call__(self, context: RequestContext, endpoint: Endpoint) -> None:
        asked = await self._reading.asked(context, endpoint)
        body = asked.request
        assert isinstance(body, (JsonBody, FormBody)), "the endpoint is the engine's"
        reservation = await self._accounting.admit(
            context, endpoint.name, asked.fields, body.route, asked.charge, estimated=asked.prompt, claims=body.claims
        )
        if reservation.exhausted:
            body.route = body.route._replace(exhausted=reservation.exhausted)
        try:

            async def attempt(step: Try) -> Outcome:
                reservation.trying(step)
                outcome = await self._attempt(context, endpoint, step, body, reservation)
                if not outcome.ok:
                    reservation.failed(unread=outcome.unread)
                return outcome

            failed = await drive(self._router.route(body.route), attempt)
            if not context.started:
                error = refusal(body.model, failed, body.route)
                await reservation.settle(error.status)
                raise error
        finally:
            reservation.abandon()

    async def _attempt(
        self,
        context: RequestContext,
        endpoint: Endpoint,
        step: Try,
        body: JsonBody | FormBody,
        reservation: AnyReservation,
    ) -> Outcome:
        d = step.target.deployment
        began = time.monotonic()
        outcome = _GIVEN_UP
        limit = d.timeout or self._timeout
        if d.kind == "mock":
            return Outcome("caller", 400, f"A mock model cannot answer {endpoint.path}.", param="model")
        missing = None if called_directly(d, endpoint.name) else audio_refused(endpoint.name)
        if missing is not None:
            return missing
        response: Response | None = None
        try:
            async with asyncio.timeout(limit) as deadline:
                model = step.target.model
                response = await self._sent(endpoint, d, model, body, limit)
                if response.status != 200:
                    refused = failure.from_response(response.status, response.headers, await read_error(response))
                    outcome = audio_outcome(refused) if endpoint.name in AUDIO else refused
                    outcome = wire.excused(outcome, d, model, endpoint.name)
                    return outcome
                loop = asyncio.get_running_loop()
                await _pass_on(
                    context,
                    response,
                    step,
                    body,
                    reservation,
                    lambda: deadline.reschedule(loop.time() + limit),
                )
                outcome = OK
        except EngineUnavailable as error:
            outcome = Outcome("connection", 503, str(error), retry_after=error.retry_after)
        except TimeoutError:
            outcome = Outcome("timeout", 0, "The provider did not answer in time.")
        except ProxyFailed as error:
            outcome = Outcome("connection", 0, f"The provider cannot be reached: {error}.")
        except (HttpError, OSError):
            unread = response is not None and response.status == 200
            outcome = Outcome("connection", 0, "The connection to the provider broke off.", unread=unread)
        finally:
            if response is not None:
                response.close()
            log_attempt(context, step, body.model, outcome, began, endpoint=endpoint.name)
        if context.started and not outcome.ok:
            # Part of the response was sent. No other deployment can take over, and it must not look complete.
            raise ConnectionAbortedError(outcome.message)
        return outcome

    async def _sent(
        self,
        endpoint: Endpoint,
        d: Deployment,
        model: str,
        body: JsonBody | FormBody,
        limit: float,
    ) -> Response:
        """Return the response with its body unread. `limit`: seconds that the engine may take to start."""
        if called_directly(d, endpoint.name):
            where = wire.address(d)
            url = wire.url(d, where.base, model, endpoint.name)
            raw = body.for_model(split_route(d.provider, model)[1])
        else:
            where = await self._engine.ready(limit)
            url, raw = where.base + endpoint.path, body.for_model(wire.engine_model(d, model))
        return await self._client.post(url, raw, {**where.headers, "content-type": body.content_type})


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


async def _pass_on(
    context: RequestContext,
    response: Response,
    step: Try,
    body: JsonBody | FormBody,
    reservation: AnyReservation,
    patience: Callable[[], None],
) -> None:
    """Relay a response to the client. `patience` is called for each chunk and extends the timeout."""
    d, ours = step.target.deployment, body.model.encode()
    # A wildcard's model name starts with the deployment id, so it is replaced first.
    theirs = dict.fromkeys(name.encode() for name in (wire.engine_model(d, step.target.model), d.id))
    headers = answer_headers(context, step)
    content_type = response.headers.get("content-type", "application/octet-stream")
    if content_type.lower().startswith("application/json"):
        raw = await response.read()
        charge(reservation, usage(raw), raw, headers)
        headers += await reservation.settle_with_answer(200)
        text = audio_text(raw, body.response_format) if isinstance(body, FormBody) else None
        if text is not None:
            context.respond(200, text[0], headers, text[1])
        else:
            for name in theirs:
                raw = raw.replace(name, ours)
            context.respond(200, raw, headers, content_type)
        return
    events = content_type.lower().startswith("text/event-stream")
    said, found = Transcript(), UsageEvents()
    rename = Renames((name, ours) for name in theirs)
    reservation.streaming(said, reasoning_fields(body.fields) if isinstance(body, JsonBody) else {})
    ended = False
    data = await response.readany()
    await context.start(200, headers, content_type)
    try:
        while data:
            patience()
            if events:
                said.add(data)
                found.feed(data)
            data = rename.feed(data) if events else data
            if data:
                await context.write(data)
            data = await response.readany()
        ended = True
    finally:
        reservation.answered(found.usage, early=not ended)
    await reservation.settle(200)
    await context.finish(rename.end())


# Audio. LiteLLM's proxy would convert every response to JSON, does not stream transcriptions, and does not support
# translations. https://platform.openai.com/docs/api-reference/audio/createTranscription

AUDIO = frozenset(("transcription", "translation"))
# Providers with OpenAI-compatible audio endpoints at the same base URL.
_AUDIO_PROVIDERS = frozenset(
    ("openai", "azure", "groq", "hosted_vllm", "mistral", "custom_openai", "openai_like", "lm_studio")
)
_TYPES = {"text": "text/plain; charset=utf-8", "srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}
_CUES = " --> "


def called_directly(d: Deployment, endpoint: str) -> bool:
    return endpoint in AUDIO and d.kind == "direct" and d.provider in _AUDIO_PROVIDERS


def audio_refused(endpoint: str) -> Outcome | None:
    """The failure for an endpoint that the engine does not support."""
    if endpoint != "translation":
        return None
    return Outcome("unsupported", 400, "This model does not support audio translation.", param="model")


def audio_outcome(outcome: Outcome) -> Outcome:
    """Turns a missing endpoint into `unsupported`, because the server is otherwise fine."""
    if outcome.kind != "not_found" or failure.says_no_such_model(outcome.code or "", outcome.message.lower()):
        return outcome
    return Outcome("unsupported", 400, "This model's server does not have this audio endpoint.", param="model")


def audio_text(raw: bytes, wanted: str | None) -> tuple[bytes, str] | None:
    """Unwraps the text that the engine put into JSON, with its media type. None if it is not text in the `wanted`
    format.
    """
    if wanted not in _TYPES:
        return None
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str) or (wanted != "text" and _CUES not in text):
        return None
    return text.encode(), _TYPES[wanted]
