"""The container of a Durable Object: Cloudflare's API, the requests sent to it, the reports in its responses.

Two classes of objects have one: the ledger (`ledger.py`) the first, and each `ProxyContainer` a further one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from pyodide.ffi import JsException, create_proxy
from workers import DurableObject

from catalog import CATALOG
from core.api import errors
from core.api.endpoints import dialect_of, path_of
from core.configuration import Configuration, Known, container_environment, own
from core.protocol import (
    ASK_HEADER,
    CATALOG_HEADER,
    CONFIGURATION_HEADER,
    CONFIGURATION_PATH,
    ENDING,
    GONE,
    GRANT_HEADER,
    INSTANCE_HEADER,
    JOURNAL_PATH,
    MOST_CONFIGURATIONS,
    NO_CONTAINER,
    NO_INSTANCE_HEADER,
    PARK_PREFIX,
    PROTOCOL_VARIABLE,
    PROTOCOL_VERSION,
    REPORT_HEADER,
    REQUEST_ID_HEADER,
    TOKEN_HEADER,
    UNCONFIGURED,
    CarriedReport,
    EdgeGrant,
    JournalPage,
    JournalPoll,
    catalog_of,
    instance_of,
)

from ..container_life import PROBE_TIMEOUT, Lifecycle, NotServing, Started, StoredRecord, read_limits
from ..messages import broke_off, error_response, headers_of, plain_object
from ..runtime import interpreter
from ..runtime.javascript import (
    bindings,
    error_text,
    js,
    js_headers,
    js_object,
    kept,
    or_none,
    unwrapped,
    variable,
)
from ..runtime.log import log
from ..stubs import LedgerClient, LedgerUnavailable
from .usage_drain import Alarm, Drain, Failed, Ledger, LedgerFailed

# The image's default port.
PORT = 4000
READINESS = "http://container/health/readiness"
# Seconds to wait for `monitor()` to return the exit code of a container that has ended.
EXIT_CODE_TIMEOUT = 2.0
_SIGTERM = 15
_NONE_CONFIGURED = "no container is configured for this Durable Object"
_PARK = f"http://container{PARK_PREFIX}/"
_CONFIGURATION = f"http://container{CONFIGURATION_PATH}"
_JOURNAL = f"http://container{JOURNAL_PATH}"
# Seconds that a response may take beyond the time the poll is held.
_SLACK = 10.0


class NeverConnected(Exception):
    """Nothing was listening in the container, so nothing of the request was sent."""


class CloudflareContainer:
    """`ctx.container` as an `Engine`."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._fetch: Any = None  # the port's method; looking it up costs as much as calling it

    @property
    def running(self) -> bool:
        return bool(self._container.running)

    def start(self, environment: Mapping[str, str]) -> None:
        self._container.start(js_object({"enableInternet": True, "env": dict(environment)}))

    async def ended(self) -> str:
        # Only called after the container has ended: a pending monitor() keeps the object in memory.
        try:
            await asyncio.wait_for(self._container.monitor(), EXIT_CODE_TIMEOUT)
        except TimeoutError:
            return "it ended"
        except JsException as error:
            code = getattr(error, "exitCode", None)
            if code is not None:
                return f"it ended with exit code {code}"
            return f"{error_text(error)} (no such image, no free instance, or the engine refused it)"
        return "it ended with exit code 0"

    async def probe(self, timeout: float) -> str | None:
        signal = js.AbortSignal.timeout(int(timeout * 1000))
        try:
            response = await self.fetch(READINESS, signal=signal)
            status = response.status
            if response.body:
                await response.body.cancel()
        except JsException as error:
            return error_text(error)
        return None if status == 200 else f"its /health/readiness answered {status}"

    def fetch(self, request: Any, **init: Any) -> Any:
        """Returns a promise of the container's response to a JS Request or URL."""
        if self._fetch is None:
            self._fetch = self._container.getTcpPort(PORT).fetch
        return self._fetch(request, **init)

    async def destroy(self) -> None:
        await self._container.destroy()

    def terminate(self) -> None:
        self._container.signal(_SIGTERM)

    async def set_inactivity_timeout(self, seconds: float) -> None:
        if hasattr(self._container, "setInactivityTimeout"):
            await self._container.setInactivityTimeout(int(seconds * 1000))


