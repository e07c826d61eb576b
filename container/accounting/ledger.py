"""The ledger as the proxy uses it: one process's own (`LocalLedger`), or that of the process which keeps it for several
workers (`container/workers/worker.py`).

Admissions and settlement reports reach the store in batches (`LedgerBatcher`), one transaction each. While a batch is
running the next one collects, so the database gets as many batches as it can handle. A batch processes reports first. A
report may wait briefly to share a commit with the next request. If it is lost with the process, its reservation is
charged in full.

From time to time the ledger is checked and maintained (`Housekeeping`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from time import perf_counter as clock
from typing import Any, Protocol

import aiohttp

from worker.core.ledger import admit as admission
from worker.core.ledger import alerts, kept_responses, spend
from worker.core.ledger.accounts import Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision, Dialect
from worker.core.ledger.declared import AnyDeclared, sync_declared
from worker.core.ledger.expiry import AT_ONCE, expire, expire_instance, expire_others, forget_end_users
from worker.core.ledger.keys import new_id
from worker.core.ledger.schema import writable
from worker.core.ledger.settle import Report, renew
from worker.core.ledger.waiting_line import DEFAULT_PATIENCE, WaitingLine

from ..observability import log, metrics
from ..stores import LedgerUnavailable, Store
from .reservation import Reports

# Checks and maintenance.

# Seconds that a result of the check is cached, and seconds that the check may take.
FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 2.0


class LedgerCheck:
    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: tuple[float, bool] | None = None
        self._asking: asyncio.Task[bool] | None = None

    async def usable(self) -> bool:
        """Whether a row can be written. Concurrent probes share one check."""
        if self._known is not None and self._clock() - self._known[0] < FRESH_SECONDS:
            return self._known[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._store.run(writable())
            found = True
        except (LedgerUnavailable, TimeoutError):
            found = False
        finally:
            self._asking = None
        self._known = self._clock(), found
        return found


_EXPIRY_SECONDS = 1.0
_TRIM_SECONDS = 3600.0
_TRIM_AT_ONCE = 500
_TRIM_PAUSE = 0.05
_ALERT_SECONDS = 2.0
_WEBHOOK_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Housekeeping:
    """`only`: this process's instance if no other process uses the store, else None. `renew`: extends this process's
    reservations by milliseconds. `expired`: called when reservations have expired."""

    def __init__(
        self,
        store: Store,
        only: str | None,
        *,
        renew: Callable[[int], Awaitable[None]],
        policy: Callable[[], Policy],
        now: Callable[[], int],
        lease: int,
        retention_days: float | None,
        webhook: str | None,
        slack: str | None,
        expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._renew_leases = renew
        self._policy = policy
        self._only = only
        self._now = now
        self._lease = lease
        self._retention_days = retention_days
        self._webhook = webhook
        self._slack = slack
        self._expired = expired
        self._session: aiohttp.ClientSession | None = None

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return the tasks, which run until they are cancelled."""
        tasks: list[Coroutine[Any, Any, None]] = [
            _every(_EXPIRY_SECONDS, self._expire),
            _every(self._lease / 3000, self._renew),
            _every(_TRIM_SECONDS, self._trim_responses),
            _every(_TRIM_SECONDS, self._forget_end_users),
        ]
        if self._retention_days is not None:
            tasks.append(_every(_TRIM_SECONDS, self._trim))
        if self._webhook or self._slack:
            tasks.append(_every(_ALERT_SECONDS, self._alert))
        return tasks

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _renew(self) -> None:
        await self._renew_leases(self._lease)

    async def _expire(self) -> None:
        while self._only is not None:
            decision = expire_others(self._store.dialect, self._only, self._now(), AT_ONCE)
            if (await self._store.run(decision))["expired"] < AT_ONCE:
                self._only = None  # once is enough: no other process will appear
        # The rest expires in the next second.
        if (await self._store.run(expire(self._store.dialect, self._now(), AT_ONCE)))["expired"]:
            self._expired()

    async def _trim(self) -> None:
        assert self._retention_days is not None
        deleted = _TRIM_AT_ONCE
        while deleted == _TRIM_AT_ONCE:
            deleted = (await self._store.run(spend.trim_old(self._retention_days, self._now(), _TRIM_AT_ONCE)))[
                "deleted"
            ]
            await asyncio.sleep(_TRIM_PAUSE)

    async def _trim_responses(self) -> None:
        deleted = _TRIM_AT_ONCE
        while deleted == _TRIM_AT_ONCE:
            deleted = (await self._store.run(kept_responses.trim(self._store.dialect, self._now(), _TRIM_AT_ONCE)))[
                "deleted"
            ]
            await asyncio.sleep(_TRIM_PAUSE)

    async def _forget_end_users(self) -> None:
        after = None
        while after != "":
            decision = forget_end_users(self._store.dialect, self._policy(), self._now(), after or "")
            after = (await self._store.run(decision))["after"]
            await asyncio.sleep(_TRIM_PAUSE)

    async def _alert(self) -> None:
        urls = alerts.receivers(self._webhook, self._slack, self._policy().slack_alerts)
        for alert in await self._store.run(alerts.pending(self._now())) if urls else ():
            kind = alert["kind"]
            accepted = [one.to for one in alerts.messages(alert, urls) if await self._sent(one, kind)]
            await self._store.run(alerts.tried(alert, self._now(), accepted=accepted, urls=urls))

    async def _sent(self, message: alerts.Message, kind: str) -> bool:
        """Whether the receiver accepted the alert. The URL is never logged, because it contains a secret."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=_WEBHOOK_TIMEOUT)
        try:
            async with self._session.post(message.url, json=message.body, allow_redirects=False) as response:
                if alerts.is_delivered(response.status):
                    return True
                log.warning("alert_refused", status=response.status, kind=kind, to=message.to)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("alert_not_sent", error=type(error).__name__, kind=kind, to=message.to)
        return False


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Repeat the work. If the ledger is unavailable, log it once and keep trying."""
    complained = False
    while True:
        try:
            await work()
            complained = False
        except LedgerUnavailable as error:
            if not complained:
                log.error("ledger_unavailable", reason=str(error))
            complained = True
        except Exception as error:  # noqa: BLE001 try again later, whatever went wrong
            log.error("housekeeping_failed", error=type(error).__name__, reason=str(error)[:500])
        await asyncio.sleep(seconds)


