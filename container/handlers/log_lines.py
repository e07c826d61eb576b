"""Log lines for the operator: one for each failed attempt, and one at the end of each request to a model, with whose it
was, who answered, what it used and what it cost.
"""

import functools
import json
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from worker.core.api.endpoints import CALLS_A_MODEL
from worker.core.ledger.alerts import LONG_REST_SECONDS
from worker.core.pricing.usage import usage
from worker.core.values.money import NANO

from ..observability import log, metrics
from ..routing.health import UNHEALTHY, Outcome
from ..routing.router import Try
from ..server.context import Attempted, RequestContext

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
