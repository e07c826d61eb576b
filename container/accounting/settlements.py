"""Reports on their way to the ledger: at once where that works, again and again where it does not."""

import asyncio
from collections.abc import Callable

from worker.ledger.policy import Policy
from worker.ledger.settle import Report, renew, settle, settle_all

from .. import log
from ..ledger import LedgerUnavailable, Store

# An answer's end waits no longer than this for its settlement.
_PATIENCE = 0.5
_BATCH = 50
_MOST_RELEASES = 10_000
_RETRY_SECONDS = 1.0


class Settlements:
    """The requests that are open, and the reports that the ledger has not acknowledged. `now`: milliseconds since 1970;
    `lease`: milliseconds."""

    def __init__(self, store: Store, policy: Policy, instance: str, now: Callable[[], int], lease: int) -> None:
        self._store = store
        self.policy = policy
        self._instance = instance
        self._now = now
        self._lease = lease
        self._open: set[str] = set()
        self._running: set[asyncio.Task] = set()
        self._waiting: dict[str, Report] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def opened(self, id: str) -> None:
        self._open.add(id)

    def later(self, report: Report) -> None:
        """Reports soon, whatever happens to the request's task."""
        self._waiting[report.id] = report
        self._idle.clear()
        self._wake.set()

    def release(self, id: str) -> None:
        """Of a request whose admission went wrong: it may have been let in all the same. In a long outage not all of
        them are kept; what is left of the others ends with its lease."""
        if len(self._waiting) < _MOST_RELEASES:
            self.later(Report(id, self._instance, 0, status=0))

    async def now(self, report: Report) -> None:
        """Reports before it returns, if the ledger can take it at once; else it goes on without the caller, whose end
        does not end it either. Raises CancelledError only."""
        task = asyncio.get_running_loop().create_task(self._settle(report))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait((task,), timeout=_PATIENCE)

    async def _settle(self, report: Report) -> None:
        try:
            result = await self._store.run(settle(self._store.dialect, self.policy, report, self._now()))
        except LedgerUnavailable:
            self.later(report)
        except Exception as error:  # noqa: BLE001 what has been spent is reported until the ledger has it
            log.error("settlement_failed", error=type(error).__name__, reservation=report.id)
            self.later(report)
        else:
            self._acknowledged(report, result["outcome"])

    async def renew(self) -> None:
        """Puts off the end of everything that runs or waits. Raises LedgerUnavailable."""
        ids = [*self._open]
        if ids:
            await self._store.run(renew(self._instance, ids, self._now() + self._lease))

    async def run(self) -> None:
        """Sends what waits, for as long as the proxy runs."""
        complained = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._send()
                complained = False
            except LedgerUnavailable as error:
                if not complained:
                    log.error("ledger_unavailable", error=str(error), reports_waiting=len(self._waiting))
                complained = True
            except Exception as error:  # noqa: BLE001 a report that fails must not end the others'
                log.error("settlement_failed", error=type(error).__name__, reports_waiting=len(self._waiting))
            if self._waiting:
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()
            else:
                self._idle.set()

    async def drained(self, seconds: float) -> int:
        """Waits until nothing waits; how many reports could not be sent."""
        try:
            async with asyncio.timeout(seconds):
                while self._running or self._waiting:
                    await asyncio.gather(*self._running)
                    await self._idle.wait()
        except TimeoutError:
            log.warning("ledger_slow", reports_waiting=len(self._waiting), reports_running=len(self._running))
        return len(self._waiting) + len(self._running)

    async def _send(self) -> None:
        while self._waiting:
            batch = list(self._waiting.values())[:_BATCH]
            result = await self._store.run(settle_all(self._store.dialect, self.policy, batch, self._now()))
            for report, outcome in zip(batch, result["outcomes"], strict=True):
                if self._waiting.get(report.id) is report:
                    del self._waiting[report.id]
                self._acknowledged(report, outcome)

    def _acknowledged(self, report: Report, outcome: str) -> None:
        known = report.id in self._open
        self._open.discard(report.id)
        if outcome in ("unknown", "foreign") and known:
            log.warning("settlement_" + outcome, reservation=report.id)
