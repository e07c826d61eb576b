"""The attempts of a request: `drive` runs a routing plan, `Upstream` sends one attempt to its deployment, `refusal`
builds the error if all of them fail, and the log has a line for each that failed and one for the request.
"""

import asyncio
import functools
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from worker.core.api.endpoints import CALLS_A_MODEL
from worker.core.api.errors import ApiError, model_not_found, service_unavailable, timed_out, upstream_failed
from worker.core.ledger.alerts import LONG_REST_SECONDS
from worker.core.pricing.prices import GOOGLES_COUNT
from worker.core.pricing.usage import usage
from worker.core.values.money import NANO

from ..config.deployment import Deployment
from ..config.load import Options
from ..engine import Engine, EngineUnavailable
from ..formats import Formats
from ..formats.client_apis import gemini, messages, over_chat, responses
from ..formats.shared import mock
from ..formats.shared.events import MAX_EVENT_BYTES, OversizedEvent
from ..formats.shared.failure import words
from ..formats.shared.mend import failure_in
from ..formats.shared.wire import (
    Answer,
    Events,
    Format,
    Sent,
    Stream,
    StreamBroken,
    Unreachable,
    Unsupported,
    as_events,
    is_stream,
    json_object,
)
from ..http_client.client import Client, Response
from ..http_client.request import BadBody, CannotConnect, ConnectTimeout, HttpError, Proxies, ProxyFailed, Silent
from ..observability import log, metrics
from ..request.completion import Completion
from ..routing.health import UNHEALTHY, Outcome
from ..routing.router import Pause, Plan, Router, RouteRequest, Step, Target, Try
from ..server.context import Attempted, RequestContext

Failed = list[tuple[Try, Outcome]]


def require_routable(router: Router, request: RouteRequest) -> None:
    """Raises ApiError if no deployment can serve the model, with a hint what to do."""
    model = request.model
    targets = router.groups.targets(model)
    if not targets:
        raise model_not_found(model, router.groups.names)
    for name in request.fallbacks or ():
        if not router.groups.targets(name):
            raise model_not_found(name, router.groups.names)
    if not router.reachable(request):
        raise model_off(model, targets)


def model_off(model: str, targets: Iterable[Target]) -> ApiError:
    """The error for a model that needs a setting from the operator before it can be used."""
    wanted = sorted({need.replace("|", " or ") for t in targets for need in t.deployment.off})
    error = service_unavailable(f"The model '{model}' is off: set {', '.join(wanted)}.", retry_after=60)
    error.headers.append(("x-should-retry", "false"))
    return error


async def drive(plan: Plan, attempt: Callable[[Try], Awaitable[Outcome]]) -> Failed:
    """Run the plan. Return the failed attempts in order."""
    failed: Failed = []
    try:
        step = next(plan, None)
        while step is not None:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = _following(plan, None)
                continue
            outcome = await attempt(step)
            if not outcome.ok:
                failed.append((step, outcome))
            step = _following(plan, outcome)
    finally:
        plan.close()
    return failed


def _following(plan: Plan, outcome: Outcome | None) -> Step | None:
    try:
        return plan.send(outcome)
    except StopIteration:
        return None


def refusal(model: str, failed: Failed, route: RouteRequest | None = None) -> ApiError:
    """The error for the client when every attempt failed."""
    if not failed and route is not None and route.exhausted:  # a deployment is left, but not for this request
        message = f"The budget of every deployment of '{model}' that could answer is used up."
        return ApiError(429, "budget_exceeded", message, code="budget_exceeded", headers=[("x-should-retry", "false")])
    if not failed:
        return service_unavailable(f"Every deployment of '{model}' is busy.", retry_after=1)
    # If a fallback lacks one of the request's fields, that does not explain why the model itself failed.
    step, last = next(((s, o) for s, o in reversed(failed) if o.kind != "unsupported"), failed[0])
    if last.kind in ("caller", "unsupported", "context_window", "content_policy"):
        special = last.kind if last.kind in ("context_window", "content_policy") else None
        # A content filter's 401, 403 or 451 would make the client suspect its key or country.
        status = 400 if special == "content_policy" or last.status in (401, 403) else last.status or 400
        status = 400 if status >= 500 else status  # the engine's status for something the model cannot do
        named = last.code is not None and not (special and last.code.isdigit())
        code = last.code if named else special
        return ApiError(status, "invalid_request_error", last.message, code=code, param=last.param)
    if last.kind == "not_found" and "*" in step.target.deployment.model:  # the client chose the model's name
        return ApiError(404, "invalid_request_error", last.message, code="model_not_found", param="model")
    tried = Counter(
        f"{s.group} ({s.target.deployment.provider}/{s.target.model}): {o.status or o.kind}, {o.message.rstrip('.')}"
        for s, o in failed
    )
    listed = "; ".join(what + (f" ({times} times)" if times > 1 else "") for what, times in tried.items())
    message = f"No deployment answered. Tried: {listed}."
    if last.kind == "timeout":
        return timed_out(message)
    if last.kind == "rate_limit":
        headers = list(last.headers)
        return upstream_failed(429, message, headers)
    # A provider's 401, 403 or 404 is about the gateway's configuration. The client's key and model are fine.
    status = last.status if last.status >= 500 else 502
    if status == 503 and last.retry_after is not None and not last.headers:
        return service_unavailable(message, retry_after=int(last.retry_after))
    return upstream_failed(status, message, last.headers)


