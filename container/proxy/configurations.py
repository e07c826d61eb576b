"""Configurations sent by the edge, each with a Gateway for the requests that name it.

A deployment updates the Worker first, then the Durable Objects, then the containers. A request is served under the
configuration it was reserved under, so several configurations may be active at once. A running request keeps its own.
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

from ..config.document import CannotServe, ConfigError
from ..observability import log
from ..server.auth import Authenticator
from ..server.context import ClientLeft, RequestContext
from ..server.settings import SettingsError
from .gateway import Gateway

MAX_MB = 8.0
# Seconds after which an engine that only an older configuration uses is stopped. It restarts if it is needed again.
ENGINE_LINGERS = 60.0


class _Held(NamedTuple):
    gateway: Gateway
    digest: bytes  # of the encoded configuration


Make = Callable[[GivenConfiguration, Gateway], Awaitable[Gateway]]


class Configurations:
    """Routes each request to the Gateway of the configuration it names, or to the newest if it names none.

    `first` serves requests until the edge has sent a configuration. `make` builds a Gateway and keeps what the newest
    Gateway has learned; it raises ConfigError, SettingsError or CannotServe. `given` is False if an older edge started
    this container: it expects `first` to serve every request, whatever configuration the request names.
    """

    def __init__(self, first: Gateway, authenticator: Authenticator, make: Make, *, given: bool = True) -> None:
        self.newest = first
        self._unnamed: Gateway | None = first
        self._authenticator = authenticator
        self._make = make
        self._held: dict[str, _Held] = {}  # oldest first
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
        """Run before shutdown, see `BehindTheEdge.finish`. All Gateways share one journal."""
        assert self.newest.edge is not None
        await self.newest.edge.finish(grace, at_once)

    async def close(self) -> None:
        """Close after the last request."""
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
        assert context.response is not None, "no response was set"
        return context.response

    async def _hold(self, given: GivenConfiguration, digest: bytes) -> None:
        """Raises ApiError 422 if the configuration is unusable; the active ones stay."""
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
        """Close a Gateway that no new request names, after its last request."""
        await gateway.ended()
        await gateway.close()
        if all(gateway.engine is not held.gateway.engine for held in self._held.values()):
            await gateway.engine.stop()

    async def _rest(self, gateway: Gateway) -> None:
        """Stop an old engine: a small container does not have enough memory for two."""
        await asyncio.sleep(ENGINE_LINGERS)
        await gateway.ended()
        if gateway.engine is not self.newest.engine:
            await gateway.engine.stop()

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _unconfigured(request: web.BaseRequest) -> web.StreamResponse:
    """503. Nothing of the request is kept, so the edge can retry it after sending the configuration."""
    context = RequestContext(request)
    error = service_unavailable("This container does not have that configuration.", retry_after=1)
    error.headers.append((NO_INSTANCE_HEADER, UNCONFIGURED))
    context.error(error)
    assert context.response is not None
    return context.response


def _given(raw: bytes) -> GivenConfiguration:
    """Raises ApiError 400."""
    try:
        return GivenConfiguration.decode(raw)
    except (ValueError, TypeError):
        raise invalid_request("The body is not a valid configuration.") from None
