"""The Durable Object that keeps the ledger: decisions of `ledger` on its own SQLite, and what is due from time to time.

Its methods take and return one JSON text each, which is the cheapest over the boundary. They do not raise for what a
caller can have done wrong, as RPC would lose it on its way.
"""

import asyncio
import json
import time
from typing import Any

from pyodide.ffi import JsException
from workers import DurableObject

from catalog import CATALOG
from edge.settings import read_ledger
from ledger import administration, admit, alerts, schema, settle, spend
from ledger.accounts import Limits
from ledger.declared import hold, resolve
from ledger.due import due
from ledger.policy import Policy
from ledger.turn import REPORTS_IN_AN_OBJECT, turn
from runtime.javascript import bindings, error_text, js, js_headers, unwrapped, variable
from runtime.log import log
from runtime.sql import SqlStore

LEASE_MS = 120_000
# A request that only running ones keep out waits so long for one of them to end: a report may be on its way.
PATIENCE_SECONDS = 0.25
MOST_WAITING = 100
WEBHOOK_TIMEOUT_MS = 10_000
_AT_ONCE = 100
_RETRY_MS = 5_000
_TRIM_EVERY_MS = 3_600_000
_DAY_MS = 86_400_000


class Ledger(DurableObject):
    """One object, named `edge.ledger.NAME`; every decision in it runs alone."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        env = bindings()
        self._settings = read_ledger(lambda name: variable(env, name))
        for problem in self._settings.problems:
            log("warning", "setting_ignored", reason=problem)
        everyone, each_user = (Limits(*CATALOG["policy"][name]) for name in ("everyone", "each_user"))
        self._policy = Policy(everyone, each_user)
        self._storage = unwrapped(ctx.storage)
        self._store = SqlStore(self._storage)
        self._alarm_at: int | None = None
        self._ended = asyncio.Event()
        self._waiting = 0
        found = self._store.run(schema.migrate(self._store.dialect))
        if not found["ok"]:
            raise RuntimeError(found["message"])
        declared = resolve(CATALOG["virtual_keys"], lambda name: variable(env, name))
        done = self._store.run(hold(self._store.dialect, declared, _now()))
        if done["made"] or done["changed"] or done["blocked"]:
            log("info", "ledger_virtual_keys", **{name: done[name] for name in ("made", "changed", "blocked")})
        self._set_alarm(_now())

    async def admit(self, text: str) -> str:
        """The fields of `ledger.admit.Ask` but its lease → what `ledger.admit.admit` says."""
        ask = admit.Ask(**json.loads(text), lease=LEASE_MS)
        result = self._admit(ask)
        if "soon" in result and self._waiting < MOST_WAITING:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "soon" in result and await self._one_ends(deadline - time.monotonic()):
                result = self._admit(ask)
        return json.dumps(result)

    async def authenticate(self, text: str) -> str:
        """{"secret_hash"} → what `ledger.admit.authenticate` says."""
        return json.dumps(self._store.run(admit.authenticate(json.loads(text)["secret_hash"], _now())))

    async def check(self, text: str) -> str:
        """{} → {"ok": True} where the storage can be read."""
        return json.dumps(self._store.run(schema.readable()))

    async def administer(self, text: str) -> str:
        """A call as `api.admin.call` makes it → what `ledger.administration.decide` says."""
        decision = administration.decide(self._store.dialect, self._policy, json.loads(text), _now())
        result = json.dumps(self._store.run(decision))
        self._changed()
        return result

    async def report(self, text: str) -> str:
        """{"instance", "reports": [fields of `ledger.settle.Report`, …], "renew": [id, …]} → {"ok", "outcomes"}."""
        asked, now = json.loads(text), _now()
        reports = [settle.Report(*fields) for fields in asked["reports"]]
        if asked["renew"]:
            self._store.run(settle.renew(asked["instance"], asked["renew"], now + LEASE_MS))
        outcomes: list[str] = []
        for first in range(0, len(reports), REPORTS_IN_AN_OBJECT):
            some = reports[first : first + REPORTS_IN_AN_OBJECT]
            outcomes += self._store.run(turn(self._store.dialect, self._policy, some, (), now))["outcomes"]
        for report, outcome in zip(reports, outcomes, strict=True):
            if outcome in ("unknown", "foreign"):
                log("warning", f"ledger_report_{outcome}", reservation=report.id, instance=report.instance)
        if reports:
            self._changed()
        return json.dumps({"ok": True, "outcomes": outcomes})

    async def bind(self, text: str) -> str:
        """{"id", "instance"}: who gets the request, where that was not foreseen."""
        asked = json.loads(text)
        return json.dumps(self._store.run(settle.bind(asked["id"], asked["instance"])))

    async def ended(self, text: str) -> str:
        """{"instance"}: that container is gone, and what it had open ends now."""
        instance, expired, last = json.loads(text)["instance"], 0, _AT_ONCE
        while last == _AT_ONCE:
            decision = settle.expire_instance(self._store.dialect, instance, _now(), _AT_ONCE)
            last = self._store.run(decision)["expired"]
            expired += last
        if expired:
            log("warning", "ledger_instance_ended", instance=instance, reservations=expired)
            self._changed()
        return json.dumps({"ok": True, "expired": expired})

    async def alarm(self, *_: Any) -> None:
        """Whatever is due. Its failures are tried again later: an alarm that raises is given up after a while."""
        self._alarm_at = None
        try:
            self._expire()
            self._trim()
            await self._send_alerts()
        except Exception as error:  # noqa: BLE001 it has to be done again, whatever went wrong
            log("error", "ledger_housekeeping_failed", reason=f"{type(error).__name__}: {error_text(error)}")
            self._set_alarm_at(_now() + _RETRY_MS)
        else:
            self._set_alarm(_now())

    def _admit(self, ask: admit.Ask) -> dict[str, Any]:
        now = _now()
        result = self._store.run(admit.admit(self._store.dialect, self._policy, ask, now))
        if result["ok"]:
            self._set_alarm_at(result["expires"])
        if self._store.alerts:
            self._alert_soon(now)
        return result

    async def _one_ends(self, seconds: float) -> bool:
        """Waits for a report; whether one has come in time."""
        self._waiting += 1
        try:
            await asyncio.wait_for(self._ended.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def _changed(self) -> None:
        """Money or slots may be free, and a budget may be used up."""
        if self._waiting:
            self._ended.set()
            self._ended = asyncio.Event()
        if self._store.alerts:
            self._alert_soon(_now())

    def _alert_soon(self, now: int) -> None:
        self._store.alerts = False
        if self._settings.alert_webhook_url is not None:
            self._set_alarm_at(now)

    def _expire(self) -> None:
        expired = _AT_ONCE
        while expired == _AT_ONCE:
            expired = self._store.run(settle.expire(self._store.dialect, _now(), _AT_ONCE))["expired"]
            if expired:
                log("warning", "ledger_reservations_expired", reservations=expired)
                self._changed()

    def _trim(self) -> None:
        """A part at a time; what is left is due at once."""
        days = self._settings.retention_days
        if days is not None:
            self._store.run(spend.trim(_now() - int(days * _DAY_MS), _AT_ONCE))

    async def _send_alerts(self) -> None:
        url = self._settings.alert_webhook_url
        if url is None:
            return
        for alert in self._store.run(alerts.pending(_now())):
            name = alert["account"], alert["start"], alert["kind"]
            content = {field: value for field, value in alert.items() if field not in ("account", "attempts")}
            if await _posted(url, content):
                self._store.run(alerts.delivered(*name))
            else:
                self._store.run(alerts.failed(*name, alert["attempts"], _now()))

    def _set_alarm(self, now: int) -> None:
        """For the first thing that is due; none when nothing is."""
        found = self._store.run(due())
        times = [found["reservation"]]
        if self._settings.alert_webhook_url is not None:
            times.append(found["alert"])
        if self._settings.retention_days is not None and found["line"] is not None:
            end = found["line"] + int(self._settings.retention_days * _DAY_MS)
            times.append(end - end % -_TRIM_EVERY_MS)
        known = [at for at in times if at is not None]
        if known:
            self._set_alarm_at(max(now, min(known)))

    def _set_alarm_at(self, at: int) -> None:
        """Unless it rings before."""
        if self._alarm_at is None or at < self._alarm_at:
            self._alarm_at = at
            self._storage.setAlarm(at)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _posted(url: str, content: dict[str, Any]) -> bool:
    """Whether the webhook has it. Where it lies is not logged: the address may be a secret."""
    try:
        response = await js.fetch(
            url,
            method="POST",
            headers=js_headers([("content-type", "application/json")]),
            body=json.dumps(content),
            redirect="manual",
            signal=js.AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
        )
        if response.body:
            await response.body.cancel()
    except JsException as error:
        log("warning", "alert_not_sent", kind=content["kind"], reason=str(getattr(error, "name", "") or "no answer"))
        return False
    if 200 <= response.status < 300:
        return True
    log("warning", "alert_refused", kind=content["kind"], status=response.status)
    return False
