"""The Durable Object with the ledger and the first container. It admits, forwards and settles requests.

Its decisions come from `core.ledger` and run on its SQLite storage. Periodic work is done by its alarm. Its RPC methods
take and return one JSON string each, the cheapest type to pass over the boundary. They do not raise for caller errors,
because RPC would lose the exception's details.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Collection, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pyodide.ffi import create_proxy

from core.configuration import Configuration
from core.ledger import admit, expiry, keys, schema, settle
from core.ledger.accounts import Policy
from core.ledger.batch import batch
from core.ledger.expiry import next_deadlines
from core.protocol import (
    ASK_HEADER,
    CONFIGURATION_HEADER,
    REFUSAL_HEADER,
    candidates_of,
    decode_admission,
    encode_refusal,
    grant_of,
)

from ..messages import client_left, error_response, headers_of
from ..runtime import interpreter
from ..runtime.javascript import bindings, error_text, js, js_headers, kept, or_none, unwrapped, variable
from ..runtime.log import log
from ..runtime.sql import SqlStore
from ..settings import read_ledger
from ..stubs import LedgerUnavailable
from .ledger_upkeep import AT_ONCE, LedgerUpkeep, now_ms
from .own_container import Admitted, ContainerObject, OwnContainer, request_id, unconfigured
from .usage_drain import LedgerFailed

if TYPE_CHECKING:
    from core.ledger.waiting_line import WaitingLine

LEASE_MS = 120_000
# The size of a request in the line. The Worker sends none with a larger body here, and holds the body of every other.
MOST_INLINE = 64 * 1024
# A report carried by a response is written with the next admission, or after this time. A timer that finds nothing to
# write costs as much as a few statements. The journal offers the report again after a second.
WRITE_AFTER_MS = 100
# This many carried reports are written at once, without waiting.
MOST_CARRIED = 32
# While more requests run than a few, one that follows another closely waits a moment and is decided together with those
# that arrive meanwhile: a commit costs as much as the rest of an admission. With few, the timer costs as much as it
# saves.
FEW_RUNNING = 3
CLOSELY_MS = 20
TOGETHER_MS = 3
MOST_TOGETHER = 32
# A configuration that no request has named for this long counts as replaced.
OUT_OF_USE_SECONDS = 15.0


class _Carried(NamedTuple):
    """A report carried by a response, with its position in the container's journal."""

    report: settle.Report
    number: int
    oldest: int


class _Asked(NamedTuple):
    """A request that is decided together with others."""

    ask: admit.AdmissionRequest
    policy: Policy
    result: asyncio.Future[dict[str, Any]]


