"""What is said of an attempt: to the client in headers, to the operator in one line of the log."""

import time
from typing import Any

from .. import log
from ..exchange import Exchange
from ..routing.outcome import Outcome
from ..routing.router import Try


def answer_headers(exchange: Exchange, step: Try) -> list[tuple[str, str]]:
    return [
        ("x-litellm-call-id", exchange.id),
        ("x-litellm-model-id", step.target.deployment.id),
        ("x-litellm-model-group", step.group),
        ("x-litellm-attempted-retries", str(step.retries)),
        ("x-litellm-attempted-fallbacks", str(step.fallbacks)),
    ]


def log_attempt(exchange: Exchange, step: Try, model: str, outcome: Outcome, began: float, **more: Any) -> None:
    """`model`: as the client named it; `began` on `time.monotonic`."""
    d = step.target.deployment
    log.info(
        "attempt",
        request_id=exchange.id,
        model=model,
        deployment=d.id,
        provider=d.provider,
        provider_model=step.target.model,
        api_base=d.base or None,
        retries=step.retries,
        fallbacks=step.fallbacks,
        outcome=outcome.kind,
        status=outcome.status,
        error=outcome.message or None,
        seconds=round(time.monotonic() - began, 4),
        **more,
    )
