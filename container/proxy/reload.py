"""Reloads the configuration without a restart, on SIGHUP or when the file changes.

New components are built beside the current ones, then one reference is swapped. If the new configuration is invalid,
the error is logged and the old one stays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from ..accounting.edge import Accounts
from ..config.load import Config, load
from ..config.problems import CannotServe, ConfigError
from ..engine.configuration import same_engine
from ..engine.supervisor import Engine, EngineUnavailable
from ..observability import log
from ..routing.router import Router
from ..routing.shared_health import SharedCooldowns
from ..server.settings import Settings
from .gateway import Gateway, router_for
from .startup_checks import reasons_not_to_serve, reasons_to_keep

WATCH_SECONDS = 1.0

Prepare = Callable[[Config, Router], Awaitable[Accounts]]


class Reloading:
    """Passes requests to the current Gateway. `accounting` prepares the accounts for a new config."""

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
        self.current = gateway
        self._path = path
        self._settings = settings
        self._environment = environment
        self._accounting = accounting
        self._announce = announce
        self._shared = shared
        self._asked = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        self._retiring: set[asyncio.Task] = set()

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return self.current(request)

    def start(self) -> None:
        self._run(self._tasks, self._serve())
        if self._settings.config_watch:
            self._run(self._tasks, self._watch())

    def ask(self) -> None:
        """Request a reload. Several requests result in one reload."""
        self._asked.set()

    async def close(self) -> None:
        """Close after the last request."""
        for task in (*self._tasks, *self._retiring):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._retiring, return_exceptions=True)
        await self.current.engine.stop()
        await self.current.close()

    def _run(self, among: set[asyncio.Task], work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)

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

    async def _reload(self) -> None:
        before = self.current
        config = await asyncio.to_thread(load, self._path, self._environment)
        if config == before.config:
            log.info("config_unchanged", config=config.name)
            return
        reasons = reasons_not_to_serve(self._settings, config) + reasons_to_keep(before.config, config)
        if reasons:
            raise CannotServe("\n".join(reasons))
        engine = await self._engine(config, before)
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
        self.current = gateway
        if self._shared:
            self._shared.follow(router)
        self._run(self._retiring, _retire(before, None if engine is before.engine else before.engine))
        self._announce(config)
        log.info("config_reloaded", config=config.name, models=len(config.groups), engine=engine.state)

    async def _engine(self, config: Config, before: Gateway) -> Engine:
        """Return the running engine if its configuration is unchanged, else a new one, started if it is needed.

        Raises EngineUnavailable, so that a config that the engine cannot run changes nothing.
        """
        if same_engine(config, before.config):
            return before.engine
        limit = self._settings.engine_start_timeout
        engine = Engine(config, config.environment, start_timeout=limit)
        if config.needs_engine or before.engine.state != "idle":
            try:
                await engine.ready(2 * limit)
            except BaseException:
                await engine.stop()
                raise
        return engine


async def _retire(gateway: Gateway, engine: Engine | None) -> None:
    try:
        await gateway.ended()
    finally:
        await gateway.close()
        if engine:
            await engine.stop()