MAX_ERROR_BYTES = 64 * 1024
# After these failures the format may send a modified request to the same deployment.
_ASK_AGAIN = frozenset(("caller", "unsupported", "not_found"))
_NO_SUCH_PAGE = (405, 501)
_BEFORE_A_STREAM = b"\xef\xbb\xbf \t\r\n"
_ENOUGH_TO_TELL = 7  # length of `event: `, in bytes


class Upstream:
    """Sends requests to providers and to the engine through one pooled client."""

    def __init__(
        self,
        options: Options,
        engine: Engine,
        *,
        connect_timeout: float,
        keepalive: float,
        proxies: Proxies | None = None,
    ) -> None:
        self._options = options
        self._formats = Formats(options, engine)
        self._keepalive = keepalive
        self._connect_timeout = connect_timeout
        self._client = Client(connect_timeout=connect_timeout, proxies=proxies)

    async def close(self) -> None:
        await self._client.close()

    async def attempt(self, step: Try, request: Completion, on_silence: Callable[[], Awaitable[None]]) -> Answer:
        """Sends the request to the deployment of the step.

        If a provider has accepted a streaming request but sends nothing, `on_silence` is called at every keepalive
        interval.
        """
        d, model = step.target
        name = request.model if step.fallbacks == 0 else step.group
        if request.endpoint == messages.COUNT and messages.counts_by_estimate(d):
            return messages.estimated_count(d, model, request)
        try:
            if request.endpoint in responses.BESIDE:
                answered = responses.answered_here(d, model, request)
                if answered is not None:
                    return answered
            if d.kind == "mock":
                return _mocked(d, request, name)
            if request.endpoint == GOOGLES_COUNT and not self._formats.counts_itself(d, model):
                return gemini.estimated_count(d, model, request)
            format = self._formats.of(d, model, request.endpoint)
            sent: Sent | None = format.request(d, model, request)
            while True:
                answer = await self._send(format, d, model, request, sent, name, on_silence)
                if not isinstance(answer, Outcome) or not (answer.kind in _ASK_AGAIN or answer.status in _NO_SUCH_PAGE):
                    return answer
                stands = sent.stands or answer
                sent = format.again(d, model, request, sent, answer)
                if sent is None:
                    return stands
        except Unsupported as error:
            return error.outcome()

    async def _send(
        self,
        format: Format,
        d: Deployment,
        model: str,
        request: Completion,
        sent: Sent,
        name: str,
        on_silence: Callable[[], Awaitable[None]],
    ) -> Answer:
        first = request.timeout or self._patience(d, stream=request.stream)
        response: Response | None = None
        kept = False
        try:
            with Deadline(first):
                where = await format.address(d, first)
                response = await self._client.post(
                    format.url(d, where.base, model, sent.endpoint or request.endpoint, stream=request.stream),
                    sent.body,
                    {**where.headers, **sent.headers} if sent.headers else where.headers,
                    idle=first if request.stream else None,
                )
                if response.status != 200:
                    return format.failure(response.status, response.headers, await read_error(response))
                if not request.stream:
                    raw = await response.read()
                    whole = format.plain(raw, name, sent)
                    return _unread(whole, response, raw) if isinstance(whole, Outcome) else whole
                events = format.events(name, request, sent)
                answer = await self._first_events(response, events, on_silence)
            if isinstance(answer, bytes):
                rest = _rest(response, events, first)
                await anext(rest)
                kept = True
                return Stream(answer, rest, events, isinstance(events, responses.PassedEvents))
            return answer
        except EngineUnavailable as error:
            return Outcome("connection", 503, str(error), retry_after=error.retry_after)
        except Unreachable as error:
            return error.outcome
        except ConnectTimeout:
            return Outcome("connection", 0, f"No connection to the provider within {self._connect_timeout:g} s.")
        except TimeoutError:
            return Outcome("timeout", 0, f"The provider did not answer within {first:g} s.", latency=first)
        except OversizedEvent:
            return Outcome("server", 0, "The provider sent an oversized event.", unread=True)
        except ProxyFailed as error:
            return Outcome("connection", 0, f"The provider cannot be reached: {error}.")
        except CannotConnect:
            return Outcome("connection", 0, "The provider cannot be reached.")
        except BadBody:
            unread = not request.stream and response is not None and response.status == 200
            return Outcome("server", 0, "The provider's answer broke off or is not valid HTTP.", unread=unread)
        except (HttpError, OSError):
            return Outcome("connection", 0, "The connection to the provider broke off.")
        finally:
            if response is not None and not kept:
                response.close()  # unless the response is complete, this tells the provider to stop

    def client_timeout(self, d: Deployment, request: Completion) -> bool:
        """Whether the client's timeout is shorter than the timeout of the deployment."""
        return request.timeout is not None and request.timeout < self._patience(d, stream=request.stream)

    def _patience(self, d: Deployment, *, stream: bool) -> float:
        """The timeout in seconds. For a stream it applies to the first event and to every silence after it."""
        whole = d.timeout or self._options.timeout
        return (d.stream_timeout or self._options.stream_timeout or whole) if stream else whole

    async def _first_events(
        self, response: Response, events: Events, on_silence: Callable[[], Awaitable[None]]
    ) -> bytes | Outcome:
        """Reads up to the first meaningful events and returns everything read, including comments."""
        got = head = b""
        known = False  # whether the body is known to be a stream
        while True:
            try:
                with Deadline(self._keepalive):
                    data = await response.readany()
            except Silent:
                raise
            except TimeoutError:
                await on_silence()
                continue
            if not known:
                head = (head + data).lstrip(_BEFORE_A_STREAM)
                if data and len(head) < _ENOUGH_TO_TELL:
                    continue
                if head and not is_stream(head):
                    return await _not_streamed(response, events, head)
                known, data = True, head
            new = events.feed(data) if data else events.end()
            got += new
            began = events.begins(new)
            if began:
                return got if began is True else began
            if not data:
                worked = events.usage is not None
                return Outcome("server", 0, "The provider's stream ended before the response began.", unread=worked)


