"""Which configuration a request is served under, each with a Gateway of its own. A running request keeps its own.

Alone (`Reloading`), the file is read again on SIGHUP or when it changes. New components are built beside the current
ones, then one reference is swapped. If the new configuration is invalid, the error is logged and the old one stays.

Behind the edge (`Configurations`), the edge sends configurations, and each request names one. A deployment updates the
Worker first, then the Durable Objects, then the containers. A request is served under the configuration it was reserved
under, so several configurations may be active at once.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
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

from ..accounting.edge import Accounts
from ..config.document import CannotServe, ConfigError
from ..config.load import Config, load
from ..engine import Engine, EngineUnavailable, same_engine
from ..observability import log
from ..routing.router import Router
from ..routing.shared_health import SharedCooldowns
from ..server.auth import Authenticator
from ..server.context import ClientLeft, RequestContext
from ..server.settings import Settings, SettingsError
from .gateway import Gateway, router_for
from .startup import reasons_not_to_serve, reasons_to_keep

WATCH_SECONDS = 1.0

Prepare = Callable[[Config, Router], Awaitable[Accounts]]


class ConfigWatch:
    """Calls `reload` when asked to, or when the file at `path` has changed. A refused configuration is logged."""

    def __init__(self, path: Path, reload: Callable[[], Awaitable[None]], *, watches_file: bool) -> None:
        self._path = path
        self._reload = reload
        self._watches_file = watches_file
        self._asked = asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    def start(self) -> None:
        work = (self._serve(), self._watch()) if self._watches_file else (self._serve(),)
        self._tasks = [asyncio.create_task(one) for one in work]

    def ask(self) -> None:
        """Request a reload. Several requests result in one reload."""
        self._asked.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._reload()
            except (ConfigError, CannotServe, EngineUnavailable) as error:
                log.error("config_refused", reasons=str(error).splitlines(), effect="the one before stays")
            except Exception as error:  # noqa: BLE001 the old configuration keeps serving, whatever went wrong
                log.error("config_refused", error=type(error).__name__, effect="the one before stays")

    async def _watch(self) -> None:
        """Reload after a changed file has been stable for a moment, because a half-written file may be valid."""
        known = seen = self._mark()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = self._mark()
            if now is not None and now == seen != known:
                known = now
                self.ask()
            seen = now

    def _mark(self) -> tuple[int, int, int] | None:
        """Return inode, mtime and size of the file, or None if there is no file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class Current:
    """Passes requests to the current Gateway, and closes an older one after its last request."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._retiring: set[asyncio.Task] = set()

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self.gateway(request)

    def replace(self, gateway: Gateway, retired: Callable[[], Awaitable[None]]) -> None:
        """`retired` is called when the Gateway before has been closed."""
        before, self.gateway = self.gateway, gateway
        task = asyncio.create_task(self._retire(before, retired))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Close after the last request."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self.gateway.close()

    async def _retire(self, gateway: Gateway, retired: Callable[[], Awaitable[None]]) -> None:
        try:
            await gateway.ended()
        finally:
            await gateway.close()
            await retired()


class Reloading:
    """The configuration of a process that serves alone. `accounting` prepares the accounts for a new config."""

    def __init__(
        self,
        gateway: Gateway,
        path: Path,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        accounting: Prepare,
        announce: Callable[[Config], None],
        shared: SharedCooldowns | None,
    ) -> None:
        self.current = Current(gateway)
        self._path = path
        self._settings = settings
        self._environment = environment
        self._accounting = accounting
        self._announce = announce
        self._shared = shared
        self._watch = ConfigWatch(path, self._reload, watches_file=settings.config_watch)
        self.start, self.ask = self._watch.start, self._watch.ask

    async def close(self) -> None:
        """Close after the last request."""
        await self._watch.close()
        await self.current.gateway.engine.stop()
        await self.current.close()

    async def _reload(self) -> None:
        before = self.current.gateway
        config = await read_again(self._path, self._environment, self._settings, before.config)
        if config is None:
            return
        engine = await engine_for(config, before.config, before.engine, self._settings)
        try:
            router = router_for(config, before.router, before.config)
            accounting = await self._accounting(config, router)
            gateway = Gateway(
                config, self._settings, router, engine, accounting, before.failed_auth, tracing=before.tracing
            )
        except BaseException:
            if engine is not before.engine:
                await engine.stop()
            raise
        if self._shared:
            self._shared.follow(router)

        async def retired() -> None:
            if engine is not before.engine:
                await before.engine.stop()

        self.current.replace(gateway, retired)
        self._announce(config)
        log.info("config_reloaded", config=config.name, models=len(config.groups), engine=engine.state)


async def read_again(path: Path, environment: Mapping[str, str], settings: Settings, before: Config) -> Config | None:
    """Return the configuration, or None if it has not changed. Raises ConfigError or CannotServe."""
    config = await asyncio.to_thread(load, path, environment)
    if config == before:
        log.info("config_unchanged", config=config.name)
        return None
    reasons = reasons_not_to_serve(settings, config) + reasons_to_keep(before, config)
    if reasons:
        raise CannotServe("\n".join(reasons))
    return config


async def engine_for(config: Config, before: Config, running: Engine, settings: Settings) -> Engine:
    """Return the running engine if its configuration is unchanged, else a new one, started if it is needed.

    Raises EngineUnavailable, so that a config that the engine cannot run changes nothing.
    """
    if same_engine(config, before):
        return running
    limit = settings.engine_start_timeout
    engine = Engine(config, config.environment, start_timeout=limit)
    if config.needs_engine or running.state != "idle":
        try:
            await engine.ready(2 * limit)
        except BaseException:
            await engine.stop()
            raise
    return engine


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
