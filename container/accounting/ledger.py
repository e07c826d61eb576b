"""The ledger as the proxy uses it: one process's own (`LocalLedger`), or that of the process which keeps it for several
workers (`container/workers/worker.py`). Also its periodic maintenance, and a check whether it is usable.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

import aiohttp

from worker.core.ledger import admit as admission
from worker.core.ledger import alerts, kept_responses, spend
from worker.core.ledger.accounts import Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.decision import Decision, Dialect
from worker.core.ledger.declared import AnyDeclared, sync_declared
from worker.core.ledger.expiry import AT_ONCE, expire, expire_instance, expire_others, forget_end_users
from worker.core.ledger.keys import new_id
from worker.core.ledger.schema import writable
from worker.core.ledger.waiting_line import DEFAULT_PATIENCE, WaitingLine

from ..observability import log
from ..stores import LedgerUnavailable, Store
from .batcher import LedgerBatcher, Waiting
from .reservation import Reports

# Seconds that a result is cached, and seconds that the check may take.
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
    """`only`: this process's instance if no other process uses the store, else None. `expired`: called when
    reservations have expired."""

    def __init__(
        self,
        store: Store,
        batcher: LedgerBatcher,
        only: str | None,
        *,
        now: Callable[[], int],
        lease: int,
        retention_days: float | None,
        webhook: str | None,
        slack: str | None,
        expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._batcher = batcher
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
        await self._batcher.renew(self._lease)

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
            decision = forget_end_users(self._store.dialect, self._batcher.policy, self._now(), after or "")
            after = (await self._store.run(decision))["after"]
            await asyncio.sleep(_TRIM_PAUSE)

    async def _alert(self) -> None:
        urls = alerts.receivers(self._webhook, self._slack, self._batcher.policy.slack_alerts)
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
            self._batcher,
            self.instance if alone else None,
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

    def admission(self, request: AdmissionRequest, answer: Waiting) -> bool:
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
