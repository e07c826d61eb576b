"""On to the container: the request the container gets, and the instance that gets it."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pyodide.ffi import JsException

from api.errors import ApiError, service_unavailable
from api.hop import NO_INSTANCE_HEADER, REQUEST_ID_HEADER, dropped
from runtime.javascript import error_text, js, or_none
from runtime.log import log

# Seconds an instance that has answered is trusted to serve without being asked first.
TRUST = 60.0


def inward(request: Any, headers: Mapping[str, str], path_and_query: str, request_id: str) -> Any:
    """The request as the container sees it: the body is the client's own stream, credentials are gone.

    HEAD becomes GET: on a new connection to the container workerd loses the response to whatever comes after a HEAD.
    """
    url = f"http://container{path_and_query}"
    if request.method == "HEAD":
        copy = js.Request.new(url, method="GET", headers=request.headers, signal=request.signal, redirect="manual")
    else:
        copy = js.Request.new(url, request)
    for name in dropped(headers):
        copy.headers.delete(name)
    copy.headers.set(REQUEST_ID_HEADER, request_id)
    return copy


class Instances:
    """The ProxyContainers of this deployment. `start_limit`: seconds that waking one may take."""

    def __init__(self, namespace: Any, start_limit: float) -> None:
        self._namespace = namespace
        self._start_limit = start_limit
        self._trusted: dict[str, float] = {}  # name -> when it answered last

    async def answer(self, request: Any, names: Iterable[str], request_id: str) -> Any:
        """The response of the first of the instances that can serve. Raises ApiError 503.

        A body can be sent only once, so an instance that has not answered lately is first asked whether it serves.
        """
        retry_after = 5.0
        for name in names:
            stub = self._namespace.getByName(name)
            try:
                refusal = None if self._is_trusted(name) else await self._wake(stub)
                if refusal is None:
                    response = await stub.fetch(request)
                    if or_none(response.headers.get(NO_INSTANCE_HEADER)) is None:
                        self._trusted[name] = time.monotonic()
                        return response
                    refusal = ("it stopped serving", float(response.headers.get("retry-after")))
            except (JsException, TimeoutError) as error:
                # An engine that is missing shows only here: every call to the object fails.
                refusal = (f"its object failed: {error_text(error) or 'no answer in time'}", retry_after)
            self._trusted.pop(name, None)
            reason, retry_after = refusal
            log("error", "instance.unavailable", request_id=request_id, instance=name, reason=reason)
            if request.bodyUsed:
                break
        raise no_container(retry_after)

    def _is_trusted(self, name: str) -> bool:
        return time.monotonic() - self._trusted.get(name, -TRUST) < TRUST

    async def _wake(self, stub: Any) -> tuple[str, float] | None:
        """None when it serves, else why not and after how many seconds to try again."""
        outcome = await asyncio.wait_for(stub.ready(), self._start_limit)
        return None if outcome.serves else (outcome.reason, outcome.retry_after)

    async def state(self, name: str, timeout: float) -> str:
        """Raises JsException or TimeoutError where there is no engine."""
        return await asyncio.wait_for(self._namespace.getByName(name).state(), timeout)


def no_container(retry_after: float) -> ApiError:
    return service_unavailable("No container can serve this request now. Try again shortly.", round(retry_after))
