"""The ledger's alarm: expired reservations end, old spend rows are trimmed, and alerts are sent.

A Durable Object has one alarm, which the drain of the object's container shares. What only some alarms need is imported
then, so that an object starts sooner.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyodide.ffi import JsException

from core.ledger import expiry
from core.ledger.accounts import Policy
from core.ledger.expiry import next_deadlines

from ..runtime.javascript import js, js_headers
from ..runtime.log import log
from ..runtime.sql import SqlStore
from ..settings import LedgerSettings

if TYPE_CHECKING:
    from core.ledger.alerts import Message

AT_ONCE = 100
WEBHOOK_TIMEOUT_MS = 10_000
_RETRY_MS = 5_000
_TRIM_EVERY_MS = 3_600_000


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class LedgerUpkeep:
    """The periodic work of the ledger object. `changed` is called when reservations have ended: money or slots may be
    free. `policy` returns the current configuration's."""

    def __init__(
        self,
        store: SqlStore,
        storage: Any,
        settings: LedgerSettings,
        changed: Callable[[], None],
        policy: Callable[[], Policy],
    ) -> None:
        self._store = store
        self._storage = storage
        self._settings = settings
        self._changed = changed
        self._policy = policy
        self._alarm_at: int | None = None
        self._forget_at = 0
        self.drain_alarm = DrainAlarm(self)

    async def run(self) -> None:
        """Does everything that is due, up to AT_ONCE rows of each kind except reservations."""
        self._expire()
        self._trim()
        self._forget_end_users()
        await self._send_alerts()

    def alert_soon(self, now: int) -> None:
        """Called when a decision has written an alert."""
        self._store.alerts = False
        if self._receivers():
            self.set_alarm_at(now)

    def alarm_rang(self) -> None:
        self._alarm_at = None

    def try_again(self) -> None:
        """Sets the alarm after a failed run."""
        self.set_alarm_at(now_ms() + _RETRY_MS)

    def set_alarm(self, now: int) -> None:
        """Sets the alarm for the first thing that is due, if there is one."""
        at = self._first_due(now)
        if at is not None:
            self.set_alarm_at(at)

    def set_alarm_at(self, at: int) -> None:
        """Sets the alarm unless it is already set for an earlier time."""
        if self._alarm_at is None or at < self._alarm_at:
            self._alarm_at = at
            self._storage.setAlarm(at)

    def set_alarm_anew(self) -> None:
        """Replaces the alarm, which may have been set for work already done and would wake the object for nothing."""
        at = self._first_due(now_ms())
        if at is None:
            self._storage.deleteAlarm()
        else:
            self._storage.setAlarm(at)
        self._alarm_at = at

    def _first_due(self, now: int) -> int | None:
        found = self._store.run(next_deadlines())
        times = [found["reservation"]]
        if self._receivers():
            times.append(found["alert"])
        if self._settings.retention_days is not None and found["line"] is not None:
            from core.ledger import spend

            end = found["line"] + spend.kept_ms(self._settings.retention_days)
            times.append(end - end % -_TRIM_EVERY_MS)
        known = [at for at in times if at is not None]
        return max(now, min(known)) if known else None

    def _expire(self) -> None:
        expired = AT_ONCE
        while expired == AT_ONCE:
            expired = self._store.run(expiry.expire(self._store.dialect, now_ms(), AT_ONCE))["expired"]
            if expired:
                log("warning", "ledger_reservations_expired", reservations=expired)
                self._changed()

    def _trim(self) -> None:
        """Trims AT_ONCE rows. If more remain, the alarm rings again at once."""
        days = self._settings.retention_days
        if days is not None:
            from core.ledger import spend

            self._store.run(spend.trim_old(days, now_ms(), AT_ONCE))

    def _forget_end_users(self) -> None:
        """Once an hour at most, because it reads all accounts. No alarm is set for it."""
        now, after = now_ms(), None
        if now < self._forget_at:
            return
        self._forget_at = now + _TRIM_EVERY_MS
        while after != "":
            decision = expiry.forget_end_users(self._store.dialect, self._policy(), now, after or "")
            after = self._store.run(decision)["after"]

    async def _send_alerts(self) -> None:
        urls = self._receivers()
        if not urls:
            return
        from core.ledger import alerts

        for alert in self._store.run(alerts.pending(now_ms())):
            kind = alert["kind"]
            accepted = [one.to for one in alerts.messages(alert, urls) if await _posted(one, kind)]
            self._store.run(alerts.tried(alert, now_ms(), accepted=accepted, urls=urls))

    def _receivers(self) -> dict[str, str]:
        settings = self._settings
        if not (settings.alert_webhook_url or settings.slack_webhook_url):
            return {}
        from core.ledger import alerts

        return alerts.receivers(settings.alert_webhook_url, settings.slack_webhook_url, self._policy().slack_alerts)


class DrainAlarm:
    """The drain's share of the object's alarm."""

    def __init__(self, upkeep: LedgerUpkeep) -> None:
        self._upkeep = upkeep
        self.is_set = False

    def set(self, seconds: float) -> None:
        self.is_set = True
        self._upkeep.set_alarm_at(now_ms() + int(seconds * 1000))

    def delete(self) -> None:
        self.is_set = False
        self._upkeep.set_alarm_anew()


async def _posted(message: "Message", kind: str) -> bool:
    """Whether the receiver accepted the alert. The URL is never logged, because it may contain a secret."""
    try:
        response = await js.fetch(
            message.url,
            method="POST",
            headers=js_headers([("content-type", "application/json")]),
            body=json.dumps(message.body),
            redirect="manual",
            signal=js.AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
        )
        if response.body:
            await response.body.cancel()
    except JsException as error:
        reason = str(getattr(error, "name", "") or "no answer")
        log("warning", "alert_not_sent", kind=kind, to=message.to, reason=reason)
        return False
    from core.ledger import alerts

    if alerts.is_delivered(response.status):
        return True
    log("warning", "alert_refused", kind=kind, to=message.to, status=response.status)
    return False
