"""The accounts of a container behind the edge: the edge's ledger has reserved, and is told what it came to."""

from collections.abc import Mapping
from typing import Any

from worker.core.api.errors import unauthenticated
from worker.core.ledger.settle import Report
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.quote import Charge
from worker.core.protocol import REPORT_HEADER

from ..observability import log
from ..routing.router import RouteRequest
from ..server.context import RequestContext
from ..server.edge_grant import misfit
from .accounting import Accounting, NoAccounting, check_models
from .journal import Journal
from .price_book import PriceBook
from .reservation import Reservation

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
    """`price_book`: what answers and uploads cost; `instance`: of this container's start. The journal is one for
    all configurations."""

    def __init__(self, price_book: PriceBook, instance: str, journal: Journal | None = None) -> None:
        self.price_book = price_book
        self.journal = journal or Journal(instance)
        self._carried = _CarriedReports(self.journal)
        self._instance = instance

    def under(self, price_book: PriceBook) -> "EdgeAccounting":
        """The same accounts under another configuration."""
        return EdgeAccounting(price_book, self._instance, self.journal)

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

    async def authenticate(self, context: RequestContext) -> None:
        """Keys stay at the edge."""
        raise unauthenticated("This API key is not valid here.")

    def assume_cached_key(self, context: RequestContext) -> bool:
        return False

    def opened(self, context: RequestContext) -> None:
        """The edge has reserved for this request. Raises ApiError 500 for what is here already."""
        if not self.journal.opened(context.grant.reservation):
            raise misfit("A reservation was used twice.")

    def released(self, context: RequestContext, status: int) -> None:
        """It went to no provider."""
        self.journal.later(Report(context.grant.reservation, self._instance, 0, status=status))

    async def admit(
        self,
        context: RequestContext,
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
        check_models(context, route)
        grant = context.grant
        reports = self.journal if grant.ack is None else self._carried
        context.always = [*context.always, *grant.headers]
        context.reserved = True
        return Reservation(
            grant.reservation,
            self.price_book,
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


Accounts = Accounting | EdgeAccounting | NoAccounting
