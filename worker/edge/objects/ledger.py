"""The Durable Object that keeps the ledger and has the first container: it admits, forwards and settles requests.

Its decisions are those of `ledger`, on its own SQLite; what is due from time to time is done by its alarm. Its RPC
methods take and return one JSON text each, which is the cheapest over the boundary. They do not raise for what a caller
can have done wrong, as RPC would lose it on its way.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyodide.ffi import create_proxy

from core.configuration import Configuration
from core.ledger import administration, admit, expiry, schema, settle
from core.ledger.accounts import Policy
from core.ledger.batch import batch
from core.ledger.declared import sync_declared_keys
from core.ledger.expiry import next_deadlines
from core.protocol import ASK_HEADER, CONFIGURATION_HEADER, REFUSAL_HEADER, decode_admission, encode_refusal, grant_of

from ..ledger_client import LedgerUnavailable
from ..runtime import interpreter
from ..runtime.javascript import bindings, error_text, js, js_headers, kept, or_none, unwrapped, variable
from ..runtime.log import log
from ..runtime.sql import SqlStore
from ..settings import read_ledger
from .ledger_upkeep import AT_ONCE, LedgerUpkeep, now_ms
from .own_container import Admitted, ContainerObject, OwnContainer
from .usage_drain import LedgerFailed

LEASE_MS = 120_000
# A request that only running ones keep out waits so long for one of them to end: a report may be on its way.
PATIENCE_SECONDS = 0.25
MOST_WAITING = 100
# A report that came with an answer is written with the next admission, or so much later.
WRITE_AFTER_MS = 20
# So many of them are written at once, without waiting.
MOST_CARRIED = 32
# A configuration that no request has named for so long has been replaced by another one.
OUT_OF_USE_SECONDS = 15.0


class _Carried(NamedTuple):
    """A report that came with an answer, as it stands in the journal of its container."""

    report: settle.Report
    number: int
    oldest: int


class Ledger(ContainerObject):
    """One object, named `edge.ledger.NAME`; every decision in it runs alone."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        env = bindings()
        self._settings = read_ledger(lambda name: variable(env, name))
        for problem in self._settings.problems:
            log("warning", "setting_ignored", reason=problem)
        self._current = self._configurations.own
        self._policy = self._current.limits
        self._named: dict[str, float] = {}  # when requests named a configuration last
        self._storage = unwrapped(ctx.storage)
        self._store = SqlStore(self._storage)
        self._ended = asyncio.Event()
        self._waiting = 0
        self._carried: list[_Carried] = []  # not written yet
        self._write_soon: Any = None  # a proxy of `_write_carried`, once it has been needed
        self._write_awaited = False
        found = self._store.run(schema.migrate(self._store.dialect))
        if not found["ok"]:
            raise RuntimeError(found["message"])
        self._hold()
        self._upkeep = LedgerUpkeep(self._store, self._storage, self._settings, self._changed)
        self._upkeep.set_alarm(now_ms())
        self._own = None
        container = or_none(ctx.container)
        if container is not None:
            self._own = OwnContainer(container, self._storage, _OwnLedger(self), self._upkeep.drain_alarm)
            # An object before this one may have left memory before it had fetched everything.
            if self._own.running or self._store.run(next_deadlines())["reservation"] is not None:
                self._upkeep.drain_alarm.set(0.0)

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """The container's response to a request. One with ASK_HEADER is admitted first, the others need no admission.

        A refusal is a 403 with REFUSAL_HEADER. Where no container has got the request it is a 503 with
        NO_INSTANCE_HEADER; if it has been admitted, with the grant, too, and the caller sends it elsewhere or releases
        it.
        """
        incoming = interpreter.js_request(request)
        headers = incoming.headers
        asked = or_none(headers.get(ASK_HEADER))
        if asked is None or self._own is None:
            return await self._answer(incoming, self._configuration(headers))
        fields, add_limit, own, named = decode_admission(asked)
        # A Worker of before has named the configuration in a header alone.
        configuration = self._configurations.named(named or or_none(headers.get(CONFIGURATION_HEADER)))
        if configuration is None:
            return await self._answer(incoming, None)
        ask = admit.AdmissionRequest(**fields, instance=self._own.instance, lease=LEASE_MS, tags=own)
        result = await self._let_in(ask, self._limits_of(configuration))
        if not result["ok"]:
            return js.Response.new("", status=403, headers=js_headers([(REFUSAL_HEADER, encode_refusal(result))]))
        admitted = Admitted(
            ask.id,
            ask.instance,
            lambda ack: grant_of(fields, result, add_limit, ack).encode(),
            self._settle_soon,
        )
        return await self._own.answer(incoming, configuration, admitted)

    async def admit(self, text: str) -> str:
        """The fields of `ledger.admit.AdmissionRequest` but its lease, and the name of the "configuration" → a
        result of `ledger.batch.batch`; {"unconfigured": True} where it has to be told of that one first."""
        asked = json.loads(text)
        configuration = self._configurations.named(asked.pop("configuration", None))
        if configuration is None:
            return json.dumps({"unconfigured": True})
        ask = admit.AdmissionRequest(**asked, lease=LEASE_MS)
        return json.dumps(await self._let_in(ask, self._limits_of(configuration)))

    async def configure(self, text: str) -> None:
        """The same; the keys that it declares are there from now on."""
        self._limits_of(self._told(text))

    def _limits_of(self, configuration: Configuration) -> Policy:
        """What a request under this configuration is held to. The one that was deployed last says which keys there are:
        the one that has come into use, or has stayed in use alone."""
        now = time.monotonic()
        before = self._named.get(configuration.name)
        self._named[configuration.name] = now
        if configuration.name == self._current.name:
            return self._policy
        alone = now - self._named.get(self._current.name, 0.0) > OUT_OF_USE_SECONDS
        if before is None or now - before > OUT_OF_USE_SECONDS or alone:
            self._current, self._policy = configuration, configuration.limits
            self._hold()
            log("info", "configuration_current", configuration=configuration.name)
            return self._policy
        return configuration.limits

    def _hold(self) -> None:
        """Makes the ledger hold the keys that the current configuration declares."""
        done = self._store.run(sync_declared_keys(self._store.dialect, self._current.declared(), now_ms()))
        if done["made"] or done["changed"] or done["blocked"]:
            log("info", "ledger_virtual_keys", **{name: done[name] for name in ("made", "changed", "blocked")})

    async def _let_in(self, ask: admit.AdmissionRequest, policy: Policy) -> dict[str, Any]:
        result = self._admit(ask, policy)
        if "soon" in result and self._waiting < MOST_WAITING:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "soon" in result and await self._one_ends(deadline - time.monotonic()):
                result = self._admit(ask, policy)
        return result

    async def authenticate(self, text: str) -> str:
        """{"secret_hash"} → what `ledger.admit.authenticate` says."""
        return json.dumps(self._store.run(admit.authenticate(json.loads(text)["secret_hash"], now_ms())))

    async def check(self, text: str) -> str:
        """{} → {"ok": True} where the storage can be read."""
        return json.dumps(self._store.run(schema.readable()))

    async def administer(self, text: str) -> str:
        """A call as `api.admin.call` makes it → what `ledger.administration.decide` says."""
        self._write_carried()
        decision = administration.decide(self._store.dialect, self._policy, json.loads(text), now_ms())
        result = json.dumps(self._store.run(decision))
        self._changed()
        return result

    async def report(self, text: str) -> str:
        """{"instance", "reports": [fields of `ledger.settle.Report`, …], "renew": [id, …]} → {"ok", "outcomes"}."""
        asked = json.loads(text)
        reports = [settle.Report(*fields) for fields in asked["reports"]]
        return json.dumps({"ok": True, "outcomes": self._report(asked["instance"], reports, asked["renew"])})

    def _report(self, instance: str, reports: list[settle.Report], renew: list[str]) -> list[str]:
        now = now_ms()
        if renew:
            self._store.run(settle.renew(instance, renew, now + LEASE_MS))
        outcomes: list[str] = []
        if reports:
            outcomes = self._store.run(batch(self._store.dialect, self._policy, reports, (), now))["outcomes"]
        self._reported(reports, outcomes)
        return outcomes

    def _reported(self, reports: list[settle.Report], outcomes: list[str]) -> None:
        for report, outcome in zip(reports, outcomes, strict=True):
            if outcome in ("unknown", "foreign"):
                log("warning", f"ledger_report_{outcome}", reservation=report.id, instance=report.instance)
        if reports:
            self._changed()

    def _settle_soon(self, fields: list[Any], number: int, oldest: int) -> None:
        """In one transaction with the next admission, or a little later."""
        self._carried.append(_Carried(settle.Report(*fields), number, oldest))
        if self._waiting or len(self._carried) >= MOST_CARRIED:
            self._write_carried()
        elif not self._write_awaited:
            self._write_awaited = True
            if self._write_soon is None:
                self._write_soon = create_proxy(self._write_in_time)
            kept("setTimeout")(self._write_soon, WRITE_AFTER_MS)

    def _write_in_time(self) -> None:
        self._write_awaited = False
        self._write_carried()

    def _write_carried(self) -> None:
        if self._carried:
            self._batch((), self._policy)

    def _batch(self, asks: tuple[admit.AdmissionRequest, ...], policy: Policy) -> list[dict[str, Any]] | None:
        """Writes what answers have carried, and admits. None if that failed: then nothing was written.

        Only what is written is acknowledged. So the container's journal still has what could not be written, and the
        drain fetches it; no admission depends on it.
        """
        carried, self._carried = self._carried, []
        reports = [one.report for one in carried]
        try:
            done = self._store.run(batch(self._store.dialect, policy, reports, asks, now_ms()))
        except Exception as error:  # noqa: BLE001 an admission says what is wrong; a report is fetched again
            log("error", "ledger_reports_not_written", reports=len(reports), reason=error_text(error))
            return None
        if self._own is not None:
            for one in carried:
                self._own.drain.write(one.report.instance, one.number, one.oldest)
        self._reported(reports, done["outcomes"])
        return done["results"]

    async def bind(self, text: str) -> str:
        """{"id", "instance"}: who gets the request, where that was not foreseen."""
        asked = json.loads(text)
        return json.dumps(self._bind(asked["id"], asked["instance"]))

    def _bind(self, id: str, instance: str) -> dict[str, Any]:
        return self._store.run(settle.bind(id, instance))

    async def ended(self, text: str) -> str:
        """{"instance"}: that container is gone, and what it had open ends now."""
        return json.dumps({"ok": True, "expired": self._ends(json.loads(text)["instance"])})

    def _ends(self, instance: str) -> int:
        """Of a container that is gone: how many reservations end with it."""
        self._write_carried()
        expired, last = 0, AT_ONCE
        while last == AT_ONCE:
            decision = expiry.expire_instance(self._store.dialect, instance, now_ms(), AT_ONCE)
            last = self._store.run(decision)["expired"]
            expired += last
        if expired:
            log("warning", "ledger_instance_ended", instance=instance, reservations=expired)
            self._changed()
        return expired

    async def alarm(self, *_: Any) -> None:
        """Whatever is due. Its failures are tried again later: an alarm that raises is given up after a while."""
        self._upkeep.alarm_rang()
        if self._own is not None and self._upkeep.drain_alarm.is_set:
            self._own.drain.ring()
        try:
            self._write_carried()
            await self._upkeep.run()
        except Exception as error:  # noqa: BLE001 it has to be done again, whatever went wrong
            log("error", "ledger_housekeeping_failed", reason=f"{type(error).__name__}: {error_text(error)}")
            self._upkeep.try_again()
        else:
            self._upkeep.set_alarm(now_ms())

    def _admit(self, ask: admit.AdmissionRequest, policy: Policy) -> dict[str, Any]:
        now = now_ms()
        results = self._batch((ask,), policy) if self._carried else None
        if results is None:
            results = self._store.run(batch(self._store.dialect, policy, (), (ask,), now))["results"]
        (result,) = results
        if result["ok"]:
            self._upkeep.set_alarm_at(result["expires"])
        if self._store.alerts:
            self._upkeep.alert_soon(now)
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
            self._upkeep.alert_soon(now_ms())


class _OwnLedger:
    """The ledger of this very object, as its container wants it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        with _failing_as(LedgerFailed):
            self._ledger._report(instance, [settle.Report(*fields) for fields in reports], renew)

    async def ended(self, instance: str) -> None:
        with _failing_as(LedgerFailed):
            self._ledger._ends(instance)

    async def bind(self, id: str, instance: str) -> None:
        with _failing_as(LedgerUnavailable):
            self._ledger._bind(id, instance)


@contextlib.contextmanager
def _failing_as(kind: type[Exception]) -> Iterator[None]:
    """Whatever the ledger raises, its callers know what to do about a ledger that cannot be used."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 the same as over RPC, which loses what kind it was
        raise kind(f"{type(error).__name__}: {error_text(error)}") from None