# The ledger.

# Lifetime of a reservation that this process no longer renews.
LEASE_MS = 120_000
_DRAIN_SECONDS = 10.0
# How often a waiting request looks whether another replica's requests have ended.
_POLL_SECONDS = 0.5


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Ledger(Reports, Protocol):
    """`instance`: the name under which reservations are made. Every method may raise LedgerUnavailable, except those of
    `Reports`."""

    dialect: Dialect
    instance: str

    @property
    def unsettled(self) -> int:
        """Number of reports that are not in the ledger yet."""
        ...

    @property
    def open(self) -> int:
        """Number of reservations that are not settled."""
        ...

    async def admit(self, request: AdmissionRequest, size: int) -> dict[str, Any]:
        """Return the ledger's result, after waiting while only running requests keep this one out.

        `size`: bytes of its body.
        """
        ...

    async def authenticate(self, secret_hash: str) -> dict[str, Any]:
        """Return the result of `admit.authenticate`."""
        ...

    async def run(self, make: Callable[..., Decision], *arguments: Any, **named: Any) -> Any:
        """Run the decision that `make` returns, after all pending reports. `make` is a function of
        `worker.core.ledger`."""
        ...

    async def usable(self) -> bool:
        """Whether the ledger can pay for requests now. Raises nothing."""
        ...


