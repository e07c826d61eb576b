"""The Worker's calls of its Durable Objects: of the ledger, and of the one whose container answers a request."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pyodide.ffi import JsException

from catalog import CATALOG
from core.api.errors import ApiError, service_unavailable
from core.api.health import UNAVAILABLE
from core.configuration import Configuration
from core.protocol import (
    CATALOG_HEADER,
    CONFIGURATION_HEADER,
    ENDING,
    GONE,
    GRANT_HEADER,
    INSTANCE_HEADER,
    NO_CONTAINER,
    NO_INSTANCE_HEADER,
    REQUEST_ID_HEADER,
    UNCONFIGURED,
)

from .messages import Client, client_left, configuration
from .requests import FIRST
from .runtime.javascript import error_text, js, js_object, or_none
from .runtime.log import log

LEDGER_NAME = "ledger"
# Seconds that a health result is valid, and the maximum seconds for the check.
FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
# The error of an object whose code does not know a field. It has done nothing then.
_UNKNOWN_FIELD = "unexpected keyword argument"
# Seconds that an instance is trusted to serve after its last response, without checking first.
TRUST = 60.0
# Seconds until a ledger object without a container is asked again.
APART = 60.0
# Errors in workerd from an object whose code predates the first container's move into the ledger object.
_OLDER = ("does not export a fetch() function", "does not implement the method")
# Values of NO_INSTANCE_HEADER after which the same instance is tried once more.
AGAIN = (GONE, UNCONFIGURED)


class LedgerUnavailable(Exception):
    """The ledger did not respond. The operation may or may not have been done."""


class LedgerClient:
    """`namespace`: the LEDGER binding; None if missing. `place`: see `object_of`."""

    def __init__(self, namespace: Any, place: str | None = None) -> None:
        self._namespace = namespace
        self._place = place
        self._known: tuple[float, bool] | None = None

    async def usable(self) -> bool:
        """Whether the ledger responds. The result is cached for a few seconds."""
        known = self._known
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = (await self.call("check", {}))["ok"]
        except (LedgerUnavailable, TimeoutError):
            found = False
        self._known = time.monotonic(), found
        return found

    async def admit(self, ask: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
        """Returns a result of `ledger.batch.batch` under this configuration. `ask`: the fields of
        `ledger.admit.AdmissionRequest` except the lease. Raises LedgerUnavailable."""
        asked = {**ask, "configuration": configuration.name}
        # An older object knows no end users and candidates, an even older one no lower limits, no tags, or only its own
        # configuration.
        for left_out in (("end_user", "candidates"), ("steps", "without_limit"), ("tags",), ("configuration",)):
            try:
                return await self._admitted(asked, configuration)
            except LedgerUnavailable as error:
                if _UNKNOWN_FIELD not in str(error):
                    raise
            for name in left_out:
                asked.pop(name, None)
        return await self.call("admit", asked)

    async def _admitted(self, asked: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
        """Sends the configuration first if the object lacks it. Raises LedgerUnavailable."""
        result = await self.call("admit", asked)
        if "unconfigured" in result:
            await self._asked("configure", configuration.text())
            result = await self.call("admit", asked)
        return result

    async def call(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a method of the ledger. Raises LedgerUnavailable."""
        return json.loads(await self._asked(method, json.dumps(fields)))

    async def _asked(self, method: str, text: str) -> str:
        if self._namespace is None:
            raise LedgerUnavailable("there is no LEDGER binding")
        try:
            return await getattr(object_of(self._namespace, LEDGER_NAME, self._place), method)(text)
        except Exception as error:  # noqa: BLE001 without the ledger nothing can be paid for, whatever the error
            raise LedgerUnavailable(f"{type(error).__name__}: {error_text(error)}") from None


def object_of(namespace: Any, name: str, place: str | None) -> Any:
    """Returns the stub of a Durable Object. `place`: where to create it if it does not exist yet, permanently; None
    leaves it to Cloudflare
    (https://developers.cloudflare.com/durable-objects/reference/data-location/#provide-a-location-hint)."""
    if place is None:
        return namespace.getByName(name)
    return namespace.getByName(name, js_object({"locationHint": place}))


def unavailable(error: LedgerUnavailable, request_id: str) -> ApiError:
    """Logs the error and returns the 503 for the client."""
    log("error", "ledger_unavailable", request_id=request_id, reason=str(error))
    return service_unavailable("The ledger cannot be used now, so nothing can be paid for. Try again in a moment.")


class NoContainer(ApiError):
    """A 503. `sent`: a container may have received the request anyway."""

    def __init__(self, retry_after: float, *, sent: bool = False) -> None:
        error = service_unavailable("No container can serve this request now. Try again shortly.", round(retry_after))
        super().__init__(error.status, error.type, error.message, code=error.code, headers=error.headers)
        self.sent = sent