class Ledger(ContainerObject):
    """The single ledger object, named `stubs.LEDGER_NAME`. Its decisions run one at a time."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        env = bindings()
        self._settings = read_ledger(lambda name: variable(env, name))
        for problem in self._settings.problems:
            log("warning", "setting_ignored", reason=problem)
        self._current = self._configurations.own
        self._policy = self._current.limits
        self._named: dict[str, float] = {}  # configuration name -> time of the last request that named it
        self._storage = unwrapped(ctx.storage)
        self._store = SqlStore(self._storage)
        self._line: WaitingLine | None = None  # created when a request has to wait
        self._carried: list[_Carried] = []  # not written yet
        self._write_soon: Any = None  # a proxy of `_write_carried`, created on first use
        self._write_awaited = False
        self._running = 0  # requests that have no response yet
        self._asked_at = 0  # when the last one came, in milliseconds
        self._asked: list[_Asked] = []  # not decided yet
        self._decide_soon: Any = None  # a proxy of `_decide`, created on first use
        found = self._store.run(schema.migrate(self._store.dialect))
        if not found["ok"]:
            raise RuntimeError(found["message"])
        self._hold()
        self._upkeep = LedgerUpkeep(self._store, self._storage, self._settings, self._changed, lambda: self._policy)
        self._upkeep.set_alarm(now_ms())
        self._own = None
        container = or_none(ctx.container)
        if container is not None:
            self._own = OwnContainer(container, self._storage, _OwnLedger(self), self._upkeep.drain_alarm)
            # The previous object may have been evicted before it had fetched everything.
            if self._own.running or self._store.run(next_deadlines())["reservation"] is not None:
                self._upkeep.drain_alarm.set(0.0)

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """Returns the container's response. A request with ASK_HEADER is admitted first; others need no admission.

        A refusal is a 403 with REFUSAL_HEADER. If no container received the request, the response is a 503 with
        NO_INSTANCE_HEADER. If the request was admitted, that response also has the grant, and the caller sends the
        request to another instance or releases it.
        """
        incoming = interpreter.js_request(request)
        headers = headers_of(incoming)
        asked = headers.get(ASK_HEADER)
        if asked is None or self._own is None:
            return await self._answer(incoming, headers)
        fields, add_limit, claims, named, steps, candidates = decode_admission(asked)
        # An older Worker names the configuration only in a header.
        configuration = self._configurations.named(named or headers.get(CONFIGURATION_HEADER))
        if configuration is None:
            return unconfigured(incoming)
        ask = admit.AdmissionRequest(
            **{"end_user": claims.end_user, **fields},
            instance=self._own.instance,
            lease=LEASE_MS,
            tags=claims.tags,
            candidates=candidates,
            steps=steps,
            without_limit=add_limit is not None,
        )
        self._running += 1
        try:
            result = await self._let_in(ask, self._limits_of(configuration), incoming)
            if result is None:
                log("info", "client_left", request_id=request_id(incoming), reason="while it waited for a budget")
                return error_response(client_left())
            if not result["ok"]:
                return js.Response.new("", status=403, headers=js_headers([(REFUSAL_HEADER, encode_refusal(result))]))
            admitted = Admitted(
                ask.id,
                ask.instance,
                lambda ack: grant_of(fields, result, add_limit, ack),
                self._settle_soon,
            )
            return await self._own.answer(incoming, headers, configuration, admitted)
        finally:
            self._running -= 1

    async def admit(self, text: str) -> str:
        """Admits a request. Takes the fields of `ledger.admit.AdmissionRequest` except the lease, and the name of its
        "configuration". Returns a result of `ledger.batch.batch`, or {"unconfigured": True} if that configuration has
        to be sent first."""
        asked = json.loads(text)
        configuration = self._configurations.named(asked.pop("configuration", None))
        if configuration is None:
            return json.dumps({"unconfigured": True})
        candidates = candidates_of(asked.pop("candidates", []))
        ask = admit.AdmissionRequest(**asked, lease=LEASE_MS, candidates=candidates)
        return json.dumps(await self._let_in(ask, self._limits_of(configuration), None))

    async def configure(self, text: str) -> None:
        """Adds a configuration. The keys that it declares exist from now on."""
        self._limits_of(self._told(text))

    def _limits_of(self, configuration: Configuration) -> Policy:
        """Returns the budgets for a request under this configuration. The configuration deployed last defines the
        declared keys: one that has just come into use, or is the only one still in use."""
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
        """Synchronizes the ledger with the keys and owners that the current configuration declares."""
        declared = self._current.declared()
        if not (declared or self._store.run(keys.any_declared())):
            return
        from core.ledger.declared import sync_declared  # on first use, so that an object starts sooner

        done = self._store.run(sync_declared(self._store.dialect, declared, now_ms()))
        if done["made"] or done["changed"] or done["blocked"]:
            log("info", "ledger_virtual_keys", **{name: done[name] for name in ("made", "changed", "blocked")})
        if any(done["owners"].values()):
            log("info", "ledger_declared_owners", **done["owners"])

    async def _let_in(self, ask: admit.AdmissionRequest, policy: Policy, incoming: Any) -> dict[str, Any] | None:
        """Admits the request, or lets it wait until running ones no longer keep it out. Returns None if its client left
        in the meantime. `incoming`: the request, None if only the Worker has it."""
        (key, named), line = ask.line, self._line
        ended, result = line.ended if line is not None else 0, None
        if line is None or not line.has(key, named):
            now = now_ms()
            is_burst, self._asked_at = now - self._asked_at <= CLOSELY_MS, now
            if is_burst and self._running > FEW_RUNNING:
                result = await self._together(ask, policy)
            else:
                (result,) = self._admit((ask,), policy)
            if "soon" not in result:
                return result
        line = self._the_line()

        async def attempt() -> dict[str, Any]:
            return self._admit((ask,), policy)[0]

        size = 0 if incoming is None else MOST_INLINE
        waiting = line.wait(key, size, attempt, result, ended, named)
        if incoming is None or line.turns_away(key, size):  # a signal is dear, and not needed then
            return await waiting
        return await _unless_aborted(waiting, incoming.signal)

    def _together(self, ask: admit.AdmissionRequest, policy: Policy) -> asyncio.Future[dict[str, Any]]:
        """Decides the request with others that arrive at the same time, in one transaction."""
        asked = _Asked(ask, policy, asyncio.get_running_loop().create_future())
        if not self._asked:
            if self._decide_soon is None:
                self._decide_soon = create_proxy(self._decide)
            kept("setTimeout")(self._decide_soon, TOGETHER_MS)
        self._asked.append(asked)
        if len(self._asked) >= MOST_TOGETHER:
            self._decide()
        return asked.result

    def _decide(self) -> None:
        some, self._asked = self._asked, []
        while some:
            policy = some[0].policy
            self._decide_those([one for one in some if one.policy is policy])
            some = [one for one in some if one.policy is not policy]

    def _decide_those(self, some: list[_Asked]) -> None:
        """Decides requests under one policy. If that fails, it may be the fault of one: each is then decided alone."""
        try:
            results = self._admit(tuple(one.ask for one in some), some[0].policy)
        except Exception as error:  # noqa: BLE001 whatever it is, every request gets an answer
            if len(some) == 1:
                if not some[0].result.done():  # nobody may be waiting any more
                    some[0].result.set_exception(error)
                return
            for one in some:
                self._decide_those([one])
            return
        for one, result in zip(some, results, strict=True):
            if not one.result.done():
                one.result.set_result(result)

    def _the_line(self) -> "WaitingLine":
        if self._line is None:
            from core.ledger.waiting_line import WaitingLine

            self._line = WaitingLine(self._settings.budget_patience)
        return self._line

    async def authenticate(self, text: str) -> str:
        """{"secret_hash"} → a result of `ledger.admit.authenticate`."""
        return json.dumps(self._store.run(admit.authenticate(json.loads(text)["secret_hash"], now_ms())))

    async def session(self, text: str) -> str:
        """{"start": the hash of its id, "fields"}, {"end": hash} or {"who": hash} → a result of `start_session`,
        `end_session` or `who` in `ledger.callers`."""
        from core.ledger import callers

        asked, now = json.loads(text), now_ms()
        if "start" in asked:
            fields = asked["fields"]
            login = fields.pop("login")
            decision = callers.start_session(self._store.dialect, asked["start"], login, callers.Session(**fields), now)
        else:
            decision = callers.end_session(asked["end"], now) if "end" in asked else callers.who(asked["who"], now)
        return json.dumps(self._store.run(decision))

    async def identify(self, text: str) -> str:
        """A credential → a result of `ledger.callers.identify`."""
        from core.ledger import callers

        return json.dumps(self._store.run(callers.identify(json.loads(text), now_ms())))

    async def find_owners(self, text: str) -> str:
        """The arguments of `ledger.owners.of_token` except `now` → its result."""
        from core.ledger import owners  # most deployments accept no JWTs

        return json.dumps(self._store.run(owners.of_token(**json.loads(text), now=now_ms())))

    async def check(self, text: str) -> str:
        """{} → {"ok": True} if the storage is readable."""
        return json.dumps(self._store.run(schema.readable()))

    async def administer(self, text: str) -> str:
        """A call built by `api.admin.call`, with the master key → a result of `ledger.administration.decide`."""
        return self._administer(json.loads(text), None)

    async def administer_as(self, text: str) -> str:
        """{"call", "credential"}: like `administer`, for somebody else; see `ledger.callers`."""
        asked = json.loads(text)
        return self._administer(asked["call"], asked["credential"])

    def _administer(self, call: dict[str, Any], credential: dict[str, Any] | None) -> str:
        # Imported on first use, so that an object starts sooner.
        from core.ledger import administration

        self._write_carried()
        decision = administration.decide(self._store.dialect, self._policy, call, now_ms(), credential)
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
        ended: list[str] = []
        if reports:
            done = self._store.run(batch(self._store.dialect, self._policy, reports, (), now, self._store.memory))
            outcomes, ended = done["outcomes"], done["ended"]
        self._reported(reports, outcomes, ended)
        return outcomes

    def _reported(self, reports: list[settle.Report], outcomes: list[str], ended: list[str]) -> None:
        """`ended`: the accounts whose requests have ended."""
        for report, outcome in zip(reports, outcomes, strict=True):
            if outcome in ("unknown", "foreign"):
                log("warning", f"ledger_report_{outcome}", reservation=report.id, instance=report.instance)
        if reports:
            self._changed(ended)

    def _settle_soon(self, fields: list[Any], number: int, oldest: int) -> None:
        """Writes a carried report in one transaction with the next admission, or shortly afterwards."""
        self._carried.append(_Carried(settle.Report(*fields), number, oldest))
        if self._line or len(self._carried) >= MOST_CARRIED:
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
        """Writes the carried reports and admits requests. Returns None on failure; then nothing was written.

        Only written reports are acknowledged. Reports that could not be written stay in the container's journal, where
        the drain fetches them. Admissions do not depend on them.
        """
        carried, self._carried = self._carried, []
        reports = [one.report for one in carried]
        try:
            done = self._store.run(batch(self._store.dialect, policy, reports, asks, now_ms(), self._store.memory))
        except Exception as error:  # noqa: BLE001 the admission is retried alone; the reports are fetched again
            log("error", "ledger_reports_not_written", reports=len(reports), reason=error_text(error))
            return None
        if self._own is not None:
            for one in carried:
                self._own.drain.write(one.report.instance, one.number, one.oldest)
        self._reported(reports, done["outcomes"], done["ended"])
        return done["results"]

    async def bind(self, text: str) -> str:
        """{"id", "instance"}: assigns the request to the instance that receives it, if another was expected."""
        asked = json.loads(text)
        return json.dumps(self._bind(asked["id"], asked["instance"]))

    def _bind(self, id: str, instance: str) -> dict[str, Any]:
        return self._store.run(settle.bind(id, instance))

    async def ended(self, text: str) -> str:
        """{"instance"}: the container has ended, so its open reservations end now."""
        return json.dumps({"ok": True, "expired": self._ends(json.loads(text)["instance"])})

    def _ends(self, instance: str) -> int:
        """Ends the reservations of a container that has stopped. Returns their number."""
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
        """Does everything that is due. Failures are retried here, because the platform gives up on a failing alarm."""
        self._upkeep.alarm_rang()
        if self._own is not None and self._upkeep.drain_alarm.is_set:
            self._own.drain.ring()
        try:
            self._write_carried()
            await self._upkeep.run()
        except Exception as error:  # noqa: BLE001 the work is retried whatever the error
            log("error", "ledger_housekeeping_failed", reason=f"{type(error).__name__}: {error_text(error)}")
            self._upkeep.try_again()
        else:
            self._upkeep.set_alarm(now_ms())

    def _admit(self, asks: tuple[admit.AdmissionRequest, ...], policy: Policy) -> list[dict[str, Any]]:
        now = now_ms()
        results = self._batch(asks, policy) if self._carried else None
        if results is None:
            decision = batch(self._store.dialect, policy, (), asks, now, self._store.memory)
            results = self._store.run(decision)["results"]
        for result in results:
            if result["ok"]:
                self._upkeep.set_alarm_at(result["expires"])
        if self._store.alerts:
            self._upkeep.alert_soon(now)
        return results

    def _changed(self, accounts: Collection[str] | None = None) -> None:
        """Money or slots of these accounts may have become free (None: of any), and a budget may be exhausted."""
        if self._line is not None:
            self._line.wake(accounts)
        if self._store.alerts:
            self._upkeep.alert_soon(now_ms())


async def _unless_aborted(waiting: Coroutine[Any, Any, Any], signal: Any) -> Any:
    """Returns the result, or None once the client has left. A client that leaves cancels nothing by itself."""
    task = asyncio.ensure_future(waiting)
    left = create_proxy(lambda *_: task.cancel())
    signal.addEventListener("abort", left)
    try:
        return None if signal.aborted and task.cancel() else await task
    except asyncio.CancelledError:
        return None
    finally:
        signal.removeEventListener("abort", left)
        left.destroy()


class _OwnLedger:
    """This object's own ledger, as its container's `LedgerEnd`."""

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
    """Converts every ledger error to the exception for an unavailable ledger."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 as over RPC, which loses the exception's type
        raise kind(f"{type(error).__name__}: {error_text(error)}") from None