def never_connected(error: JsException) -> bool:
    """Whether a request failed before any of it was sent, because nothing was listening."""
    text = error_text(error)
    return "is not listening" in text or "is not running" in text


class LedgerEnd(Ledger, Protocol):
    """The ledger as needed by a container's object."""

    async def bind(self, id: str, instance: str) -> None:
        """Assigns a request that was admitted for another or an unknown container. Raises LedgerUnavailable."""


class Admitted(NamedTuple):
    """A request that this object has admitted.

    `instance`: the container that it was admitted for. `grant`: makes the grant, given the number up to which the
    ledger has the journal, or None if the response must not carry a report. `carried`: receives a report carried by a
    response, its number, and the oldest number in the journal.
    """

    reservation: str
    instance: str
    grant: Callable[[int | None], EdgeGrant]
    carried: Callable[[list[Any], int, int], None]


class ClientLeft(Exception):
    """The client disconnected before the request or response was complete. This is not the container's fault."""


class OwnContainer:
    """`container`: `ctx.container`. `storage`: the object's, unwrapped."""

    def __init__(self, container: Any, storage: Any, ledger: LedgerEnd, alarm: Alarm) -> None:
        env = bindings()
        limits = read_limits(lambda name: variable(env, name))
        for problem in limits.problems:
            log("warning", "setting_ignored", reason=problem)
        self._engine = CloudflareContainer(container)
        self.life = Lifecycle(
            self._engine,
            StoredRecord(storage),
            lambda: {
                "SHUTDOWN_GRACE": f"{limits.shutdown_grace:g}",
                **container_environment(CATALOG["environment"], lambda name: variable(env, name)),
                PROTOCOL_VARIABLE: str(PROTOCOL_VERSION),
            },
            lambda: container_environment(CATALOG["restart"], lambda name: variable(env, name)),
            limits,
            log,
            gone=lambda started: self.drain.gone(instance_of(started.token)),
            owes=lambda: self.drain.touch(),
        )
        self._ledger = ledger
        self._known = "", ""  # a token and its instance
        self._given: dict[str, asyncio.Task[NotServing | None]] = {}  # by name, oldest first
        self._given_to = ""  # the token of the container that has them
        self.drain = Drain(RunningContainer(self._engine, self.life), ledger, alarm, log)
        self.life.adopt()

    @property
    def running(self) -> bool:
        return self._engine.running

    @property
    def instance(self) -> str:
        """The start id of the serving container, '' if unknown."""
        token = self.life.serving
        return "" if token is None else self._instance_of(token)

    async def answer(
        self, incoming: Any, headers: Mapping[str, str], configuration: Configuration, admitted: Admitted | None = None
    ) -> Any:
        """Returns the container's response unchanged, or a 503. A 503 with NO_INSTANCE_HEADER means that nothing was
        sent; it has the grant if this object admitted the request. `headers`, `configuration`: the request's."""
        try:
            return await self._send_once(incoming, headers, configuration, admitted)
        except NotServing as failure:
            why = ENDING if failure.ending else GONE if failure.gone else "1"
            return _with_grant(not_serving(incoming, failure, why), admitted)
        except ClientLeft as error:
            log("info", "client_left", request_id=request_id(incoming), reason=str(error))
            refusal = broke_off()
        except JsException as error:
            log("error", "container_lost", request_id=request_id(incoming), reason=error_text(error))
            refusal = errors.service_unavailable("The container ended before it responded.", retry_after=1)
        return error_response(refusal, dialect_of(path_of(incoming.url)))

    async def _send_once(
        self, incoming: Any, headers: Mapping[str, str], configuration: Configuration, admitted: Admitted | None
    ) -> Any:
        """Retries only if nothing of the request was sent. Raises NotServing, ClientLeft or JsException."""
        reservation = None if admitted is None else admitted.reservation
        if admitted is None:
            grant = headers.get(GRANT_HEADER)
            reservation = None if grant is None else EdgeGrant.decode(grant).reservation or None
        again = True
        while True:
            try:
                return await self._send(incoming, dict(headers), configuration, reservation, admitted)
            except NeverConnected as error:
                if not again or or_none(incoming.body) is not None:
                    raise NotServing(str(error), retry_after=1, gone=True) from None
            again = False

    async def _send(
        self,
        incoming: Any,
        headers: dict[str, str],
        configuration: Configuration,
        reservation: str | None,
        admitted: Admitted | None,
    ) -> Any:
        """`reservation`: the id of the reservation that pays for the request; None if there is none."""
        token = self.life.serving or await self.life.ready(patient=False)
        giving = self._given.get(configuration.name) if self._given_to == token else None
        if giving is None or not giving.done():
            await self._give(token, configuration)
        instance = self._instance_of(token)
        headers[TOKEN_HEADER] = token
        if admitted is None:
            foreseen = headers.get(INSTANCE_HEADER)
        else:
            foreseen = admitted.instance
            headers.pop(ASK_HEADER, None)
            grant = admitted.grant(self.drain.written(instance))
            headers[GRANT_HEADER] = grant.encode()
            if grant.most_output is not None or grant.exhausted or grant.aliases:
                headers[CATALOG_HEADER] = catalog_of(headers[CATALOG_HEADER], grant)
        if reservation is not None and foreseen != instance:
            await self._bind(reservation, instance)
        self.drain.touch()  # for every request, because the drain detects a container that hangs
        try:
            response = await self._engine.fetch(incoming, headers=plain_object(headers))
        except JsException as error:
            if never_connected(error):
                self.life.doubt()
                raise NeverConnected(error_text(error)) from None
            if reservation is not None:
                self.drain.doubt(reservation, instance)
            if await self._client_left(incoming, streams=reservation is None):
                raise ClientLeft(error_text(error)) from None
            self.life.doubt()
            raise
        if response.status == 503:
            refusal = or_none(response.headers.get(NO_INSTANCE_HEADER))
            if refusal == ENDING:
                self.life.ending(token)
            elif refusal == UNCONFIGURED:
                self._given.pop(configuration.name, None)
            if refusal is not None:
                return _with_grant(response, admitted)
        if reservation is not None:
            self.drain.touch()
        elif not incoming.url.startswith(_PARK):
            return response
        if admitted is not None:
            return self._taken_off(response, instance, admitted)
        return response if foreseen == instance else _from(response, instance)

    async def _give(self, token: str, configuration: Configuration) -> None:
        """Sends the configuration to the container, once for all waiting requests. Raises NotServing."""
        if self._given_to != token:
            self._given_to, self._given = token, {}
        task = self._given.get(configuration.name)
        if task is None:
            task = self._given[configuration.name] = asyncio.ensure_future(self._post(token, configuration))
            if len(self._given) > MOST_CONFIGURATIONS:
                del self._given[next(iter(self._given))]
        failure = await asyncio.shield(task)
        if failure is not None:
            if self._given.get(configuration.name) is task:
                del self._given[configuration.name]
            raise failure.again()

    async def _post(self, token: str, configuration: Configuration) -> NotServing | None:
        """Returns None if the container has accepted the configuration, else the failure."""
        headers = js_headers([(TOKEN_HEADER, token), ("content-type", "application/json")])
        try:
            request = js.Request.new(_CONFIGURATION, method="POST", headers=headers, body=configuration.for_container())
            response = await self._engine.fetch(request)
            said = await response.text()
        except JsException as error:
            self.life.doubt()
            return NotServing(f"its configuration could not be sent: {error_text(error)}", retry_after=1, gone=True)
        if response.status == 404:  # an older image, which has its own configuration
            return None
        if response.status == 200:
            log("info", "container_configured", configuration=configuration.name)
            return None
        log("error", "configuration_refused", configuration=configuration.name, status=response.status, reason=said)
        return NotServing("it refused its configuration", retry_after=5)

    def _taken_off(self, response: Any, instance: str, admitted: Admitted) -> Any:
        """Passes a carried report to the ledger and removes it from the response."""
        text = or_none(response.headers.get(REPORT_HEADER))
        if text is None:
            return response
        try:
            carried = CarriedReport.decode(text)
            admitted.carried(list(carried.report), carried.number, carried.oldest)
        except (ValueError, TypeError) as error:  # the report is still in the journal
            log("error", "report_not_read", reservation=admitted.reservation, reason=str(error))
        copy = kept("Response.new")(response.body, response)
        copy.headers.delete(REPORT_HEADER)
        return copy

    async def _client_left(self, incoming: Any, *, streams: bool) -> bool:
        """Whether a request failed because of its client. `streams`: its body may have been in transit from the client.

        A connection reset aborts the signal. A connection closed in the middle of a body aborts nothing, and the error
        is the same as when a container ends. If the container still serves, it was the client.
        """
        if incoming.signal.aborted:
            return True
        if not streams or or_none(incoming.body) is None or not self._engine.running:
            return False
        return await self._engine.probe(PROBE_TIMEOUT) is None

    async def _bind(self, reservation: str, instance: str) -> None:
        """Assigns the reservation to the instance. Raises NotServing."""
        try:
            await self._ledger.bind(reservation, instance)
        except LedgerUnavailable as error:
            raise NotServing(f"the ledger cannot be used: {error}", retry_after=1) from None

    def _instance_of(self, token: str) -> str:
        if self._known[0] != token:
            self._known = token, instance_of(token)
        return self._known[1]