class LocalLedger:
    """The ledger of this process.

    `alone`: no other process uses the store, so reservations that are open at startup belong to a dead process.
    `declared`: the config's keys and owners, which are synced to the ledger before the first request is admitted.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        alone: bool,
        declared: Sequence[AnyDeclared] = (),
        retention_days: float | None = None,
        webhook: str | None = None,
        slack: str | None = None,
        patience: float = DEFAULT_PATIENCE,
        pace: float = 0.0,
        now: Callable[[], int] = milliseconds,
    ) -> None:
        self.dialect = store.dialect
        self.instance = new_id()
        self.alone = alone
        self._store = store
        self._now = now
        self._line = WaitingLine(patience, poll=None if alone else _POLL_SECONDS)
        self._batcher = LedgerBatcher(store, policy, now, alone=alone, pace=pace, ended=self._line.wake)
        self.now, self.later, self.with_answer = self._batcher.now, self._batcher.later, self._batcher.with_answer
        self._housekeeping = Housekeeping(
            store,
            self.instance if alone else None,
            renew=self._batcher.renew,
            policy=lambda: self._batcher.policy,
            now=now,
            lease=LEASE_MS,
            retention_days=retention_days,
            webhook=webhook,
            slack=slack,
            expired=self._line.wake,
        )
        self._check = LedgerCheck(store)
        self._tasks: list[asyncio.Task] = []
        self._declared = declared
        self._holds_declared = False

    @property
    def unsettled(self) -> int:
        return self._batcher.waiting

    @property
    def open(self) -> int:
        return self._batcher.open

    async def start(self) -> None:
        """Open the store. The proxy starts without it, too, and answers 503 until it becomes available."""
        try:
            await self._store.open()
            await self._hold_declared()
        except LedgerUnavailable as error:
            log.error("ledger_unavailable", reason=str(error))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self._batcher.work(), *self._housekeeping.work())]

    def refuse_waiting(self) -> None:
        """Refuse the requests that wait for running ones, now and from now on: the process is shutting down."""
        self._line.close()

    async def close(self) -> None:
        """Close after the last request, once pending settlements are written."""
        lost = await self.drained()
        if lost:
            log.error("reports_not_sent", reports=lost, effect="their reservations are charged in full")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._housekeeping.close()
        await self._store.close()

    async def settled(self) -> None:
        """Return when all reports are in the ledger, or when writing them has failed."""
        await self._batcher.settled()

    async def drained(self) -> int:
        """Wait until all reports are in the ledger. Return how many are not."""
        return await self._batcher.drained(_DRAIN_SECONDS)

    async def usable(self) -> bool:
        return await self._check.usable()

    async def run(self, make: Callable[..., Decision], *arguments: Any, **named: Any) -> Any:
        try:
            return await self._batcher.run(make(*arguments, **named))
        finally:
            self._line.wake()  # a limit may have been raised

    def configure(self, policy: Policy, declared: Sequence[AnyDeclared]) -> None:
        """Use the limits and keys of another configuration from now on."""
        self._batcher.policy = policy
        self._declared = declared  # if the old keys are not synced yet, they must not overwrite the new ones
        self._holds_declared = False

    async def authenticate(self, secret_hash: str) -> dict[str, Any]:
        if not self._holds_declared:
            await self._hold_declared()
        return await self._batcher.run(admission.authenticate(secret_hash, self._now()))

    async def admit(self, request: AdmissionRequest, size: int) -> dict[str, Any]:
        (key, named), line = request.line, self._line
        ended, result = line.ended, None
        if not self._holds_declared:
            await self._hold_declared()
        if not line.has(key, named):
            result = await self._batcher.admit(request)
            if "soon" not in result:
                return result
        return await line.wait(key, size, lambda: self._batcher.admit(request), result, ended, named)

    def admission(self, request: AdmissionRequest, answer: "Waiting") -> bool:
        """Try once, and give `answer` the result, which is faster than `admit`. Return False if others wait: it was not
        tried. After an error the caller must release the reservation."""
        if not self._holds_declared or self._line.has(*request.line):
            return False
        self._batcher.admission(request, answer)
        return True

    async def end(self, instance: str) -> int:
        """Charge the open reservations of a worker that has died in full, until a report corrects them. Return how many
        there were. Call it again after LedgerUnavailable."""
        expired = 0
        while True:
            ended = (await self.run(expire_instance, self.dialect, instance, self._now(), AT_ONCE))["expired"]
            expired += ended
            if ended < AT_ONCE:
                self._batcher.forget(instance)
                return expired

    async def _hold_declared(self) -> None:
        """Sync the declared keys once, before any request, so that removed keys are blocked. Raises
        LedgerUnavailable."""
        declared = self._declared
        done = await self._store.run(sync_declared(self.dialect, declared, self._now()))
        self._holds_declared = declared is self._declared
        if done["made"] or done["changed"] or done["blocked"]:
            log.info("virtual_keys", **{name: done[name] for name in ("made", "changed", "blocked")})
        if any(done["owners"].values()):
            log.info("declared_owners", **done["owners"])


# Larger batches would block the event loop for too long with SQLite.
_MOST = 128
_LIE_SECONDS = 0.005
_RETRY_SECONDS = 1.0
# A busy event loop delays a batch by at most this many iterations. If an iteration is shorter than this, the loop is
# idle.
_ROUNDS = 8
_IDLE_SECONDS = 20e-6
# A ledger is busy if its last batch admitted so many requests. The next ones are then about to come.
_BUSY = 4
# The end of a response waits no longer than this for its settlement.
_PATIENCE = 0.5
_MOST_RELEASES = 10_000


class Waiting(Protocol):
    """What waits for a result: a future, or what passes it on. Once it is done, nobody waits any more."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


