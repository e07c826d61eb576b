"""Runs a routing plan, attempt by attempt, and builds the error if all attempts fail."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from worker.core.api.errors import ApiError, model_not_found, service_unavailable, timed_out, upstream_failed

from ..routing.groups import Target
from ..routing.outcome import Outcome
from ..routing.router import Pause, Plan, Router, RouteRequest, Step, Try

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
