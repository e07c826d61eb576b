"""Behind the edge: the configurations that it has given, each with a Gateway for the requests that name it.

A deployment changes the Worker first, then the objects, then the containers. What was reserved under a configuration is
served under the same one, so that several serve side by side meanwhile, and a running request ends under its own.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from worker.core.api.errors import ApiError, invalid_request, service_unavailable, wrong_method
from worker.core.protocol import (
    CONFIGURATION_HEADER,
    CONFIGURATION_PATH,
    MOST_CONFIGURATIONS,
    NO_INSTANCE_HEADER,
    UNCONFIGURED,
    GivenConfiguration,
)

from ..config.problems import CannotServe, ConfigError
from ..observability import log
from ..server.auth import Authenticator
from ..server.context import ClientLeft, RequestContext
from ..server.settings import SettingsError
from .gateway import Gateway

MAX_MB = 8.0
# An engine that only an earlier configuration needs is ended so many seconds after it has been followed by another one.
# It starts again should it be needed after all.
ENGINE_LINGERS = 60.0


class _Held(NamedTuple):
    gateway: Gateway
    digest: bytes  # of what was given


Make = Callable[[GivenConfiguration, Gateway], Awaitable[Gateway]]


class Configurations:
    """Passes each request to the Gateway of the configuration that it names; one that names none to the newest.

    `first` serves what comes before the edge has given one; `make` builds the Gateway of one that was given, out of
    what the newest one has learnt. It raises ConfigError, SettingsError or CannotServe. `given`: False where an edge of
    before has started this container, and relies on `first`, whatever a request names.
    """

    def __init__(self, first: Gateway, authenticator: Authenticator, make: Make, *, given: bool = True) -> None:
        self.newest = first
        self._unnamed: Gateway | None = first
        self._authenticator = authenticator
        self._make = make
        self._held: dict[str, _Held] = {}  # in the order in which they were given
        self._given = given
        self._giving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        name = request.headers.get(CONFIGURATION_HEADER)
        if name is None or not self._given:
            return self._take(request) if request.path == CONFIGURATION_PATH else self.newest(request)
        held = self._held.get(name)
        return _unconfigured(request) if held is None else held.gateway(request)

    async def finish(self, grace: float, at_once: asyncio.Event) -> None:
        """Before the end; see `BehindTheEdge.finish`. Every Gateway has the same journal."""
        assert self.newest.edge is not None
        await self.newest.edge.finish(grace, at_once)

    async def close(self) -> None:
        """After the last request."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        gateways = {held.gateway for held in self._held.values()} | {self.newest}
        for engine in {gateway.engine for gateway in gateways}:
            await engine.stop()
        for gateway in gateways:
            await gateway.close()

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        context = RequestContext(request)
        try:
            self._authenticator.require_token(context)
            if context.method != "POST":
                raise wrong_method(context.method, context.path, ("POST",))
            raw = await context.body(MAX_MB)
            given = _given(raw)
            async with self._giving:
                await self._hold(given, hashlib.sha256(raw).digest())
            context.respond(200, b"{}")
        except ApiError as error:
            context.error(error)
        except ClientLeft:
            raise ConnectionResetError from None
        assert context.response is not None, "it is answered in either case"
        return context.response

    async def _hold(self, given: GivenConfiguration, digest: bytes) -> None:
        """Raises ApiError 422 for one that cannot be run: what is held stays as it is."""
        known, before = self._held.get(given.name), self.newest
        if known is not None and known.digest == digest:
            self._newest_is(given.name, known)
            return
        try:
            gateway = await self._make(given, before)
        except (ConfigError, SettingsError, CannotServe) as error:
            reasons = str(error).splitlines()
            log.error("config_refused", config=given.file, reasons=reasons, effect="the ones before stay")
            raise ApiError(422, "server_error", "\n".join(reasons), code="config_refused") from None
        self._newest_is(given.name, _Held(gateway, digest))
        if known is not None:
            self._retire(known.gateway)
        if self._unnamed is not None:
            self._retire(self._unnamed)
            self._unnamed = None
        while len(self._held) > MOST_CONFIGURATIONS:
            self._retire(self._held.pop(next(iter(self._held))).gateway)
        if before.engine is not gateway.engine:
            self._run(self._rest(before))

    def _newest_is(self, name: str, held: _Held) -> None:
        self._held.pop(name, None)
        self._held[name] = held
        self.newest = held.gateway

    def _retire(self, gateway: Gateway) -> None:
        self._run(self._retired(gateway))

    async def _retired(self, gateway: Gateway) -> None:
        """Nobody names it any more: it ends with its last request."""
        await gateway.ended()
        await gateway.close()
        if all(gateway.engine is not held.gateway.engine for held in self._held.values()):
            await gateway.engine.stop()

    async def _rest(self, gateway: Gateway) -> None:
        """Two engines at a time are more than a small container has memory for."""
        await asyncio.sleep(ENGINE_LINGERS)
        await gateway.ended()
        if gateway.engine is not self.newest.engine:
            await gateway.engine.stop()

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _unconfigured(request: web.BaseRequest) -> web.StreamResponse:
    """503: nothing of the request is kept, and it can be sent again once the configuration has been given."""
    context = RequestContext(request)
    error = service_unavailable("This container has not got that configuration.", retry_after=1)
    error.headers.append((NO_INSTANCE_HEADER, UNCONFIGURED))
    context.error(error)
    assert context.response is not None
    return context.response


def _given(raw: bytes) -> GivenConfiguration:
    """Raises ApiError 400."""
    try:
        return GivenConfiguration.decode(raw)
    except (ValueError, TypeError):
        raise invalid_request("This is no configuration.") from None
