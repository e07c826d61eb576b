"""The Durable Object that owns one container: starts it, finds it again, passes requests on to it, and tells the
ledger what they came to."""

import json
from typing import Any

from pyodide.ffi import JsException
from workers import DurableObject

from api import errors
from api.health import UNAVAILABLE
from api.hop import (
    ENDING,
    GRANT_HEADER,
    INSTANCE_HEADER,
    NO_INSTANCE_HEADER,
    PARK_PREFIX,
    REQUEST_ID_HEADER,
    TOKEN_HEADER,
)
from api.instance import instance_of
from catalog import CATALOG
from container_life import settings
from container_life.engine import CloudflareContainer, NeverConnected, never_connected
from container_life.environment import container_environment
from container_life.lifecycle import Lifecycle, NotServing
from container_life.readiness import PROBE_TIMEOUT
from container_life.record import StoredRecord
from drain_ends import LedgerObject, RunningContainer, StorageAlarm
from edge.body import broke_off
from edge.ledger import LedgerClient, LedgerUnavailable
from edge.respond import error_response
from runtime import entries
from runtime.javascript import bindings, error_text, js, or_none, unwrapped, variable
from runtime.log import log
from usage_drain import Drain

_PARK = f"http://container{PARK_PREFIX}/"


class ProxyContainer(DurableObject):
    """Named proxy-0, proxy-1, …; each has a container of its own."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        container = or_none(ctx.container)
        self._served = None if container is None else _Served(container, unwrapped(ctx.storage))

    async def state(self) -> str:
        """`running`, `sleeping` or `unavailable`; wakes nothing."""
        return UNAVAILABLE if self._served is None else self._served.life.state

    async def ready(self, patient: bool) -> dict[str, Any]:
        """Wakes the container; see `Lifecycle.ready`. What went wrong is told and not raised: RPC would lose it."""
        try:
            token = await self._container().life.ready(patient=patient)
        except NotServing as failure:
            return {"serves": False, "reason": str(failure), "retry_after": failure.retry_after}
        return {"serves": True, "instance": instance_of(token)}

    async def alarm(self, *_: Any) -> None:
        """Set while there may be something to fetch from the container."""
        if self._served is not None:
            await self._served.drain.alarm()

    @entries.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """The container's response as it came, or a 503; one with NO_INSTANCE_HEADER has sent nothing anywhere."""
        incoming = entries.js_request(request)
        try:
            return await self._container().answer(incoming)
        except NotServing as failure:
            log("warning", "container_not_serving", request_id=_request_id(incoming), reason=str(failure))
            refusal = errors.service_unavailable("The container cannot serve now.", round(failure.retry_after))
            refusal.headers.append((NO_INSTANCE_HEADER, "1"))
        except _ClientLeft as error:
            log("info", "client_left", request_id=_request_id(incoming), reason=str(error))
            refusal = broke_off()
        except JsException as error:
            log("error", "container_lost", request_id=_request_id(incoming), reason=error_text(error))
            refusal = errors.service_unavailable("The container went away before it had answered.", retry_after=1)
        return error_response(refusal)

    def _container(self) -> "_Served":
        if self._served is None:
            raise NotServing("no container is configured for this Durable Object", retry_after=60)
        return self._served


def _request_id(request: Any) -> str | None:
    return or_none(request.headers.get(REQUEST_ID_HEADER))


class _ClientLeft(Exception):
    """The client left before it had sent all, or had its answer: nothing of the container's."""


class _Served:
    """A container and its life, requests on their way to it, and what they came to on its way out."""

    def __init__(self, container: Any, storage: Any) -> None:
        env = bindings()
        limits = settings.read(lambda name: variable(env, name))
        for problem in limits.problems:
            log("warning", "setting_ignored", reason=problem)
        self._engine = CloudflareContainer(container)
        self.life = Lifecycle(
            self._engine,
            StoredRecord(storage),
            lambda: container_environment(CATALOG["environment"], lambda name: variable(env, name)),
            CATALOG["hash"],
            limits,
            log,
            gone=lambda started: self.drain.gone(instance_of(started.token)),
            owes=lambda: self.drain.touch(),
        )
        self._ledger = LedgerClient(or_none(getattr(env, "LEDGER", None)))
        journal = RunningContainer(self._engine, self.life)
        self.drain = Drain(journal, LedgerObject(self._ledger), StorageAlarm(storage), log)
        self.life.adopt()

    async def answer(self, incoming: Any) -> Any:
        """Sends a request once; again only if nothing of it has left. Raises NotServing, _ClientLeft, JsException."""
        grant = or_none(incoming.headers.get(GRANT_HEADER))
        reservation = None if grant is None else json.loads(grant).get("reservation")
        again = or_none(incoming.body) is None
        while True:
            try:
                return await self._send(incoming, reservation)
            except NeverConnected as error:
                if not again:
                    raise NotServing(str(error), retry_after=1) from None
            again = False

    async def _send(self, incoming: Any, reservation: str | None) -> Any:
        """`reservation`: the id of the one that pays for it; None where nothing does."""
        token = await self.life.ready()
        instance = instance_of(token)
        outgoing = js.Request.new(incoming)  # a copy, as the headers of the original cannot be changed
        headers = outgoing.headers
        headers.set(TOKEN_HEADER, token)
        foreseen = or_none(headers.get(INSTANCE_HEADER))
        if reservation is not None and foreseen != instance:
            await self._bind(reservation, instance)
        self.drain.touch()  # whatever it is: the drain is also who notices that a container hangs
        try:
            response = await self._engine.fetch(outgoing)
        except JsException as error:
            if never_connected(error):
                self.life.doubt()
                raise NeverConnected(error_text(error)) from None
            if reservation is not None:
                self.drain.doubt(reservation, instance)
            if await self._client_left(incoming, streams=reservation is None):
                raise _ClientLeft(error_text(error)) from None
            self.life.doubt()
            raise
        if or_none(response.headers.get(NO_INSTANCE_HEADER)) == ENDING:
            self.life.ending(token)
            return response
        if reservation is not None:
            self.drain.touch()
        elif not incoming.url.startswith(_PARK):
            return response
        return response if foreseen == instance else _from(response, instance)

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
        """The request was let in for another container, or for whichever there is. Raises NotServing."""
        try:
            await self._ledger.call("bind", {"id": reservation, "instance": instance})
        except LedgerUnavailable as error:
            raise NotServing(f"the ledger cannot be used: {error}", retry_after=1) from None


def _from(response: Any, instance: str) -> Any:
    """The response, which says whose it is, for the edge to remember."""
    copy = js.Response.new(response.body, response)
    copy.headers.set(INSTANCE_HEADER, instance)
    return copy
