"""`/metrics`: counters and current state in Prometheus format."""

import time
from collections.abc import Callable

from worker.core.api.admin import operators_only

from .. import VERSION
from ..accounting.accounting import NoAccounting
from ..accounting.edge import Accounts
from ..engine.supervisor import Engine
from ..observability import metrics
from ..observability.metric_families import CONTENT_TYPE, Family, Gauge, Total
from ..routing.router import Router
from ..server.context import RequestContext

ENGINE_STATES = ("idle", "starting", "running")
_DEPLOYMENT = ("model", "deployment")


class Metrics:
    """`public`: no key is needed, or it was checked elsewhere. `running`: number of requests in flight."""

    def __init__(
        self, router: Router, engine: Engine, accounting: Accounts, running: Callable[[], int], *, public: bool
    ) -> None:
        self._router = router
        self._engine = engine
        self._accounting = accounting
        self._running = running
        self._public = public

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403 for virtual keys."""
        if not (self._public or context.administrator):
            raise operators_only()
        families = (*metrics.RECORDED, *self.state(), *metrics.families())
        text = "".join(family.text() for family in families)
        context.respond(200, text.encode(), [("cache-control", "no-store")], CONTENT_TYPE)

    def state(self) -> list[Family]:
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
            _one("litellm_router_requests_in_flight", "Requests in flight.", self._running()),
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
                    self._accounting.unsettled,
                ),
                _one(
                    "litellm_router_ledger_open_reservations",
                    "Open reservations of this process.",
                    self._accounting.open,
                ),
            ]
        return found


def _one(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, values=[((), value)])