class RunningContainer:
    """The journal of the object's container. It never wakes the container."""

    def __init__(self, engine: CloudflareContainer, life: Lifecycle) -> None:
        self._engine = engine
        self._life = life

    @property
    def instance(self) -> str | None:
        return _start_of(self._life.running)

    @property
    def ended(self) -> str | None:
        return _start_of(self._life.ended)

    async def page(self, ack: int, wait: float, doubtful: list[str]) -> JournalPage:
        started = self._life.running
        if started is None:
            raise Failed("it does not run")
        aborting = js.AbortController.new()
        abort = create_proxy(lambda: aborting.abort())
        timer = js.setTimeout(abort, int((wait + _SLACK) * 1000))
        try:
            request = js.Request.new(
                _JOURNAL,
                method="POST",
                headers=js_headers([(TOKEN_HEADER, started.token)]),
                body=JournalPoll(ack, wait, doubtful).encode(),
                signal=aborting.signal,
            )
            response = await self._engine.fetch(request)
            text = await response.text()
        except JsException as error:
            self._life.suspect()
            raise Failed(error_text(error)) from None
        finally:
            js.clearTimeout(timer)  # a pending timer keeps the object in memory
            abort.destroy()
        if response.status != 200:
            raise Failed(f"the journal returned {response.status}")
        return JournalPage.decode(text)


