"""The accounts of a container behind the edge: the edge's ledger has reserved, and is told what it came to."""

from collections.abc import Mapping
from typing import Any

from worker.api.errors import unauthenticated
from worker.ledger.charges import Charge
from worker.ledger.estimate import Prompt, prompt
from worker.ledger.settle import Report
from worker.protocol import REPORT_HEADER

from .. import log
from ..exchange import Exchange
from ..grant import misfit
from ..routing.router import RouteRequest
from .accounting import check_models
from .journal import Journal
from .reservation import Reservation
from .tariff import Tariff

# What is not fetched when the process ends is charged in full.
_DRAIN_SECONDS = 10.0


class _CarriedReports:
    """The journal, for requests whose answers may carry their reports."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.now = journal.now
        self.later = journal.later

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        return [(REPORT_HEADER, self._journal.carried(report))]


class EdgeAccounting:
    """`tariff`: what answers cost, and what uploads can; `instance`: of this container's start. The journal is one for
    all configurations."""

    def __init__(self, tariff: Tariff, instance: str, journal: Journal | None = None) -> None:
        self.tariff = tariff
        self.journal = journal or Journal(instance)
        self._carried = _CarriedReports(self.journal)
        self._instance = instance

    def under(self, tariff: Tariff) -> "EdgeAccounting":
        """The same accounts under another configuration."""
        return EdgeAccounting(tariff, self._instance, self.journal)

    @property
    def unsettled(self) -> int:
        """Reports that the edge has not acknowledged."""
        return self.journal.waiting

    @property
    def open(self) -> int:
        """Reservations of requests that run."""
        return self.journal.open

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def usable(self) -> bool:
        """The edge asks its ledger itself."""
        return True

    async def drained(self) -> None:
        """After the last request: the edge fetches what is left."""
        lost = await self.journal.drained(_DRAIN_SECONDS)
        if lost:
            log.error("reports_not_fetched", reports=lost, effect="their reservations are charged in full")
        self.journal.close()

    async def authenticate(self, exchange: Exchange) -> None:
        """Keys stay at the edge."""
        raise unauthenticated("This API key is not valid here.")

    def recognise(self, exchange: Exchange) -> bool:
        return False

    def opened(self, exchange: Exchange) -> None:
        """The edge has reserved for this request. Raises ApiError 500 for what is here already."""
        if not self.journal.opened(exchange.grant.reservation):
            raise misfit("A reservation was used twice.")

    def released(self, exchange: Exchange, status: int) -> None:
        """It went to no provider."""
        self.journal.later(Report(exchange.grant.reservation, self._instance, 0, status=status))

    async def admit(
        self,
        exchange: Exchange,
        endpoint: str,
        body: Mapping[str, Any],
        route: RouteRequest,
        charge: Charge,
        *,
        estimated: Prompt | None = None,
        tags: str = "",
    ) -> Reservation:
        """The edge has admitted it, with its tags. Raises ApiError 403 for a fallback of the client's that the key may
        not use."""
        check_models(exchange, route)
        grant = exchange.grant
        reports = self.journal if grant.ack is None else self._carried
        exchange.always = [*exchange.always, *grant.headers]
        exchange.reserved = True
        return Reservation(
            grant.reservation,
            self.tariff,
            reports,
            self._instance,
            amount=grant.amount,
            prompt=None,
            output_limit=grant.output_limit,
            limited=grant.limited,
            measure=lambda: (grant.amount, estimated or prompt(body)),  # where a provider does not say
            tier=body.get("service_tier"),
            units=charge.units,
        )
