"""One of the processes that serve requests, and what it has instead of a ledger and an engine of its own: the hub's."""

import asyncio
import os
import pickle
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.decision import Decision, Dialect
from worker.core.ledger.settle import Report

from ..accounting.ledger import Ledger
from ..config.load import Config
from ..config.providers import Address
from ..config.sections import redis_url
from ..engine import Engine
from ..handlers.public import Sums
from ..observability import log, metrics
from ..proxy.configurations import Current
from ..proxy.gateway import Gateway, router_for
from ..proxy.process import Running, close, tracing_of
from ..proxy.startup import accounting_of
from ..routing.router import Router
from ..routing.shared_health import HealthBoard, SharedCooldowns, SharedHealth
from ..server.http import MAX_HEADER_BYTES
from ..server.settings import Settings
from ..stores import LedgerUnavailable
from .hub import Setup
from .link import Link, LinkLost, connect, from_the_hub

# A second one ends the requests that still run.
ENDS = signal.SIGUSR1
# The end of a response waits no longer than this for its settlement.
_PATIENCE = 0.5
_CHECK_SECONDS = 3.0


class Worker:
    """`config`: the one that it was forked with. `number`: its row on the board."""

    def __init__(self, number: int, config: Config, settings: Settings, board: HealthBoard) -> None:
        self._number = number
        self._config = config
        self._settings = settings
        self._board = board
        self._tracing = tracing_of(settings)
        self._instance = ""
        self._link: Link
        self._ledger: Ledger | None = None
        self._engines: dict[int, RemoteEngine] = {}
        self._generation = 0
        self._current: Current
        self._cooldowns: SharedCooldowns | None = None

    async def serve(self, end: socket.socket, listening: list[socket.socket]) -> None:
        """Serve until SIGUSR1. Raises CannotServe."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor's
        self._link = await connect(end, self._asked, _hub_lost, from_the_hub)
        self._instance, setup = await self._link.call("hello", os.getpid())
        gateway, router = self._gateway(pickle.loads(setup))  # noqa: S301 the hub's
        self._current = Current(gateway)
        url = redis_url(self._config.environment)
        if url:
            self._cooldowns = SharedCooldowns(router, url)
            self._cooldowns.start()
        try:
            async with Running(self._current, MAX_HEADER_BYTES, self._settings, listening, ends=(ENDS,)) as running:
                self._link.tell("ready")
                await running.stop.wait()
                self._link.tell("stopping")
        finally:
            if self._cooldowns:
                await self._cooldowns.stop()
            await self._current.close()
            with suppress(LinkLost):
                await self._link.call("bye")  # all reports have arrived
            self._link.close()
            await close(self._tracing)

    def _asked(self, kind: str, given: tuple[Any, ...], _: object) -> Any:
        """Answer the hub."""
        match kind:
            case "take":
                return self._take(pickle.loads(given[0]))  # noqa: S301 the hub's
            case "engine":
                number, state, address = given
                if number in self._engines:
                    self._engines[number].changed(state, address)
            case "recorded":
                found = metrics.recorded()
                return found.families, found.process and tuple(found.process), self._current.gateway.running
            case _:
                raise ValueError(f"{kind} is not known")

    def _take(self, setup: Setup) -> None:
        """Serve another configuration from now on."""
        before, engine = self._generation, self._current.gateway.engine
        gateway, router = self._gateway(setup)
        if self._cooldowns:
            self._cooldowns.follow(router)

        async def retired() -> None:
            if engine is not self._current.gateway.engine and isinstance(engine, RemoteEngine):
                self._engines.pop(engine.number, None)
            self._link.tell("retired", before)

        self._current.replace(gateway, retired)

    def _gateway(self, setup: Setup) -> tuple[Gateway, Router]:
        config = setup.config or self._config
        router = router_for(config)
        for id, slot in setup.slots.items():
            router.adopt(id, SharedHealth(self._board, slot, self._number))
        if self._ledger is None and setup.dialect is not None:
            self._ledger = RemoteLedger(self._link, setup.dialect, self._instance, alone=setup.alone)
        number, state, address = setup.engine
        engine = self._engines.get(number)
        if engine is None:
            engine = self._engines[number] = RemoteEngine(self._link, number, state, address)
        accounting = accounting_of(config, self._settings, router, self._ledger)
        gateway = Gateway(
            config,
            self._settings,
            router,
            engine,
            accounting,
            lambda address: self._link.call("failed_key", address),
            tracing=self._tracing,
            all_workers=self._sums,
        )
        log.set_format(config.options.log_format)
        self._config, self._generation = config, setup.generation
        return gateway, router

    async def _sums(self) -> Sums:
        return Sums(*await self._link.call("metrics"))


class RemoteLedger:
    """`alone`: no other process uses the store. The hub's ledger takes reports before any later admission, whichever
    worker they come from."""

    # The hub knows them.
    unsettled = open = 0

    def __init__(self, link: Link, dialect: Dialect, instance: str, *, alone: bool) -> None:
        self.dialect = dialect
        self.instance = instance
        self._link = link
        self._alone = alone

    async def admit(self, request: AdmissionRequest, size: int) -> dict[str, Any]:
        try:
            result = await self._link.call("admit", tuple(request), size)
            if "soon" in result:
                result = await self._link.call("wait", tuple(request), size)
            return result
        except BaseException:
            # It may have been admitted.
            self.later(Report(request.id, self.instance, 0, status=0))
            raise

    async def authenticate(self, secret_hash: str) -> dict[str, Any]:
        return await self._link.call("authenticate", secret_hash)

    async def run(self, make: Callable[..., Decision], *arguments: Any, **named: Any) -> Any:
        return await self._link.call("run", make, arguments, named)

    async def usable(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return await self._link.call("usable")
        except (LedgerUnavailable, RuntimeError, TimeoutError):
            return False

    def later(self, report: Report) -> None:
        self._link.tell("report", tuple(report))

    async def now(self, report: Report) -> None:
        """Report. If other processes use the ledger, wait briefly until the report is written."""
        self._link.tell("report", tuple(report))
        if self._alone:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._link.call("settled")
        except (LedgerUnavailable, RuntimeError, TimeoutError):
            log.warning("ledger_slow")

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        await self.now(report)
        return []


class RemoteEngine(Engine):
    """The hub's engine. `number` names it, because a new configuration may have another one."""

    def __init__(self, link: Link, number: int, state: str, address: Address | None) -> None:
        self.number = number
        self._link = link
        self.changed(state, address)

    @property
    def state(self) -> str:
        return self._state

    @property
    def pid(self) -> int | None:
        return None

    def changed(self, state: str, address: Address | None) -> None:
        """The hub says so."""
        self._state, self._where = state, address

    def start(self) -> None: ...

    async def ready(self, patience: float) -> Address:
        if self._where is not None:
            return self._where
        return Address(*await self._link.call("engine", self.number, patience))

    async def stop(self) -> None: ...


def _hub_lost() -> None:
    """Without the hub there is no ledger. The supervisor ends everything."""
    log.debug("hub_lost")