def _mocked(d: Deployment, request: Completion, name: str) -> Answer:
    """Raises Unsupported."""
    if request.endpoint in gemini.ENDPOINTS:
        return gemini.mocked(d, request, name)
    for endpoints, api in ((messages.ENDPOINTS, messages.TRANSLATED), ((responses.ENDPOINT,), responses.TRANSLATED)):
        if request.endpoint in endpoints:
            return over_chat.mocked(api, d, request, name)
    return mock.answer(d, request, name)


async def _not_streamed(response: Response, events: Events, head: bytes) -> bytes | Outcome:
    """Converts a response that is not a stream into events, or returns the failure."""
    other = Outcome("server", 0, f"The provider sent {response.content_type} instead of a stream.")
    raw = head + (await _up_to(response, MAX_EVENT_BYTES) if head[:1] in b"{[" else await read_error(response))
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _unread(other, response, raw)
    if not isinstance(body, (dict, list)) or not body:
        return _unread(other, response, raw)
    got = events.feed(as_events(body))
    began = events.begins(got)
    if isinstance(began, Outcome):
        return began
    return got if began and not events.cut_off else _unread(other, response, raw)


def _unread(outcome: Outcome, response: Response, raw: bytes) -> Outcome:
    """Marks a useless response with status 200 as possibly billed.

    The provider has probably done the work, unless the body is an error or an HTML page from some intermediary.
    """
    if outcome.kind != "server" or outcome.status or response.content_type == "text/html":
        return outcome
    body = json_object(raw)
    failed = isinstance(body, dict) and (failure_in(body) is not None or words(body))
    return outcome if failed else outcome._replace(unread=True)


async def read_error(response: Response) -> bytes:
    """The body of an error response, truncated to MAX_ERROR_BYTES."""
    return await _up_to(response, MAX_ERROR_BYTES)


async def _up_to(response: Response, size: int) -> bytes:
    parts: list[bytes] = []
    got = 0
    while got < size and (data := await response.readany()):
        parts.append(data)
        got += len(data)
    return b"".join(parts)[:size]


async def _rest(response: Response, events: Events, idle: float) -> AsyncGenerator[bytes]:
    """Yields the stream after its first events.

    The first item is always empty: it starts the generator, so that closing it also closes the response. Raises
    StreamBroken when the provider disconnects or sends nothing for `idle` seconds.
    """
    try:
        yield b""
        while data := await response.readany():
            new = events.feed(data)
            if new:
                yield new
            if events.failed:
                return
        new = events.end()
        if new:
            yield new
        if events.cut_off:
            raise StreamBroken("The provider ended its stream in the middle of the answer.")
    except TimeoutError:
        raise StreamBroken(f"The provider sent nothing for {idle:g} s.", timed_out=True) from None
    except OversizedEvent:
        raise StreamBroken("The provider sent an oversized event.") from None
    except (HttpError, OSError):
        raise StreamBroken("The connection to the provider broke off in the middle of the answer.") from None
    finally:
        response.close()


