"""The requests that are open, and what became of them: told to the ledger at once where that works, again and again
where it does not."""

import asyncio
from collections.abc import Callable

from worker.ledger.settle import Report, renew

from .. import log
from ..ledger import Store
from .turns import Turns

# An answer's end waits no longer than this for its settlement.
_PATIENCE = 0.5
_MOST_RELEASES = 10_000


class Settlements:
    """`alone`: no other process uses the store, so that nobody can miss what this one has not written yet. `now`:
    milliseconds since 1970; `lease`: milliseconds."""

    def __init__(
        self, store: Store, turns: Turns, instance: str, now: Callable[[], int], lease: int, *, alone: bool
    ) -> None:
        self._store = store
        self._turns = turns
        self._instance = instance
        self._now = now
        self._lease = lease
        self._alone = alone
        self._open: set[str] = set()

    @property
    def open(self) -> int:
        """Reservations that the ledger has not heard the end of."""
        return len(self._open)

    def opened(self, id: str) -> None:
        self._open.add(id)

    def later(self, report: Report) -> None:
        """Reports soon, whatever happens to the request's task."""
        self._turns.report(report)

    def release(self, id: str) -> None:
        """Of a request whose admission went wrong: it may have been let in all the same. In a long outage not all of
        them are kept; what is left of the others ends with its lease."""
        if self._turns.waiting < _MOST_RELEASES:
            self.later(Report(id, self._instance, 0, status=0))

    async def now(self, report: Report) -> None:
        """Reports so that whatever is asked of the ledger after this knows it. Of other processes' ledger too, if it
        can take it at once; else it goes on without the caller, whose end does not end it either."""
        self._turns.report(report)
        if self._alone:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turns.settled()
        except TimeoutError:
            log.warning("ledger_slow", reports_waiting=self._turns.waiting)

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """As `now`; the answer carries nothing."""
        await self.now(report)
        return []

    async def renew(self) -> None:
        """Puts off the end of everything that runs or waits. Raises LedgerUnavailable."""
        ids = [*self._open]
        if ids:
            await self._store.run(renew(self._instance, ids, self._now() + self._lease))

    async def drained(self, seconds: float) -> int:
        """Waits until nothing waits; how many reports could not be sent."""
        try:
            async with asyncio.timeout(seconds):
                while self._turns.waiting:
                    await self._turns.settled()
                    if self._turns.waiting:
                        await asyncio.sleep(_PATIENCE)
        except TimeoutError:
            log.warning("ledger_slow", reports_waiting=self._turns.waiting)
        return self._turns.waiting

    def acknowledged(self, report: Report, outcome: str) -> None:
        """The ledger has taken a report."""
        known = report.id in self._open
        self._open.discard(report.id)
        if outcome in ("unknown", "foreign") and known:
            log.warning("settlement_" + outcome, reservation=report.id)
