"""A Durable Object's container: its life, the requests that are sent to it, and what they came to on the way back."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from pyodide.ffi import JsException
from workers import DurableObject

from catalog import CATALOG
from core.api import errors
from core.configuration import Configuration, Known, own
from core.container_environment import container_environment
from core.protocol import (
    ASK_HEADER,
    CONFIGURATION_HEADER,
    CONFIGURATION_PATH,
    ENDING,
    GONE,
    GRANT_HEADER,
    INSTANCE_HEADER,
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
    instance_of,
)

from ..body import broke_off
from ..container_life import settings
from ..container_life.engine import CloudflareContainer, NeverConnected, never_connected
from ..container_life.lifecycle import Lifecycle, NotServing
from ..container_life.readiness import PROBE_TIMEOUT, StoredRecord
from ..ledger_client import LedgerUnavailable
from ..responses import error_response
from ..runtime.javascript import bindings, error_text, js, js_headers, kept, or_none, variable
from ..runtime.log import log
from .drain_ends import RunningContainer
from .usage_drain import Alarm, Drain, Ledger

_NONE_CONFIGURED = "no container is configured for this Durable Object"
_PARK = f"http://container{PARK_PREFIX}/"
_CONFIGURATION = f"http://container{CONFIGURATION_PATH}"


class LedgerEnd(Ledger, Protocol):
    """The ledger, as a container's object wants it."""

    async def bind(self, id: str, instance: str) -> None:
        """The request was admitted for another container, or for whichever there is. Raises LedgerUnavailable."""


class Admitted(NamedTuple):
    """A request that this object has admitted.

    `instance`: of the container that it was admitted for; `grant`: makes the grant's text out of the number up to which
    the ledger has the journal, None where the answer must carry no report; `carried`: takes a report that came with an
    answer, its number, and the oldest number in the journal.
    """

    reservation: str
    instance: str
    grant: Callable[[int | None], str]
    carried: Callable[[list[Any], int, int], None]


class ClientLeft(Exception):
    """The client left before it had sent everything, or had its answer: no fault of the container."""


class OwnContainer:
    """`container`: `ctx.container`; `storage`: the object's, unwrapped."""

    def __init__(self, container: Any, storage: Any, ledger: LedgerEnd, alarm: Alarm) -> None:
        env = bindings()
        limits = settings.read(lambda name: variable(env, name))
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
        self._given: dict[str, asyncio.Task[NotServing | None]] = {}  # by name, in the order in which they were given
        self._given_to = ""  # the container with this token
        self.drain = Drain(RunningContainer(self._engine, self.life), ledger, alarm, log)
        self.life.adopt()

    @property
    def running(self) -> bool:
        return self._engine.running

    @property
    def instance(self) -> str:
        """The start id of the container that serves, '' where none is known to."""
        token = self.life.serving
        return "" if token is None else self._instance_of(token)

    async def answer(self, incoming: Any, configuration: Configuration, admitted: Admitted | None = None) -> Any:
        """The container's response as it came, or a 503; one with NO_INSTANCE_HEADER has sent nothing anywhere, and has
        the grant of a request that this object has admitted. `configuration`: the one that the request goes by."""
        try:
            return await self._send_once(incoming, configuration, admitted)
        except NotServing as failure:
            why = ENDING if failure.ending else GONE if failure.gone else "1"
            return _with_grant(not_serving(incoming, failure, why), admitted)
        except ClientLeft as error:
            log("info", "client_left", request_id=request_id(incoming), reason=str(error))
            refusal = broke_off()
        except JsException as error:
            log("error", "container_lost", request_id=request_id(incoming), reason=error_text(error))
            refusal = errors.service_unavailable("The container went away before it had answered.", retry_after=1)
        return error_response(refusal)

    async def _send_once(self, incoming: Any, configuration: Configuration, admitted: Admitted | None) -> Any:
        """Again only if nothing of it has left. Raises NotServing, ClientLeft, JsException."""
        reservation = None if admitted is None else admitted.reservation
        if admitted is None:
            grant = or_none(incoming.headers.get(GRANT_HEADER))
            reservation = None if grant is None else EdgeGrant.decode(grant).reservation or None
        again = or_none(incoming.body) is None
        while True:
            try:
                return await self._send(incoming, configuration, reservation, admitted)
            except NeverConnected as error:
                if not again:
                    raise NotServing(str(error), retry_after=1, gone=True) from None
            again = False

    async def _send(
        self, incoming: Any, configuration: Configuration, reservation: str | None, admitted: Admitted | None
    ) -> Any:
        """`reservation`: the id of the one that pays for it; None where nothing does."""
        token = self.life.serving or await self.life.ready(patient=False)
        giving = self._given.get(configuration.name) if self._given_to == token else None
        if giving is None or not giving.done():
            await self._give(token, configuration)
        instance = self._instance_of(token)
        outgoing = kept("Request.new")(incoming)  # a copy, as the headers of the original cannot be changed
        headers = outgoing.headers
        headers.set(TOKEN_HEADER, token)
        if admitted is None:
            foreseen = or_none(headers.get(INSTANCE_HEADER))
        else:
            foreseen = admitted.instance
            headers.delete(ASK_HEADER)
            headers.set(GRANT_HEADER, admitted.grant(self.drain.written(instance)))
        if reservation is not None and foreseen != instance:
            await self._bind(reservation, instance)
        self.drain.touch()  # for any request: it is the drain that notices a container which hangs
        try:
            response = await self._engine.fetch(outgoing)
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
        """Gives the container this configuration, once for all requests that wait for it. Raises NotServing."""
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
        """Why the container has not got it, None when it has."""
        headers = js_headers([(TOKEN_HEADER, token), ("content-type", "application/json")])
        try:
            request = js.Request.new(_CONFIGURATION, method="POST", headers=headers, body=configuration.for_container())
            response = await self._engine.fetch(request)
            said = await response.text()
        except JsException as error:
            self.life.doubt()
            return NotServing(f"it could not be given its configuration: {error_text(error)}", retry_after=1, gone=True)
        if response.status == 404:  # an image of before, which has its own
            return None
        if response.status == 200:
            log("info", "container_configured", configuration=configuration.name)
            return None
        log("error", "configuration_refused", configuration=configuration.name, status=response.status, reason=said)
        return NotServing("it has refused its configuration", retry_after=5)

    def _taken_off(self, response: Any, instance: str, admitted: Admitted) -> Any:
        """The response without the report that it carries."""
        text = or_none(response.headers.get(REPORT_HEADER))
        if text is None:
            return response
        try:
            carried = CarriedReport.decode(text)
            admitted.carried(list(carried.report), carried.number, carried.oldest)
        except (ValueError, TypeError) as error:  # the journal still has it
            log("error", "report_not_read", reservation=admitted.reservation, reason=str(error))
        copy = kept("Response.new")(response.body, response)
        copy.headers.delete(REPORT_HEADER)
        return copy

    async def _client_left(self, incoming: Any, *, streams: bool) -> bool:
        """Whether a request has failed for its client's sake. `streams`: its body may have come from there just then.

        A connection that is reset aborts the signal. One that is closed in the middle of a body aborts nothing, and the
        error is the one of a container that ends; that it still serves tells them apart.
        """
        if incoming.signal.aborted:
            return True
        if not streams or or_none(incoming.body) is None or not self._engine.running:
            return False
        return await self._engine.probe(PROBE_TIMEOUT) is None

    async def _bind(self, reservation: str, instance: str) -> None:
        """Raises NotServing."""
        try:
            await self._ledger.bind(reservation, instance)
        except LedgerUnavailable as error:
            raise NotServing(f"the ledger cannot be used: {error}", retry_after=1) from None

    def _instance_of(self, token: str) -> str:
        if self._known[0] != token:
            self._known = token, instance_of(token)
        return self._known[1]