class Apart(Exception):
    """The ledger object has no container. The request was neither admitted nor sent anywhere."""


class Answered(NamedTuple):
    """`instance`: the start id of the container that responded, or '' if its object did not report it."""

    response: Any
    name: str
    instance: str


class Instances:
    """The containers of this deployment. `ledger`, `others`: the bindings of the object with the first container and of
    the objects with the others; None if missing. `start_limit`: the maximum seconds to wake one. `place`: see
    `object_of`. `stand_in`: an instance that serves while the only one is being replaced.

    The ledger object may have no container: it may run older code for some minutes after a deployment, and its class
    may not be allowed one. Then the first container is `apart`, in one of the other objects, as in older versions.
    """

    def __init__(self, ledger: Any, others: Any, start_limit: float, place: str | None, stand_in: str | None) -> None:
        self._ledger = ledger
        self._others = others
        self._start_limit = start_limit
        self._place = place
        self._stand_in = stand_in
        self._trusted: dict[str, float] = {}  # name -> time of the last response
        self._started: dict[str, str] = {}  # name -> the start id last reported
        self._apart_until = 0.0

    @property
    def apart(self) -> bool:
        return time.monotonic() < self._apart_until

    def start_id(self, name: str) -> str:
        """Returns the start id of the container most likely running there, '' if unknown."""
        return self._started.get(name, "")

    async def answer(
        self,
        send: Callable[[Any], Any],
        names: Iterable[str],
        client: Client,
        *,
        again: bool = False,
        stand_in: bool = True,
    ) -> Answered:
        """Returns the response of the first instance that can serve. Raises NoContainer.

        `send` calls the `fetch` that it is given; see `forward`. If it can do so `again`, with the same body, a refused
        request can go to another instance. A body that can be sent only once is held back until an instance that has
        not responded lately says that it serves. An instance that is being replaced is waited for if no other serves.
        `stand_in`: another instance may be started in the meantime.
        """
        names = list(names)
        retry_after, sent = 5.0, False
        for number, name in enumerate(names):  # the list may grow
            began, in_ledger = False, self._is_in_ledger(name)
            waited_for = name in names[:number]
            try:
                stub = self._stub(name)
                refusal = None if self._is_trusted(name) else await self._wake(name, stub, patient=waited_for)
                if refusal is None:
                    began = True
                    response = await send(stub.fetch)
                    headers = response.headers
                    if response.status != 503 or or_none(headers.get(NO_INSTANCE_HEADER)) is None:
                        self._trusted[name] = time.monotonic()
                        return self._answered(name, response)
                    kind = headers.get(NO_INSTANCE_HEADER)
                    refusal = _Refusal("it cannot serve now", float(headers.get("retry-after")), kind == ENDING)
                    if kind == UNCONFIGURED:
                        await self._tell(stub)
                    if kind in AGAIN and again and not waited_for:
                        names.insert(number + 1, name)
            except LedgerUnavailable as error:
                raise unavailable(error, client.id) from None
            except _NoBinding as error:
                refusal = _Refusal(str(error), 60.0)
            except Apart:
                names.insert(number + 1, name)
                continue
            except (JsException, TimeoutError) as error:
                if in_ledger and (again or not began) and self._finds_apart(error_text(error)):
                    names.insert(number + 1, name)
                    continue
                sent = sent or began
                if client.left:
                    raise client_left() from None
                # A missing engine only shows here: every call to the object fails.
                refusal = _Refusal(f"its object failed: {error_text(error) or 'no response in time'}", retry_after)
            self._trusted.pop(name, None)
            retry_after = refusal.retry_after
            log("error", "instance_unavailable", request_id=client.id, instance=name, reason=refusal.reason)
            if sent or (began and not again):
                break
            if refusal.ending and not waited_for:
                rest = names[number + 1 :]
                names[number + 1 :] = self.besides(name, rest) if stand_in else [*rest, name]
        raise NoContainer(retry_after, sent=sent)

    def besides(self, name: str, others: list[str]) -> list[str]:
        """Returns the instances to try while this one is being replaced. Its successor is the last."""
        if name == FIRST and self._stand_in is not None:
            others = [*others, self._stand_in]
        return [*others, name]

    async def ask(self, send: Callable[[Any], Any], client: Client) -> tuple[Any, int]:
        """Sends a request with an ASK_HEADER to the ledger object, as in `answer`. Returns its response and status.

        A 503 with NO_INSTANCE_HEADER means that the request was admitted but no container received it. Raises Apart,
        or LedgerUnavailable if the request may have been admitted or sent.
        """
        try:
            stub = self._ledger_stub()
            response = await send(stub.fetch)
            status = response.status
            if status == 503 and _wants_configuration(response.headers):
                await self._tell(stub)
                response = await send(stub.fetch)
                status = response.status
        except JsException as error:
            if self._finds_apart(error_text(error)):
                raise Apart from None
            self._trusted.pop(FIRST, None)
            if client.left:
                raise client_left() from None
            raise LedgerUnavailable(error_text(error)) from None
        if status < 400:  # otherwise the ledger may have refused it
            self._trusted[FIRST] = time.monotonic()
        elif status == 503:
            refusal = or_none(response.headers.get(NO_INSTANCE_HEADER))
            if refusal is not None:
                if self._finds_apart(refusal):
                    raise Apart
                self._trusted.pop(FIRST, None)
                log("error", "instance_unavailable", request_id=client.id, instance=FIRST, reason="it cannot serve now")
        return response, status

    def _answered(self, name: str, response: Any) -> Answered:
        """Removes the object's own header from the response."""
        instance = or_none(response.headers.get(INSTANCE_HEADER))
        if instance is None:
            return Answered(response, name, "")
        self._started[name] = instance
        copy = js.Response.new(response.body, response)
        copy.headers.delete(INSTANCE_HEADER)
        return Answered(copy, name, instance)

    def _is_trusted(self, name: str) -> bool:
        return time.monotonic() - self._trusted.get(name, -TRUST) < TRUST

    async def _wake(self, name: str, stub: Any, *, patient: bool) -> "_Refusal | None":
        """Returns None once the instance serves. `patient`: wait while it is being replaced. Raises Apart."""
        in_ledger = self._is_in_ledger(name)
        outcome = await asyncio.wait_for(stub.ready(patient), self._start_limit)
        if not outcome.serves:
            if in_ledger and self._finds_apart(getattr(outcome, "state", "")):
                raise Apart
            return _Refusal(outcome.reason, outcome.retry_after, bool(getattr(outcome, "ending", False)))
        known = getattr(outcome, "configurations", None)  # older objects do not report it
        if known is not None and configuration().name not in known.split():
            await self._tell(stub)
        self._started[name] = outcome.instance
        return None

    async def _tell(self, stub: Any) -> None:
        """Sends this configuration to an object whose code is of another version. Raises JsException."""
        await stub.configure(configuration().text())

    async def forget(self, name: str, path: str, request_id: str) -> None:
        """Drops a parked request. Raises JsException."""
        request = js.Request.new(f"http://container{path}", method="DELETE")
        request.headers.set(REQUEST_ID_HEADER, request_id)
        request.headers.set(CATALOG_HEADER, CATALOG["hash"])
        request.headers.set(CONFIGURATION_HEADER, configuration().name)
        response = await self._stub(name).fetch(request)
        if response.body:
            await response.body.cancel()

    async def state(self, name: str, timeout: float) -> str:
        """Returns the instance's state. Raises JsException or TimeoutError if there is no engine."""
        in_ledger = self._is_in_ledger(name)
        try:
            found = await asyncio.wait_for(self._stub(name).state(), timeout)
        except (LedgerUnavailable, _NoBinding):
            return UNAVAILABLE
        except JsException as error:
            found = error_text(error)
            if not (in_ledger and self._finds_apart(found)):
                raise
            return await self.state(name, timeout)
        if in_ledger and self._finds_apart(found):
            return await self.state(name, timeout)
        return UNAVAILABLE if found == NO_CONTAINER else found

    def _is_in_ledger(self, name: str) -> bool:
        """Whether this instance belongs to the ledger object."""
        return name == FIRST and not self.apart

    def _finds_apart(self, found: str) -> bool:
        """Whether the ledger object has no container. `found`: its state, or the error it failed with."""
        if found != NO_CONTAINER and not any(text in found for text in _OLDER):
            return False
        if not self.apart:
            log("warning", "first_container_apart", reason=found)
            self._trusted.pop(FIRST, None)
            self._started.pop(FIRST, None)
        self._apart_until = time.monotonic() + APART
        return True

    def _ledger_stub(self) -> Any:
        """Raises LedgerUnavailable."""
        if self._ledger is None:
            raise LedgerUnavailable("there is no LEDGER binding")
        return object_of(self._ledger, LEDGER_NAME, self._place)

    def _stub(self, name: str) -> Any:
        """Raises LedgerUnavailable, _NoBinding."""
        if self._is_in_ledger(name):
            return self._ledger_stub()
        if self._others is None:
            raise _NoBinding("there is no PROXY_CONTAINER binding")
        return object_of(self._others, name, self._place)


class _Refusal(NamedTuple):
    """Why an instance does not serve, and when to retry (in seconds). `ending`: it is being replaced."""

    reason: str
    retry_after: float
    ending: bool = False


def _wants_configuration(headers: Any) -> bool:
    """Whether the ledger object admitted nothing because it lacks the configuration."""
    return headers.get(NO_INSTANCE_HEADER) == UNCONFIGURED and or_none(headers.get(GRANT_HEADER)) is None


class _NoBinding(Exception):
    """The binding of the further instances is missing."""
