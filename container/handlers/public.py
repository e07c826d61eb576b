"""Endpoints about the gateway itself, which call no provider: health, `/metrics`, `/openapi.json`, `/dashboard`."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import orjson

from worker import dashboard
from worker.core import openapi
from worker.core.api import health
from worker.core.api.admin import operators_only
from worker.core.api.endpoints import dashboard_file
from worker.core.api.errors import unknown_path

from .. import VERSION
from ..accounting.accounting import NoAccounting
from ..accounting.edge import Accounts
from ..engine import Engine
from ..observability import metrics
from ..observability.metrics import CONTENT_TYPE, Family, Gauge, Total
from ..routing.router import Router
from ..server.context import RequestContext


async def serve_dashboard(context: RequestContext) -> None:
    """Serve a file of the dashboard. Raises ApiError 404."""
    name = dashboard_file(context.path) or dashboard.PAGE
    answer = dashboard.answer(name, context.header("if-none-match"))
    if answer is None:
        raise unknown_path(context.path)
    context.respond(answer.status, answer.content, answer.headers, answer.content_type)


class Health:
    """Implements `health.Door`. `refusal`: why requests are refused, or None."""

    def __init__(self, models: list[str], engine: Engine, accounting: Accounts, refusal: str | None = None) -> None:
        self.models = models
        self.refusal = refusal
        self._engine = engine
        self._accounting = accounting

    async def behind(self) -> dict[str, str]:
        return {"engine": self._engine.state}

    async def ledger_usable(self) -> bool:
        return await self._accounting.usable()

    async def __call__(self, context: RequestContext) -> None:
        status, body, headers = await health.answer(context.endpoint, self)
        context.respond(status, orjson.dumps(body), headers)

    async def description(self, context: RequestContext) -> None:
        context.respond(200, openapi.text().encode())


ENGINE_STATES = ("idle", "starting", "running")
_DEPLOYMENT = ("model", "deployment")


class Sums(NamedTuple):
    """What the process that keeps the ledger knows of all workers. `text`: everything that is counted."""

    text: str
    running: int
    unsettled: int
    open: int


AllWorkers = Callable[[], Awaitable[Sums]]


class Metrics:
    """`public`: no key is needed, or it was checked elsewhere. `running`: number of requests in flight. `all_workers`:
    None if this is the only process."""

    def __init__(
        self,
        router: Router,
        engine: Engine,
        accounting: Accounts,
        running: Callable[[], int],
        all_workers: AllWorkers | None = None,
        *,
        public: bool,
    ) -> None:
        self._all_workers = all_workers
        self._router = router
        self._engine = engine
        self._accounting = accounting
        self._running = running
        self._public = public

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403 for virtual keys."""
        if not (self._public or context.administrator):
            raise operators_only()
        if self._all_workers is None:
            sums = Sums(metrics.text(metrics.RECORDED), self._running(), *self._reports())
            text = sums.text + metrics.text((*self.state(sums), *metrics.families()))
        else:
            sums = await self._all_workers()
            text = sums.text + metrics.text(self.state(sums))
        context.respond(200, text.encode(), [("cache-control", "no-store")], CONTENT_TYPE)

    def _reports(self) -> tuple[int, int]:
        accounting = self._accounting
        return (0, 0) if isinstance(accounting, NoAccounting) else (accounting.unsettled, accounting.open)

    def state(self, sums: Sums) -> list[Family]:
        """Gauges for the current state."""
        now = time.monotonic()
        known = [
            ((d.group, d.id), self._router.health[d.id])
            for members in self._router.groups.members.values()
            for d in members
            if not d.off
        ]
        found: list[Family] = [
            Gauge("litellm_router_info", "The running version.", ("version",), [((VERSION,), 1)]),
            _one("litellm_router_requests_in_flight", "Requests in flight.", sums.running),
            Gauge(
                "litellm_router_deployment_requests_in_flight",
                "Attempts in flight at a deployment.",
                _DEPLOYMENT,
                [(labels, health.in_flight) for labels, health in known],
            ),
            Gauge(
                "litellm_router_deployment_cooldown_seconds",
                "Remaining cooldown of a deployment, 0 if it is healthy.",
                _DEPLOYMENT,
                [(labels, round(max(0.0, health.cooling_until - now), 3)) for labels, health in known],
            ),
            Total(
                "litellm_router_cooldowns_total",
                "Cooldowns caused by a deployment's failures.",
                _DEPLOYMENT,
                [(labels, health.cooldowns) for labels, health in known],
            ),
            Gauge(
                "litellm_router_engine_state",
                "1 for the engine's current state.",
                ("state",),
                [((state,), int(state == self._engine.state)) for state in ENGINE_STATES],
            ),
        ]
        if not isinstance(self._accounting, NoAccounting):
            found += [
                _one(
                    "litellm_router_ledger_unsettled_reports",
                    "Finished requests that are not settled in the ledger yet.",
                    sums.unsettled,
                ),
                _one(
                    "litellm_router_ledger_open_reservations",
                    "Open reservations of this proxy.",
                    sums.open,
                ),
            ]
        return found


def _one(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, values=[((), value)])