class ContainerObject(DurableObject):
    """What every object that has a container is asked for. `_own` is None where none is configured."""

    _own: OwnContainer | None

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        values = bindings()
        self._configurations = Known(own(CATALOG, lambda name: variable(values, name)))

    async def configure(self, text: str) -> None:
        """`Configuration.text` of a Worker that goes by another configuration than this object."""
        self._told(text)

    def _told(self, text: str) -> Configuration:
        told = self._configurations.learn(text)
        log("info", "configuration_told", configuration=told.name)
        return told

    async def state(self) -> str:
        """`running`, `sleeping`, `unavailable`, or NO_CONTAINER; wakes nothing."""
        return NO_CONTAINER if self._own is None else self._own.life.state

    async def ready(self, patient: bool) -> dict[str, Any]:
        """Wakes the container; see `Lifecycle.ready`. A failure is returned, as RPC would lose an exception."""
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

    def _configuration(self, headers: Any) -> Configuration | None:
        """The one that a request with these headers goes by; None where this object has to be told of it first."""
        return self._configurations.named(or_none(headers.get(CONFIGURATION_HEADER)))

    async def _answer(self, incoming: Any, configuration: Configuration | None) -> Any:
        """The container's response, or a 503; see `OwnContainer.answer`. `configuration`: see `_configuration`."""
        if configuration is None:
            return not_serving(incoming, NotServing("it has to be told the configuration", retry_after=1), UNCONFIGURED)
        if self._own is None:
            return not_serving(incoming, NotServing(_NONE_CONFIGURED, retry_after=60), NO_CONTAINER)
        return await self._own.answer(incoming, configuration)


def not_serving(incoming: Any, failure: NotServing, why: str = "1") -> Any:
    """A 503 with NO_INSTANCE_HEADER: `why`."""
    log("warning", "container_not_serving", request_id=request_id(incoming), reason=str(failure))
    refusal = errors.service_unavailable("The container cannot serve now.", round(failure.retry_after))
    refusal.headers.append((NO_INSTANCE_HEADER, why))
    return error_response(refusal)


def request_id(request: Any) -> str | None:
    return or_none(request.headers.get(REQUEST_ID_HEADER))


def _from(response: Any, instance: str) -> Any:
    """The response, which says whose it is, for the edge to remember."""
    copy = js.Response.new(response.body, response)
    copy.headers.set(INSTANCE_HEADER, instance)
    return copy


def _with_grant(response: Any, admitted: Admitted | None) -> Any:
    """A response with NO_INSTANCE_HEADER, for the Worker to send the request elsewhere with what it was granted."""
    if admitted is None:
        return response
    copy = js.Response.new(response.body, response)
    copy.headers.set(GRANT_HEADER, admitted.grant(None))
    copy.headers.set(INSTANCE_HEADER, admitted.instance)
    return copy
