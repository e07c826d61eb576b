"""Accounting behind the edge: the edge's ledger makes the reservations, and usage is reported to it.

    journal.opened(id)                      # the edge has a reservation for this request
    journal.later(report)                   # its final usage
    page = await journal.page(ack, 20.0)    # the edge polls, and acknowledges the previous page
    text = journal.carried(report)          # or the response itself carries the report to the edge

Entries are sent again until they are acknowledged, because the edge may lose its memory. The ledger ignores duplicate
reports. The journal is in memory: if the process dies, the reservations are charged in full.
"""

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from worker.core.api.errors import ApiError, service_unavailable, unauthenticated
from worker.core.ledger.settle import Report
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.prices import Charge
from worker.core.protocol import (
    CATALOG_HEADER,
    GRANT_HEADER,
    REPORT_HEADER,
    CarriedReport,
    EdgeGrant,
    JournalPage,
    catalog_of,
)
from worker.core.values.claims import NO_CLAIMS, Claims

from ..observability import log
from ..routing.router import RouteRequest
from ..server.auth import check_models
from ..server.context import RequestContext
from .accounting import Accounting, NoAccounting
from .reservation import PriceBook, Reservation

# New requests are refused while this many entries wait.
MOST_WAITING = 10_000
PAGE = 50
# A reservation expires after two minutes. This leaves room for two failed renewals.
RENEW_SECONDS = 40.0
# A response that carries its report reaches the edge at once. It is considered lost after this many seconds without an
# acknowledgement.
CARRY_SECONDS = 1.0
# How long a page waits for more reports while other requests run.
GATHER_SECONDS = 0.05
# How long a request that the edge has given up may still arrive, and how many such requests are remembered.
_DISOWNED_SECONDS = 120.0
_MOST_DISOWNED = 10_000


class Journal:
    """`instance`: id of this container start. `attempts`: the edge reads those of a report. For use on one event
    loop."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic, *, attempts: bool = True) -> None:
        self._instance = instance
        self._attempts = attempts
        self.providers = False  # a configuration has limits of providers, models or deployments
        self._clock = clock
        self._entries: deque[tuple[int, Report]] = deque()
        self._carried: OrderedDict[int, float] = OrderedDict()  # number -> deadline of its acknowledgement
        self._last = 0
        self._open: OrderedDict[str, float] = OrderedDict()  # id -> time of its next renewal, soonest first
        self._disowned: OrderedDict[str, float] = OrderedDict()  # id -> time
        self._asking: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self.ending = False  # the process is shutting down and accepts nothing new

    @property
    def full(self) -> bool:
        return len(self._entries) >= MOST_WAITING

    @property
    def waiting(self) -> int:
        return len(self._entries)

    @property
    def open(self) -> int:
        return len(self._open)

    def opened(self, id: str) -> bool:
        """Register a request. Return False if it is running already or the edge has given it up."""
        if id in self._open or id in self._disowned:
            return False
        self._open[id] = self._clock() + RENEW_SECONDS
        return True

    def later(self, report: Report) -> None:
        """Queue a report for the edge to fetch."""
        self._add(report)
        self._tell()

    def carried(self, report: Report) -> str:
        """Return the report as text for the response's REPORT_HEADER, so that the edge need not fetch it."""
        self._add(report)
        self._carried[self._last] = self._clock() + CARRY_SECONDS
        return CarriedReport(self._last, self._entries[0][0], self._entries[-1][1].fields).encode()

    def acknowledge(self, ack: int) -> None:
        """The ledger has all entries up to this number."""
        while self._entries and self._entries[0][0] <= ack:
            number, _ = self._entries.popleft()
            self._carried.pop(number, None)
        if not self._entries:
            self._empty.set()

    def _add(self, report: Report) -> None:
        self._open.pop(report.id, None)
        self._last += 1
        if not self._attempts:
            report = report._replace(attempts="", provider=None, group="")
        elif not self.providers:  # an older ledger object does not know the fields
            report = report._replace(provider=None, group="")
        self._entries.append((self._last, report))
        self._empty.clear()

    async def now(self, report: Report) -> None:
        """Same as `later`: responses do not wait for the edge."""
        self.later(report)

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """Same as `later`; there are no headers to add."""
        self.later(report)
        return []

    async def page(self, ack: int, wait: float, doubtful: Iterable[str] = ()) -> JournalPage:
        """Return news for the edge, as soon as there is any or after `wait` seconds.

        `ack`: the last number that the edge has. `doubtful`: ids of requests that it sent but that may not have
        arrived. A new poll ends a waiting one, which comes from an edge instance that was replaced.
        """
        self.acknowledge(ack)
        for id in doubtful:
            self._disown(id)
        self._tell()
        end = self._clock() + wait
        while not self._has_news() and not self._closing:
            left = min(next(iter(self._open.values()), end), end) - self._clock()
            if left <= 0 or not await self._told(min(left, CARRY_SECONDS)):
                break
        else:
            await self._gather(end)
        entries = [(number, report.fields) for number, report in itertools.islice(self._entries, PAGE)]
        return JournalPage(entries, self._renewals(), len(self._open), len(self._entries))

    def close(self) -> None:
        """End waiting polls before shutdown."""
        self._closing = True
        self._tell()

    async def drained(self, seconds: float) -> int:
        """Wait until everything is acknowledged. Return the number of entries left after `seconds`."""
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            log.warning("edge_slow", reports_waiting=len(self._entries))
        return len(self._entries)

    def _has_news(self) -> bool:
        """Whether there are entries to fetch: not sent with a response, or sent with one that was lost."""
        now = self._clock()
        while self._carried and next(iter(self._carried.values())) <= now:
            self._carried.popitem(last=False)
        return len(self._entries) > len(self._carried)

    async def _gather(self, end: float) -> None:
        """Wait a moment for the reports of requests that end at nearly the same time: a page costs the edge more than
        what is on it. Nothing is gathered once no request runs."""
        end = min(end, self._clock() + GATHER_SECONDS)
        while self._open and len(self._entries) < PAGE and not self._closing:
            left = end - self._clock()
            if left <= 0 or not await self._told(left):
                break

    async def _told(self, seconds: float) -> bool:
        """Wait for news. Return False if another poll has started."""
        asking = self._asking = asyncio.get_running_loop().create_future()
        await asyncio.wait((asking,), timeout=seconds)
        return self._asking is asking

    def _tell(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.set_result(None)

    def _renewals(self) -> list[str]:
        now, due = self._clock(), []
        for id, when in self._open.items():
            if when > now or len(due) == PAGE:
                break
            due.append(id)
        for id in due:
            self._open[id] = now + RENEW_SECONDS
            self._open.move_to_end(id)
        return due

    def _disown(self, id: str) -> None:
        """Report zero cost for a request that never arrived, and refuse it if it still does.

        If it has already finished, this second report is ignored.
        """
        now = self._clock()
        while self._disowned and (
            next(iter(self._disowned.values())) < now - _DISOWNED_SECONDS or len(self._disowned) >= _MOST_DISOWNED
        ):
            self._disowned.popitem(last=False)
        if id not in self._open and id not in self._disowned:
            self._disowned[id] = now
            self.later(Report(id, self._instance, 0, status=499))


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
        if grant.aliases and grant.aliases.get(route.alias) != route.model:
            raise misfit("The edge has made a reservation for another model.")
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
