"""Reports an attempt: response headers for the client, fields of a log line for the operator."""

import functools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from worker.core.ledger.alerts import LONG_REST_SECONDS
from worker.core.pricing.usage import whole
from worker.core.values.money import NANO

from ..accounting.reservation import AnyReservation
from ..accounting.transcript import Transcript
from ..observability import log, metrics
from ..routing.outcome import UNHEALTHY, Outcome
from ..routing.router import Try
from ..server.context import Attempted, RequestContext

_MOST_ATTEMPTS, _LONGEST = 8, 100


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
