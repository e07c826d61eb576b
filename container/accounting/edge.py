"""Accounting behind the edge: the edge's ledger makes the reservations, and usage is reported to it."""

from collections.abc import Mapping
from typing import Any

from worker.core.api.errors import ApiError, service_unavailable, unauthenticated
from worker.core.ledger.settle import Report
from worker.core.pricing.charge import Charge
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.protocol import CATALOG_HEADER, GRANT_HEADER, REPORT_HEADER, EdgeGrant, catalog_of
from worker.core.values.claims import NO_CLAIMS, Claims

from ..observability import log
from ..routing.router import RouteRequest
from ..server.context import RequestContext
from .accounting import Accounting, NoAccounting, check_models
from .journal import Journal
from .price_book import PriceBook
from .reservation import Reservation

# The edge's grant: the reservation that it made for a request, and the models that the key may use.


def read_grant(header: str | None) -> EdgeGrant:
    """Raises ApiError 500 for a malformed grant: a bug between edge and container, not a client error."""
    if header is None:
        return EdgeGrant()
    try:
        return EdgeGrant.decode(header)
    except (ValueError, TypeError):
        raise misfit(f"The {GRANT_HEADER} header cannot be read.") from None


def check_catalog(headers: Mapping[str, str], own: str, grant: EdgeGrant) -> None:
    """Raises ApiError 503 if the edge has a different catalog and so reserves with different prices and models."""
    theirs = headers.get(CATALOG_HEADER)
    if theirs != catalog_of(own, grant):
        raise service_unavailable(
            "The edge and its container have different configurations "
            f"(catalog {(theirs or 'unknown')[:32]} there, {own} here). Deploy again, so that both have the same.",
            retry_after=30,
        )


def misfit(what: str) -> ApiError:
    """An error between the two halves of a deployment, which no client can fix."""
    return ApiError(
        500,
        "server_error",
        f"{what} The edge and its container are incompatible. Deploy again, so that both have the same version.",
        code="version_mismatch",
        headers=[("retry-after", "30")],
    )


# Reports that are not fetched before the process ends are charged in full.
_DRAIN_SECONDS = 10.0


class _CarriedReports:
    """Sends a report in the headers of a complete response, otherwise through the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.now = journal.now
        self.later = journal.later

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        return [(REPORT_HEADER, self._journal.carried(report))]


class EdgeAccounting:
    """Reports usage to the edge.

    `price_book`: prices of responses and uploads. `instance`: id of this container start. All configurations share one
    journal.
    """

    def __init__(self, price_book: PriceBook, instance: str, journal: Journal | None = None) -> None:
        self.price_book = price_book
        self.journal = journal or Journal(instance)
        self.journal.providers = self.journal.providers or price_book.has_accounts
        self._carried = _CarriedReports(self.journal)
        self._instance = instance

    def under(self, price_book: PriceBook) -> "EdgeAccounting":
        """Return the same accounting under another configuration."""
        return EdgeAccounting(price_book, self._instance, self.journal)

    @property
    def unsettled(self) -> int:
        """Number of reports that the edge has not acknowledged."""
        return self.journal.waiting

    @property
    def open(self) -> int:
        """Number of running requests with a reservation."""
        return self.journal.open

    async def usable(self) -> bool:
        """The edge checks its ledger itself."""
        return True

    async def drained(self) -> None:
        """After the last request, wait until the edge has fetched the remaining reports."""
        lost = await self.journal.drained(_DRAIN_SECONDS)
        if lost:
            log.error("reports_not_fetched", reports=lost, effect="their reservations are charged in full")
        self.journal.close()

    async def authenticate(self, context: RequestContext) -> None:
        """Keys are checked at the edge."""
        raise unauthenticated("This API key is not valid here.")

    def assume_cached_key(self, context: RequestContext) -> bool:
        return False

    def opened(self, context: RequestContext) -> None:
        """Register the edge's reservation for this request. Raises ApiError 500 if it was used before."""
        if not self.journal.opened(context.grant.reservation):
            raise misfit("A reservation was used twice.")

    def released(self, context: RequestContext, status: int) -> None:
        """Report a request that was not sent to a provider."""
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
        claims: Claims = NO_CLAIMS,
    ) -> Reservation:
        """Wrap the edge's reservation. Raises ApiError 403 if the key may not use a fallback that the request names."""
        check_models(context, route)
        grant = context.grant
        reports = self.journal if grant.ack is None else self._carried
        context.always = [*context.always, *grant.headers]
        context.reserved = True
        reservation = context.reservation_made = Reservation(
            grant.reservation,
            self.price_book,
            reports,
            self._instance,
            amount=grant.amount,
            prompt=None,
            output_limit=grant.output_limit,
            most_output=grant.most_output,
            limited=grant.limited,
            exhausted=frozenset(grant.exhausted),
            measure=lambda: (grant.amount, estimated or prompt(body)),  # if the provider does not report usage
            tier=body.get("service_tier"),
            units=charge.units,
        )
        return reservation


Accounts = Accounting | EdgeAccounting | NoAccounting
