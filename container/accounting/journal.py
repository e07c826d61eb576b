"""What requests came to, kept until the edge's ledger has it: numbered, in order, acknowledged.

journal.opened(id)                      # the edge has reserved for this request
journal.later(report)                   # what became of it
page = await journal.page(ack, 20.0)    # the edge asks, and acknowledges what it has got before
text = journal.carried(report)          # or: the answer itself carries the report to the edge

An entry stays until it is acknowledged, so an edge that loses its memory is told again: a second report changes
nothing. Nothing here survives the process; what it takes along is charged in full.
"""

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from worker.core.ledger.settle import Report
from worker.core.protocol import CarriedReport, JournalPage

from ..observability import log

# New requests are refused while so many entries wait.
MOST_WAITING = 10_000
PAGE = 50
# A reservation lasts two minutes without a renewal: this leaves room for two that go wrong.
RENEW_SECONDS = 40.0
# An answer that carries its report reaches the edge at once. Without an acknowledgement for so many seconds it has not.
CARRY_SECONDS = 1.0
# How long a request that the edge has given up may still arrive here, and the most of them that are remembered.
_DISOWNED_SECONDS = 120.0
_MOST_DISOWNED = 10_000


class Journal:
    """`instance`: of this container's start. One event loop uses it."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._instance = instance
        self._clock = clock
        self._entries: deque[tuple[int, Report]] = deque()
        self._carried: OrderedDict[int, float] = OrderedDict()  # number -> until when its answer may be on its way
        self._last = 0
        self._open: OrderedDict[str, float] = OrderedDict()  # id -> when it is to be renewed, soonest first
        self._disowned: OrderedDict[str, float] = OrderedDict()  # id -> when
        self._asking: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False
        self.ending = False  # the process has been told to end: nothing new is taken

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
        """A request has come for this reservation. False: it runs already, or the edge has given it up."""
        if id in self._open or id in self._disowned:
            return False
        self._open[id] = self._clock() + RENEW_SECONDS
        return True

    def later(self, report: Report) -> None:
        """What became of a request; from here on it is the edge's to fetch."""
        self._add(report)
        self._tell()

    def carried(self, report: Report) -> str:
        """What became of a request whose answer carries this text, see REPORT_HEADER: the edge need not be told."""
        self._add(report)
        self._carried[self._last] = self._clock() + CARRY_SECONDS
        return CarriedReport(self._last, self._entries[0][0], report).encode()

    def acknowledge(self, ack: int) -> None:
        """The ledger has everything up to this number."""
        while self._entries and self._entries[0][0] <= ack:
            number, _ = self._entries.popleft()
            self._carried.pop(number, None)
        if not self._entries:
            self._empty.set()

    def _add(self, report: Report) -> None:
        self._open.pop(report.id, None)
        self._last += 1
        self._entries.append((self._last, report))
        self._empty.clear()

    async def now(self, report: Report) -> None:
        """The same: nobody's answer waits for the edge."""
        self.later(report)

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """The same, for the edge to fetch: the answer carries nothing."""
        self.later(report)
        return []

    async def page(self, ack: int, wait: float, doubtful: Iterable[str] = ()) -> JournalPage:
        """What the edge has to know, as soon as there is something, or after `wait` seconds.

        `ack`: the number up to which it has everything. `doubtful`: ids of requests that it sent and that may never
        have arrived. Whoever asks next ends the wait of whoever asked before, which is an edge that has been replaced.
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
        entries = [(number, [*report]) for number, report in itertools.islice(self._entries, PAGE)]
        return JournalPage(entries, self._renewals(), len(self._open), len(self._entries))

    def close(self) -> None:
        """The process is about to end: nobody is kept waiting any more."""
        self._closing = True
        self._tell()

    async def drained(self, seconds: float) -> int:
        """Waits until everything is acknowledged; how many entries are not after so many seconds."""
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            log.warning("edge_slow", reports_waiting=len(self._entries))
        return len(self._entries)

    def _has_news(self) -> bool:
        """Whether there are entries that no answer carries, or whose answer must have been lost."""
        now = self._clock()
        while self._carried and next(iter(self._carried.values())) <= now:
            self._carried.popitem(last=False)
        return len(self._entries) > len(self._carried)

    async def _told(self, seconds: float) -> bool:
        """Waits until something happens; False when someone else has asked meanwhile."""
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
        """A request that never came costs nothing, and is refused should it come after all. If it has come and gone,
        this second report of it changes nothing."""
        now = self._clock()
        while self._disowned and (
            next(iter(self._disowned.values())) < now - _DISOWNED_SECONDS or len(self._disowned) >= _MOST_DISOWNED
        ):
            self._disowned.popitem(last=False)
        if id not in self._open and id not in self._disowned:
            self._disowned[id] = now
            self.later(Report(id, self._instance, 0, status=499))
