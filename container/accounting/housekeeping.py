"""What the ledger needs from time to time: a check whether it is usable, and its maintenance."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp

from worker.core.ledger import alerts, kept_responses, spend
from worker.core.ledger.accounts import Policy
from worker.core.ledger.expiry import AT_ONCE, expire, expire_others, forget_end_users
from worker.core.ledger.schema import writable

from ..observability import log
from ..stores import LedgerUnavailable, Store

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
