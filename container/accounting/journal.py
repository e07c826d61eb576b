"""Settlement reports for the edge's ledger: numbered, in order, and kept until they are acknowledged.

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
from collections.abc import Callable, Iterable

from worker.core.ledger.settle import Report
from worker.core.protocol import CarriedReport, JournalPage

from ..observability import log

# New requests are refused while this many entries wait.
MOST_WAITING = 10_000
PAGE = 50
# A reservation expires after two minutes. This leaves room for two failed renewals.
RENEW_SECONDS = 40.0
# A response that carries its report reaches the edge at once. It is considered lost after this many seconds without an
# acknowledgement.
CARRY_SECONDS = 1.0
# How long a request that the edge has given up may still arrive, and how many such requests are remembered.
_DISOWNED_SECONDS = 120.0
_MOST_DISOWNED = 10_000


class Journal:
    """`instance`: id of this container start. `attempts`: the edge reads those of a report. For use on one event
    loop."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic, *, attempts: bool = True) -> None:
        self._instance = instance
        self._attempts = attempts
        self.providers = False  # a configuration has budgets of providers or deployments
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
            report = report._replace(attempts="", provider=None)
        elif not self.providers:  # an older ledger object does not know the field
            report = report._replace(provider=None)
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