class Deadline:
    """A cheaper `asyncio.timeout`, whose two coroutine calls cost more per request than its timer.

    Cancels the task after `seconds` and raises TimeoutError instead of CancelledError, unless the task was also
    cancelled from elsewhere.
    """

    __slots__ = ("_cancelled_before", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        self._task = task
        self._cancelled_before = task.cancelling()
        self._expired = False
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Undo our own cancellation in any case, so that the task does not count as cancelled later.
        if self._expired and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


# Log lines for the operator: one for each failed attempt, and one at the end of each request to a model, with whose it
# was, who answered, what it used and what it cost.

_MOST_ATTEMPTS, _LONGEST = 8, 100


@functools.cache
def _shown(base: str) -> str:
    """Strip user, password and query from a URL: they may be secret."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def log_attempt(context: RequestContext, step: Try, model: str, outcome: Outcome, began: float, **more: Any) -> None:
    """Log a failed attempt. A successful one is part of the request's own line, see `request_line`.

    `model` is the client's name for the model. `began` is on `time.monotonic`.
    """
    _count(context, step, outcome)
    if context.trace is not None:
        context.trace.attempted(step, outcome, began, more)
    if outcome.ok:
        seconds = time.monotonic() - began
        context.attempted = Attempted(step, model, seconds, more.get("stream", False), more.get("usage"))
        return
    made = context.reservation_made
    if made is not None:
        made.attempts = _added(made.attempts, step, outcome, began)
    log.info(
        "attempt",
        request_id=context.id,
        model=model,
        **where(step),
        outcome=outcome.kind,
        status=outcome.status,
        error=outcome.message or None,
        seconds=round(time.monotonic() - began, 4),
        **more,
    )


def _added(attempts: str, step: Try, outcome: Outcome, began: float) -> str:
    """Add a failed attempt to a request's list for the ledger, without the provider's message: it may quote the prompt.

    Further attempts than _MOST_ATTEMPTS are left out, because the list may be sent in a header.
    """
    listed = json.loads(attempts or "[]")
    if len(listed) >= _MOST_ATTEMPTS:
        return attempts
    added = {
        "model": step.group[:_LONGEST],
        "deployment": step.target.deployment.id,
        "error": outcome.kind,
        "status": outcome.status or None,
        "seconds": round(time.monotonic() - began, 3),
    }
    if step.ailing >= LONG_REST_SECONDS and outcome.kind in UNHEALTHY:
        added["ailing"] = step.ailing
    listed.append(added)
    return json.dumps(listed)


def where(step: Try) -> dict[str, Any]:
    """Return the fields of a log line that say who was asked."""
    d = step.target.deployment
    return {
        "deployment": d.id,
        "provider": d.provider,
        "provider_model": step.target.model,
        "api_base": _shown(d.base) or None,
        "retries": step.retries,
        "fallbacks": step.fallbacks,
    }


def _count(context: RequestContext, step: Try, outcome: Outcome) -> None:
    """Count the attempt. It is a retry or a fallback if that number has grown since the previous attempt."""
    before, context.step = context.step, step
    d = step.target.deployment
    metrics.attempts.add((d.group, d.id, outcome.kind))
    if step.retries > (before.retries if before else 0):
        metrics.retries.add((d.group,))
    if step.fallbacks > (before.fallbacks if before else 0):
        metrics.fallbacks.add((context.group, d.group))


def log_request(context: RequestContext, status: int, error: str | None) -> None:
    """`status`: the final one. `error`: code of the error, None without one.

    The line includes the attempt that succeeded. `cost` is in US dollars, as charged.
    """
    if context.endpoint not in CALLS_A_MODEL:
        return
    attempted, made = context.attempted, context.reservation_made
    report = None if made is None else made.report
    if report is not None:
        cost = report.cost / NANO
        prompt, completion, cached = report.prompt_tokens, report.completion_tokens, report.cached_tokens
    else:  # refused, or served without a ledger
        cost = None
        prompt, completion, cached = usage((attempted.usage if attempted else None) or {})[:3]
    fields = {
        "request_id": context.id,
        "endpoint": context.endpoint,
        "model": attempted.model if attempted else context.group or None,
        "key": context.owner,
        "key_alias": context.key_alias or context.grant.key_alias or None,
        "status": status,
        "error": error,
        "cost": cost,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": cached,
        "seconds": _rounded(time.monotonic() - context.began),
    }
    if attempted is not None:
        fields |= where(attempted.step)
        fields["attempt_seconds"] = _rounded(attempted.seconds)
        fields["stream"] = attempted.stream
    log.info("request_finished", **fields)


def _rounded(seconds: float) -> float:
    """Cut off after four decimals. `round` takes a microsecond, and this runs for every request."""
    return int(seconds * 10_000) / 10_000