def _start_of(started: Started | None) -> str | None:
    return None if started is None else instance_of(started.token)


class ContainerObject(DurableObject):
    """The interface of every object that has a container. `_own` is None if no container is configured."""

    _own: OwnContainer | None

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        values = bindings()
        self._configurations = Known(own(CATALOG, lambda name: variable(values, name)))

    async def configure(self, text: str) -> None:
        """Receives the `Configuration.text` of a Worker with a configuration unknown to this object."""
        self._told(text)

    def _told(self, text: str) -> Configuration:
        told = self._configurations.learn(text)
        log("info", "configuration_told", configuration=told.name)
        return told

    async def state(self) -> str:
        """Returns `running`, `sleeping`, `unavailable` or NO_CONTAINER. Does not wake the container."""
        return NO_CONTAINER if self._own is None else self._own.life.state

    async def ready(self, patient: bool) -> dict[str, Any]:
        """Wakes the container; see `Lifecycle.ready`. Failures are returned, because RPC would lose the exception."""
        if self._own is None:
            return {"serves": False, "reason": _NONE_CONFIGURED, "retry_after": 60, "state": NO_CONTAINER}
        try:
            token = await self._own.life.ready(patient=patient)
        except NotServing as failure:
            return {
                "serves": False,
                "reason": str(failure),
                "retry_after": failure.retry_after,
                "ending": failure.ending,
            }
        configurations = " ".join(self._configurations.names)
        return {"serves": True, "instance": instance_of(token), "configurations": configurations}

    async def _answer(self, incoming: Any, headers: Mapping[str, str]) -> Any:
        """Returns the container's response or a 503; see `OwnContainer.answer`."""
        configuration = self._configurations.named(headers.get(CONFIGURATION_HEADER))
        if configuration is None:
            return unconfigured(incoming)
        if self._own is None:
            return not_serving(incoming, NotServing(_NONE_CONFIGURED, retry_after=60), NO_CONTAINER)
        return await self._own.answer(incoming, headers, configuration)


