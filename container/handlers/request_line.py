"""Logs one line at the end of each request to a model: whose it was, who answered, what it used and what it cost."""

import time

from worker.core.api.endpoints import CALLS_A_MODEL
from worker.core.pricing.usage import usage
from worker.core.values.money import NANO

from ..observability import log
from ..server.context import RequestContext
from .attempt_log import where


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
