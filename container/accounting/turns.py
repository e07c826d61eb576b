"""Requests and reports go to the ledger together: all that are there at a time in one transaction.

While one turn is on its way the next one gathers, so that a database is asked as often as it can answer and no more.
Reports come first in their turn. Where nothing else waits for them they may lie for a moment, so that they share the
next request's commit: a report that is lost with this process leaves a reservation, which counts in full.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter as clock
from typing import Any

from worker.ledger.admit import Ask
from worker.ledger.decision import Decision
from worker.ledger.policy import Policy
from worker.ledger.settle import Report, settle
from worker.ledger.turn import turn

from .. import log, metrics
from ..ledger import LedgerUnavailable, Store

Outcome = Callable[[Report, str], None]
# More would keep a SQLite file's event loop from its other work for too long.
_MOST = 128
_LIE_SECONDS = 0.005
_RETRY_SECONDS = 1.0
# While the event loop has other work, a turn waits for so many of its rounds; one that is shorter is idle.
_ROUNDS = 8
_IDLE_SECONDS = 20e-6


class Turns:
    """`outcome` is told what became of each report that the ledger has taken. `now`: milliseconds since 1970."""

    def __init__(self, store: Store, policy: Policy, now: Callable[[], int], outcome: Outcome) -> None:
        self._store = store
        self.policy = policy
        self._now = now
        self._outcome = outcome
        self._asks: list[tuple[Ask, asyncio.Future[Any]]] = []
        self._reports: dict[str, Report] = {}
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: list[asyncio.Future[None]] = []
        self._complained = False

    @property
    def waiting(self) -> int:
        """Reports that the ledger has not taken."""
        return len(self._reports)

    def admit(self, ask: Ask) -> asyncio.Future[Any]:
        """The result of `worker.ledger.admit`. Raises LedgerUnavailable. Who is cancelled has its reservation released
        by its own report."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asks.append((ask, future))
        self._go()
        return future

    def report(self, report: Report) -> None:
        """Kept until the ledger has it."""
        self._reports[report.id] = report
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LIE_SECONDS, self._time_is_up)

    async def settled(self) -> None:
        """Returns when everything that has been reported is in the ledger, or could not be written now."""
        if self._reports:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watching.append(future)
            self._go()
            await future

    async def run(self, decision: Decision) -> Any:
        """Anything else's result; it sees what has been reported before. Raises LedgerUnavailable."""
        try:
            await self.settled()
        except BaseException:
            decision.steps.close()
            raise
        return await self._store.run(decision)

    async def work(self) -> None:
        """Takes turn after turn, for as long as the proxy runs."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._asks and not self._watching:
                self._wake = loop.create_future()
                await self._wake
            await self._gathered()
            watching, self._watching = self._watching, []
            left = await self._turn()
            if left and not self._complained:
                self._watching += watching
                continue
            for future in watching:
                if not future.done():
                    future.set_result(None)
            if self._complained and self._reports and self._timer is None:
                self._timer = loop.call_later(_RETRY_SECONDS, self._time_is_up)

    async def _gathered(self) -> None:
        """Returns when the event loop has dealt with what is ready now, or has been busy with that for a while: the
        requests among it come into the same turn. An idle loop's round takes no time."""
        began = clock()
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
            now = clock()
            if now - began < _IDLE_SECONDS:
                return
            began = now

    def _time_is_up(self) -> None:
        self._timer = None
        if self._reports:
            self._go()

    def _go(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _turn(self) -> bool:
        """Whether there are reports that it had no room for."""
        asks, self._asks = self._asks[:_MOST], self._asks[_MOST:]
        asks = [one for one in asks if not one[1].done()]
        reports = list(self._reports.values())
        left = len(reports) > _MOST
        del reports[_MOST:]
        if not asks and not reports:
            return False
        try:
            await self._decide(reports, asks)
        except Exception as error:  # noqa: BLE001 the next turn has to come, whatever went wrong
            log.error("ledger_turn_failed", error=type(error).__name__)
            self._complained = True
        finally:
            for _, future in asks:
                if not future.done():
                    future.set_exception(LedgerUnavailable("The ledger's turn was not carried out."))
        return left

    async def _decide(self, reports: list[Report], asks: list[tuple[Ask, asyncio.Future[Any]]]) -> None:
        store = self._store
        decision = turn(store.dialect, self.policy, reports, [ask for ask, _ in asks], self._now())
        began = clock()
        try:
            result = await store.run(decision)
            metrics.turn_duration.observe((), clock() - began)
        except LedgerUnavailable as error:
            self._unavailable(error)
            for _, future in asks:
                if not future.done():
                    future.set_exception(error)
        except Exception as error:  # noqa: BLE001 one that cannot be written must not take the others with it
            log.error("ledger_turn_divided", error=type(error).__name__, requests=len(asks), reports=len(reports))
            for report in reports:
                await self._settle_alone(report)
            for ask, future in asks:
                await self._admit_alone(ask, future)
        else:
            self._complained = False
            for report, outcome in zip(reports, result["outcomes"], strict=True):
                self._taken(report, outcome)
            for (_, future), found in zip(asks, result["results"], strict=True):
                if not future.done():
                    future.set_result(found)

    async def _settle_alone(self, report: Report) -> None:
        try:
            decision = settle(self._store.dialect, self.policy, report, self._now())
            self._taken(report, (await self._store.run(decision))["outcome"])
        except LedgerUnavailable as error:
            self._unavailable(error)
        except Exception as error:  # noqa: BLE001 it would be in the way of all others, again and again
            meaning = "It is charged in full when its reservation ends."
            log.error("settlement_failed", error=type(error).__name__, reservation=report.id, effect=meaning)
            self._taken(report, "failed")

    async def _admit_alone(self, ask: Ask, future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        try:
            decision = turn(self._store.dialect, self.policy, (), (ask,), self._now())
            (found,) = (await self._store.run(decision))["results"]
        except Exception as error:  # noqa: BLE001 it is the asker's
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(found)

    def _taken(self, report: Report, outcome: str) -> None:
        if self._reports.get(report.id) is report:
            del self._reports[report.id]
        self._outcome(report, outcome)

    def _unavailable(self, error: LedgerUnavailable) -> None:
        metrics.ledger_unavailable.add()
        if not self._complained:
            log.error("ledger_unavailable", reason=str(error), reports_waiting=len(self._reports))
        self._complained = True
