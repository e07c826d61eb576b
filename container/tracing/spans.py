"""What a request's notes become: the span of the request, and one for each of its attempts. Pure.

Names are OpenTelemetry's where it has some (https://opentelemetry.io/docs/specs/semconv/): stable for HTTP, in
development for generative AI, of which those are used that every span of it has. Never a prompt, an answer, a header or
a provider's words, which may quote them.
"""

import functools
from typing import NamedTuple
from urllib.parse import urlsplit

from worker.api.endpoints import TABLE
from worker.ledger.usage import usage

from ..metrics import CLIENT_LEFT
from ..recording import Attempt, TraceContext
from .context import new_span
from .otlp import CLIENT, SERVER, Span, Value

ROUTES = {e.name: f"/v1{e.path}" for e in TABLE.values() if e.methods == ("POST",) and not e.admin}
_OPERATIONS = {"chat_completions": "chat", "messages": "chat", "responses": "chat", "completions": "text_completion"}
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
    """A request that has ended. `clock`: nanoseconds since 1970 less those of `time.monotonic`; `sent`: the status that
    the client saw, 0 for none; `status`: what became of it."""

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
    """The request's, then its attempts' in order."""
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
    """Of an address no more than whose it is: the rest may hold a user, a password, a key."""
    if not base:
        return {}
    parts = urlsplit(base)
    return {"server.address": parts.hostname or "", "server.port": parts.port or _PORTS[parts.scheme]}


def _nanoseconds(done: Finished, at: float) -> int:
    return done.clock + int(at * 1e9)
