"""Drives a routing plan: is there anybody to ask, ask them in turn, and say what went wrong when nobody answered."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from worker.core.api.errors import ApiError, model_not_found, service_unavailable, timed_out, upstream_failed

from ..routing.groups import Target
from ..routing.outcome import Outcome
from ..routing.router import Pause, Plan, Router, RouteRequest, Step, Try

Failed = list[tuple[Try, Outcome]]


def require_routable(router: Router, request: RouteRequest) -> None:
    """Raises ApiError when no deployment can serve the model, saying what would help."""
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
    """A model of this gateway that nobody can serve until its operator sets something."""
    wanted = sorted({need.replace("|", " or ") for t in targets for need in t.deployment.off})
    error = service_unavailable(f"The model '{model}' is off: set {', '.join(wanted)}.", retry_after=60)
    error.headers.append(("x-should-retry", "false"))
    return error


async def drive(plan: Plan, attempt: Callable[[Try], Awaitable[Outcome]]) -> Failed:
    """Carries the plan out; the attempts that failed, in order."""
    failed: Failed = []
    try:
        step = next(plan, None)
        while step is not None:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = _next(plan, None)
                continue
            outcome = await attempt(step)
            if not outcome.ok:
                failed.append((step, outcome))
            step = _next(plan, outcome)
    finally:
        plan.close()
    return failed


def _next(plan: Plan, outcome: Outcome | None) -> Step | None:
    try:
        return plan.send(outcome)
    except StopIteration:
        return None


def refusal(model: str, failed: Failed) -> ApiError:
    """What the client is told when nothing answered."""
    if not failed:
        return service_unavailable(f"Every deployment of '{model}' is busy.", retry_after=1)
    # A fallback without one of the request's fields says nothing of why the model itself did not answer.
    step, last = next(((s, o) for s, o in reversed(failed) if o.kind != "unsupported"), failed[0])
    if last.kind in ("caller", "unsupported", "context_window", "content_policy"):
        special = last.kind if last.kind in ("context_window", "content_policy") else None
        # A filter's 401, 403 or 451 would tell the client that its key or its country is at fault.
        status = 400 if special == "content_policy" or last.status in (401, 403) else last.status or 400
        status = 400 if status >= 500 else status  # the engine's word for what a model is not made for
        named = last.code is not None and not (special and last.code.isdigit())
        code = last.code if named else special
        return ApiError(status, "invalid_request_error", last.message, code=code, param=last.param)
    if last.kind == "not_found" and "*" in step.target.deployment.model:  # the client's own name of a model
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
    # A provider's 401, 403 or 404 is about this gateway's configuration, and the client's key and model are fine.
    status = last.status if last.status >= 500 else 502
    if status == 503 and last.retry_after is not None and not last.headers:
        return service_unavailable(message, retry_after=int(last.retry_after))
    return upstream_failed(status, message, last.headers)
