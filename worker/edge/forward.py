"""On to the container: the request the container gets, and the instance that gets it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pyodide.ffi import JsException

from api.errors import ApiError, service_unavailable
from api.health import UNAVAILABLE
from api.hop import CATALOG_HEADER, ENDING, INSTANCE_HEADER, NO_INSTANCE_HEADER, REQUEST_ID_HEADER, dropped
from catalog import CATALOG
from runtime.javascript import error_text, js, js_record, or_none
from runtime.log import log

# Seconds an instance that has answered is trusted to serve without being asked first.
TRUST = 60.0
_SAME_BODY = object()


class Client(NamedTuple):
    """A client's request: the JS object, its headers by lower-case name, and its ids: what the client has `named` it,
    and the gateway's own."""

    request: Any
    headers: Mapping[str, str]
    own_id: str
    named: str | None = None

    @property
    def id(self) -> str:
        return self.named or self.own_id

    @property
    def left(self) -> bool:
        return self.request.signal.aborted


def inward(client: Client, path_and_query: str, added: Iterable[tuple[str, str]], body: Any = _SAME_BODY) -> Any:
    """The request as the container sees it: credentials are gone, `added` headers have come. Its body is the client's
    own stream, or `body`: a buffer, or None.

    HEAD becomes GET: on a new connection to the container workerd loses the response to whatever comes after a HEAD.
    """
    url, request = f"http://container{path_and_query}", client.request
    outside = dropped(client.headers)
    ours = {REQUEST_ID_HEADER: client.id, CATALOG_HEADER: CATALOG["hash"], **dict(added)}
    if body is _SAME_BODY and request.method != "HEAD":
        copy = js.Request.new(url, request)
        for name in outside:
            copy.headers.delete(name)
        for name, value in ours.items():
            copy.headers.set(name, value)
        return copy
    method = "GET" if request.method == "HEAD" else request.method
    content = {} if body is _SAME_BODY or body is None else {"body": body}
    if body is None:
        outside.append("content-length")
    headers = {name: value for name, value in client.headers.items() if name not in outside} | ours
    return js.Request.new(
        url, method=method, headers=js_record(headers), signal=request.signal, redirect="manual", **content
    )


def client_left() -> ApiError:
    """An answer that nobody gets any more."""
    return ApiError(499, "client_left", "The client left.")


class NoContainer(ApiError):
    """503. `sent`: whether a container may have got the request all the same."""

    def __init__(self, retry_after: float, *, sent: bool = False) -> None:
        error = service_unavailable("No container can serve this request now. Try again shortly.", round(retry_after))
        super().__init__(error.status, error.type, error.message, code=error.code, headers=error.headers)
        self.sent = sent


class Answered(NamedTuple):
    """`instance`: the start id of the container that answered, where its object has named it, else ''."""

    response: Any
    name: str
    instance: str


class Instances:
    """The ProxyContainers of this deployment. `namespace`: their binding, None where there is none; `start_limit`:
    seconds that waking one may take."""

    def __init__(self, namespace: Any, start_limit: float) -> None:
        self._namespace = namespace
        self._start_limit = start_limit
        self._trusted: dict[str, float] = {}  # name -> when it answered last
        self._started: dict[str, str] = {}  # name -> the start id that it named last

    def start_id(self, name: str) -> str:
        """Of the container that most likely runs there now, '' while none is known."""
        return self._started.get(name, "")

    async def answer(
        self, make: Callable[[], Any], names: Iterable[str], client: Client, *, again: bool = False
    ) -> Answered:
        """The response of the first of the instances that can serve. Raises NoContainer.

        `make` makes the request; where it can do so `again`, with the same body, one that was refused can go elsewhere.
        A body that can be sent only once waits until an instance that has not answered lately says that it serves.
        """
        if self._namespace is None:
            log("error", "instance_unavailable", request_id=client.id, reason="no PROXY_CONTAINER binding")
            raise NoContainer(60)
        retry_after, sent = 5.0, False
        names = list(names)
        for number, name in enumerate(names):  # which may grow
            stub = self._namespace.getByName(name)
            request = None
            try:
                refusal = None if self._is_trusted(name) else await self._wake(name, stub, number == len(names) - 1)
                if refusal is None:
                    request = make()
                    response = await stub.fetch(request)
                    headers = response.headers
                    if or_none(headers.get(NO_INSTANCE_HEADER)) is None:
                        self._trusted[name] = time.monotonic()
                        return self._answered(name, response)
                    refusal = ("it cannot serve now", float(headers.get("retry-after")))
                    if again and headers.get(NO_INSTANCE_HEADER) == ENDING and names.count(name) == 1:
                        names.append(name)  # where no other one serves, it is waited for its successor
            except (JsException, TimeoutError) as error:
                sent = sent or request is not None
                if client.left:
                    raise client_left() from None
                # An engine that is missing shows only here: every call to the object fails.
                refusal = (f"its object failed: {error_text(error) or 'no answer in time'}", retry_after)
            self._trusted.pop(name, None)
            reason, retry_after = refusal
            log("error", "instance_unavailable", request_id=client.id, instance=name, reason=reason)
            if sent or (request is not None and not again):
                break
        raise NoContainer(retry_after, sent=sent)

    def _answered(self, name: str, response: Any) -> Answered:
        """What the object says about itself is not for the client."""
        instance = or_none(response.headers.get(INSTANCE_HEADER))
        if instance is None:
            return Answered(response, name, "")
        self._started[name] = instance
        copy = js.Response.new(response.body, response)
        copy.headers.delete(INSTANCE_HEADER)
        return Answered(copy, name, instance)

    def _is_trusted(self, name: str) -> bool:
        return time.monotonic() - self._trusted.get(name, -TRUST) < TRUST

    async def _wake(self, name: str, stub: Any, last: bool) -> tuple[str, float] | None:
        """None when it serves, else why not and after how many seconds to try again. Only of the last instance it is
        worth to wait while it is being replaced."""
        outcome = await asyncio.wait_for(stub.ready(last), self._start_limit)
        if not outcome.serves:
            return outcome.reason, outcome.retry_after
        self._started[name] = outcome.instance
        return None

    async def forget(self, name: str, path: str, request_id: str) -> None:
        """What was parked there is not wanted any more. Raises JsException."""
        request = js.Request.new(f"http://container{path}", method="DELETE")
        request.headers.set(REQUEST_ID_HEADER, request_id)
        request.headers.set(CATALOG_HEADER, CATALOG["hash"])
        response = await self._namespace.getByName(name).fetch(request)
        if response.body:
            await response.body.cancel()

    async def state(self, name: str, timeout: float) -> str:
        """Raises JsException or TimeoutError where there is no engine."""
        if self._namespace is None:
            return UNAVAILABLE
        return await asyncio.wait_for(self._namespace.getByName(name).state(), timeout)