def unconfigured(incoming: Any) -> Any:
    """The 503 that makes the Worker send the request's configuration first."""
    return not_serving(incoming, NotServing("it lacks the configuration", retry_after=1), UNCONFIGURED)


def not_serving(incoming: Any, failure: NotServing, why: str = "1") -> Any:
    """Logs the failure and returns a 503 with the value `why` in NO_INSTANCE_HEADER."""
    log("warning", "container_not_serving", request_id=request_id(incoming), reason=str(failure))
    refusal = errors.service_unavailable("The container cannot serve now.", round(failure.retry_after))
    refusal.headers.append((NO_INSTANCE_HEADER, why))
    return error_response(refusal)


def request_id(request: Any) -> str | None:
    return or_none(request.headers.get(REQUEST_ID_HEADER))


def _from(response: Any, instance: str) -> Any:
    """Adds the instance id to the response, for the edge."""
    copy = js.Response.new(response.body, response)
    copy.headers.set(INSTANCE_HEADER, instance)
    return copy


def _with_grant(response: Any, admitted: Admitted | None) -> Any:
    """Adds the grant to a response with NO_INSTANCE_HEADER, so that the Worker can send the request elsewhere."""
    if admitted is None:
        return response
    copy = js.Response.new(response.body, response)
    copy.headers.set(GRANT_HEADER, admitted.grant(None).encode())
    copy.headers.set(INSTANCE_HEADER, admitted.instance)
    return copy


class ProxyContainer(ContainerObject):
    """An object named proxy-1, proxy-2, …, each with a container. The first container belongs to the ledger object."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        container = or_none(ctx.container)
        self._own = None
        if container is not None:
            storage = unwrapped(ctx.storage)
            ledger = LedgerObject(LedgerClient(or_none(getattr(bindings(), "LEDGER", None))))
            self._own = OwnContainer(container, storage, ledger, StorageAlarm(storage))

    async def alarm(self, *_: Any) -> None:
        """Runs while there may be something to fetch from the container."""
        if self._own is not None:
            await self._own.drain.alarm()

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """Returns the container's response unchanged, or a 503. With NO_INSTANCE_HEADER, nothing was sent."""
        incoming = interpreter.js_request(request)
        return await self._answer(incoming, headers_of(incoming))


class LedgerObject:
    """The ledger object as a `usage_drain.Ledger`."""

    def __init__(self, client: LedgerClient) -> None:
        self._client = client

    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        await self._call("report", {"instance": instance, "reports": reports, "renew": renew})

    async def ended(self, instance: str) -> None:
        await self._call("ended", {"instance": instance})

    async def bind(self, id: str, instance: str) -> None:
        await self._client.call("bind", {"id": id, "instance": instance})

    async def _call(self, method: str, fields: dict[str, Any]) -> None:
        try:
            await self._client.call(method, fields)
        except LedgerUnavailable as error:
            raise LedgerFailed(str(error)) from None


class StorageAlarm:
    """The object's only alarm. `storage`: `ctx.storage`."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def set(self, seconds: float) -> None:
        self._storage.setAlarm(int((time.time() + seconds) * 1000))

    def delete(self) -> None:
        self._storage.deleteAlarm()
