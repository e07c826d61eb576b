"""Reloads the configuration without a restart, on SIGHUP or when the file changes.

New components are built beside the current ones, then one reference is swapped. If the new configuration is invalid,
the error is logged and the old one stays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from ..accounting.edge import Accounts
from ..config.document import CannotServe, ConfigError
from ..config.load import Config, load
from ..engine import Engine, EngineUnavailable, same_engine
from ..observability import log
from ..routing.router import Router
from ..routing.shared_health import SharedCooldowns
from ..server.settings import Settings
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