_Admission = tuple[AdmissionRequest, Waiting]


class LedgerBatcher:
    """Batches the admissions and reports of this process and of its workers.

    `alone`: no other process uses the store. `now`: returns milliseconds since 1970. `pace`: seconds that a busy ledger
    lets pass between two batches, so that more requests share the second one; a batch costs more than a request.
    `ended`: called with the accounts whose requests have ended.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        now: Callable[[], int],
        *,
        alone: bool,
        pace: float = 0.0,
        ended: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self.policy = policy
        self._now = now
        self._alone = alone
        self._pace = pace
        self._due = 0.0  # when the next batch may begin
        self._ended = ended
        self._open: dict[str, str] = {}  # id -> instance
        self._requests: list[_Admission] = []
        self._reports: dict[str, Report] = {}
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: list[asyncio.Future[None]] = []
        self._complained = False

    @property
    def waiting(self) -> int:
        """Number of reports that are not in the ledger yet."""
        return len(self._reports)

    @property
    def open(self) -> int:
        """Number of reservations that are not settled."""
        return len(self._open)

    async def admit(self, request: AdmissionRequest) -> Any:
        """Return a result of `core.ledger.batch`. Raises LedgerUnavailable.

        On an error or cancellation the reservation is released, because the request may have been admitted.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.admission(request, future)
        try:
            return await future
        except BaseException:
            # In a long outage some releases are dropped. Those reservations expire.
            if len(self._reports) < _MOST_RELEASES:
                self.later(Report(request.id, request.instance, 0, status=0))
            raise

    def admission(self, request: AdmissionRequest, answer: Waiting) -> None:
        """Give `answer` the result. If it is done before that, the reservation is released, as in `admit`. After an
        error the caller must release it."""
        self._requests.append((request, answer))
        self._go()

    def later(self, report: Report) -> None:
        """Queue a report, which is kept until the ledger has it. Cancelling the request does not affect it."""
        self._reports[report.id] = report
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LIE_SECONDS, self._time_is_up)

    async def now(self, report: Report) -> None:
        """Queue a report to be written before any later decision.

        If other processes use the ledger, wait briefly until the report is written. Cancellation does not cancel the
        report.
        """
        self.later(report)
        if self._alone:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.settled()
        except TimeoutError:
            log.warning("ledger_slow", reports_waiting=len(self._reports))

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """Same as `now`; there are no headers to add."""
        await self.now(report)
        return []

    async def settled(self) -> None:
        """Return when all reports are in the ledger, or when writing them has failed."""
        if self._reports:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watching.append(future)
            self._go()
            await future

    async def drained(self, seconds: float) -> int:
        """Wait until all reports are in the ledger. Return how many are not."""
        try:
            async with asyncio.timeout(seconds):
                while self._reports:
                    await self.settled()
                    if self._reports:
                        await asyncio.sleep(_PATIENCE)
        except TimeoutError:
            log.warning("ledger_slow", reports_waiting=len(self._reports))
        return len(self._reports)

    async def renew(self, lease: int) -> None:
        """Extend the reservations of all running requests, by milliseconds. Raises LedgerUnavailable."""
        for instance in {*self._open.values()}:
            ids = [id for id, its in self._open.items() if its == instance]
            await self._store.run(renew(instance, ids, self._now() + lease, self._store.dialect))

    def forget(self, instance: str) -> None:
        """Stop renewing the reservations of a worker that has died."""
        self._open = {id: its for id, its in self._open.items() if its != instance}

    async def run(self, decision: Decision) -> Any:
        """Run any other decision after all pending reports. Raises LedgerUnavailable."""
        try:
            await self.settled()
        except BaseException:
            decision.steps.close()
            raise
        return await self._store.run(decision)

    async def work(self) -> None:
        """Run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._requests and not self._watching:
                self._wake = loop.create_future()
                await self._wake
            await self._gathered()
            if self._due > (now := clock()):
                await asyncio.sleep(self._due - now)
            watching, self._watching = self._watching, []
            left = await self._next()
            if self._reports and self._timer is None:  # left over, failed, or queued while the batch was running
                pause = _RETRY_SECONDS if self._complained else _LIE_SECONDS
                self._timer = loop.call_later(pause, self._time_is_up)
            if left and not self._complained:
                self._watching += watching
                continue
            for future in watching:
                if not future.done():
                    future.set_result(None)

    async def _gathered(self) -> None:
        """Let the event loop process what is ready, so that more requests join the batch.

        Returns when the loop is idle, or after a few iterations if it is busy. On an idle loop this takes no time.
        """
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

    async def _next(self) -> bool:
        """Run one batch. Return whether reports are left over."""
        requests, self._requests = self._requests[:_MOST], self._requests[_MOST:]
        requests = [one for one in requests if not one[1].done()]
        reports = list(self._reports.values())
        left = len(reports) > _MOST
        del reports[_MOST:]
        if not requests and not reports:
            return False
        try:
            await self._decide(reports, requests)
            if len(requests) >= _BUSY:
                self._due = clock() + self._pace
        except Exception as error:  # noqa: BLE001 the next batch has to run, whatever went wrong
            log.error("ledger_batch_failed", error=type(error).__name__)
            self._complained = True
        finally:
            _fail(requests, LedgerUnavailable("The ledger's batch did not run."))
        return left

    async def _decide(self, reports: list[Report], requests: list[_Admission]) -> None:
        decision = batch(self._store.dialect, self.policy, reports, [request for request, _ in requests], self._now())
        began = clock()
        try:
            done = await self._store.run(decision)
            metrics.turn_duration.observe((), clock() - began)
        except LedgerUnavailable as error:
            self._unavailable(error)
            _fail(requests, error)
        except Exception as error:  # noqa: BLE001 one invalid entry must not fail the others
            if len(reports) + len(requests) > 1:
                await self._divide(reports, requests, error)
            elif requests:
                _fail(requests, error)
            else:
                log.error(
                    "settlement_failed",
                    error=type(error).__name__,
                    reservation=reports[0].id,
                    effect="It is charged in full when its reservation ends.",
                )
                self._taken(reports[0], "failed")
        else:
            self._complained = False
            for report, outcome in zip(reports, done["outcomes"], strict=True):
                self._taken(report, outcome)
            for (request, future), result in zip(requests, done["results"], strict=True):
                if not future.done():
                    if result["ok"]:
                        self._open[request.id] = request.instance
                    future.set_result(result)
                elif result["ok"]:  # cancelled in the meantime
                    self.later(Report(request.id, request.instance, 0, status=0))
            if done["ended"]:
                self._ended(done["ended"])

    async def _divide(self, reports: list[Report], requests: list[_Admission], error: Exception) -> None:
        """Run each entry in its own batch."""
        log.error("ledger_batch_divided", error=type(error).__name__, requests=len(requests), reports=len(reports))
        for report in reports:
            await self._decide([report], [])
        for one in requests:
            if not one[1].done():
                await self._decide([], [one])

    def _taken(self, report: Report, outcome: str) -> None:
        if self._reports.get(report.id) is report:
            del self._reports[report.id]
        if outcome in ("unknown", "foreign") and report.id in self._open:
            log.warning("settlement_" + outcome, reservation=report.id)
        self._open.pop(report.id, None)

    def _unavailable(self, error: LedgerUnavailable) -> None:
        metrics.ledger_unavailable.add()
        if not self._complained:
            log.error("ledger_unavailable", reason=str(error), reports_waiting=len(self._reports))
        self._complained = True


def _fail(requests: list[_Admission], error: Exception) -> None:
    for _, future in requests:
        if not future.done():
            future.set_exception(error)
